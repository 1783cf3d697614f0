"""A page computed as the explorer does it, from the text of its controls, without a browser."""

import json


def read(view, **texts):
    """Return the values of a page; what is not named has its default, and passes through the permalink."""
    assert set(texts) <= {control.name for control in view.controls}
    return {c.name: c.read(texts.get(c.name, c.write(c.value))) for c in view.controls}


def look(view, **texts):
    """Compute a page, after its own checks; what it reports must grow, and what it shows must be whole."""
    values = read(view, **texts)
    view.refuse(values)
    reported = []
    outcome = view.compute(values, lambda share, words: reported.append((share, words)))
    shares = [share for share, _ in reported]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 and words for share, words in reported)
    assert outcome.words
    assert len({p.name for p in outcome.pictures}) == len(outcome.pictures)
    for picture in outcome.pictures:
        assert len(picture.alt) > 20, picture.name
        assert picture.title, picture.name
        assert json.loads(picture.figure.to_json())["data"] or picture.figure.layout.images
        assert picture.figure.layout.paper_bgcolor == picture.figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    for text, address in outcome.links:
        assert text
        assert address.startswith("/")
        assert not address.startswith("//")
    return outcome


def figure_of(outcome, name):
    """Return the figure of this name."""
    return next(picture.figure for picture in outcome.pictures if picture.name == name)
