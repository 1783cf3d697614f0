"""The page Runs: what the store lists is shown, and nothing else is ever opened."""

import io
import json
import shlex

import numpy as np
import pytest

from markov_icl.experiments.runs.points import Point, parquet
from markov_icl.experiments.runs.spec import Spec, code_of
from markov_icl.experiments.runs.store import Store
from markov_icl.interfaces.explorer.pages.runs import PAGE, page_of
from markov_icl.interfaces.explorer.view import Refused
from markov_icl.tasks.prompts import MarkovTask
from tests.interfaces.command_line import answer
from tests.interfaces.explorer.looking import figure_of, look, read

LINES = (
    Point("model", "loss", 1.0, 0.3, 0.01),
    Point("model", "loss", 0.0, 0.5, 0.02),
    Point("Bayes", "loss", 1.0, 0.2),
)
CELLS = tuple(
    Point("2 kernels", "similarity", float(i), i + 2.0 * k, None, float(k)) for i in (0, 1) for k in (0, 1, 2)
)
NOTHING = (Point("model", "accuracy", 0.0, float("nan")),)


def spec(seed):
    return Spec("train", "depth=1 <b>`x`", MarkovTask(length=3), {"kind": "lsa"}, {"steps": 3}, {"prompts": 7}, seed)


def drawing():
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    Figure(figsize=(4, 2)).savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "a store")


@pytest.fixture
def keys(store):
    points = (LINES + CELLS, LINES + NOTHING)
    return [store.write(spec(seed), code_of("runs.sweep"), rows, 0.5) for seed, rows in enumerate(points)]


@pytest.fixture
def figure(store, keys):
    finding = {"runs": keys, "verdict": "holds", "computed": "loss *0.3*", "tolerance": "exact"}
    files = {"figure.png": drawing(), "rows.parquet": parquet(LINES), "finding.json": json.dumps(finding).encode()}
    store.publish("fig4-quick-5", files)
    return "fig4-quick-5"


def test_all_runs_are_listed_and_every_link_opens(store, keys, figure):
    view = page_of(store.folder)
    outcome = look(view)
    assert "2 finished runs" in outcome.words
    assert [row["key"] for row in outcome.rows] == keys[::-1]
    shown = [address.removeprefix("/runs?show=") for _, address in outcome.links]
    assert shown == [figure, *(key[:10] for key in keys[::-1])]
    points = figure_of(outcome, "runs").data[0].customdata
    assert list(points) == [f"/runs?show={key[:10]}" for key in keys]
    for text in shown:
        assert look(view, show=text).rows


def test_a_list_of_one_experiment(store, keys, figure):
    view = page_of(store.folder)
    some = look(view, experiment="train")
    assert len(some.rows) == 2
    assert "2 finished runs of train" in some.words
    other = look(view, experiment="fig4")
    assert (other.rows, other.pictures, [t for t, _ in other.links]) == ((), (), [f"figure {figure}"])


def test_a_run_is_drawn_as_curves_and_maps(store, keys):
    outcome = look(page_of(store.folder), show=keys[0][:6])
    assert outcome.rows == tuple(vars(point) for point in LINES + CELLS)
    assert [p.title for p in outcome.pictures] == ["Loss", "2 kernels: similarity"]
    model, bayes = figure_of(outcome, "curves-1").data
    assert (model.name, list(model.x), list(model.y)) == ("model", [0.0, 1.0], [0.5, 0.3])
    assert list(model.error_y.array) == [0.02, 0.01]
    assert bayes.error_y.array is None
    np.testing.assert_array_equal(figure_of(outcome, "map-1").data[0].z, [[0, 2, 4], [1, 3, 5]])
    assert keys[0] in outcome.words
    assert "`depth=1 <b> x `" in outcome.words  # only ever inside code, which no backtick ends
    assert "no finite number" in look(page_of(store.folder), show=keys[1]).pictures[1].alt


def test_a_figure_is_shown_as_it_is_kept(store, figure):
    outcome = look(page_of(store.folder), show=figure)
    (picture,) = outcome.pictures
    assert picture.figure.layout.images[0].source.startswith("data:image/png;base64,")
    assert (picture.figure.layout.images[0].sizex, picture.figure.layout.images[0].sizey) == (200, 100)
    assert "holds" in outcome.words
    assert r"loss \*0.3\*" in outcome.words
    assert outcome.rows == tuple(vars(point) for point in LINES)
    assert len(outcome.links) == 3


@pytest.mark.parametrize("damage", ["finding.json", "rows.parquet"])
def test_a_damaged_figure_is_said(store, figure, damage):
    (store.folder / "figures" / figure / damage).write_bytes(b"{}")
    with pytest.raises(ValueError, match="damaged"):
        look(page_of(store.folder), show=figure)


def test_a_figure_that_is_no_picture_has_none(store, figure):
    (store.folder / "figures" / figure / "figure.png").write_bytes(b"<svg onload=alert(1)>")
    assert look(page_of(store.folder), show=figure).pictures == ()


def test_a_damaged_run_is_not_shown(store, keys):
    (store.folder / "runs" / keys[0] / "rows.parquet").write_bytes(b"")
    view = page_of(store.folder)
    with pytest.raises(ValueError, match="missing or damaged"):
        look(view, show=keys[0])


@pytest.mark.parametrize(
    "text", ["../runs", "/etc/passwd", "fig4-quick-5/finding.json", ".new-1", "%2e%2e", "a" * 41, "'; --", "ABC", "*"]
)
def test_no_path_comes_from_a_request(store, keys, text, monkeypatch):
    opened = []
    monkeypatch.setattr(Store, "read", lambda _, key: opened.append(key))
    monkeypatch.setattr(Store, "read_figure", lambda _, name: opened.append(name))
    with pytest.raises(Refused, match="expected letters a to z") as refusal:
        look(page_of(store.folder), show=text)
    assert refusal.value.control == "show"
    assert not opened


def test_names_are_looked_up(store, keys):
    (store.folder / "aside").mkdir()
    view = page_of(store.folder)
    for text in ("0" * 20, "fig5-quick-5", "aside", "figures"):
        with pytest.raises(Refused, match="which fits 0"):
            look(view, show=text)
    more = [store.write(spec(seed), code_of("runs.sweep"), LINES, 0.1) for seed in range(2, 20)]
    first = max((key[0] for key in more), key=[key[0] for key in more].count)
    with pytest.raises(Refused, match="start of one run"):
        look(view, show=first)


def test_no_store_is_not_an_error(tmp_path):
    outcome = look(page_of(tmp_path / "none"))
    assert "no runs yet" in outcome.words
    assert not (tmp_path / "none").exists()
    with pytest.raises(Refused, match="which fits 0"):
        look(page_of(tmp_path / "none"), show="abc")


def test_an_empty_store_lists_nothing(store):
    outcome = look(page_of(store.folder))
    assert "0 finished runs" in outcome.words
    assert outcome.pictures == ()


def test_another_folder_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected an empty folder or a store"):
        look(page_of(tmp_path))


def test_it_is_never_kept_and_follows_the_store(store, keys):
    view = page_of(store.folder)
    assert view.fresh
    assert not view.slow(read(view))
    before = look(view)
    store.write(spec(7), code_of("runs.sweep"), LINES, 0.1)
    assert len(look(view).rows) == len(before.rows) + 1


def test_its_commands_say_the_same(store, keys, capsys, monkeypatch):
    view = page_of(store.folder)
    listed = answer(capsys, *shlex.split(view.command(read(view, experiment="train")))[1:])
    assert [run["key"] for run in listed["runs"]] == keys
    shown = answer(capsys, *shlex.split(view.command(read(view, show=keys[0][:10])))[1:])
    assert shown["rows"] == [vars(point) for point in LINES + CELLS]
    monkeypatch.setenv("XDG_DATA_HOME", str(store.folder.parent))
    assert PAGE.command(read(view)) == "markov-icl runs list"
    reproduce = view.command(read(view, show="fig10-paper-3"))
    assert shlex.split(reproduce)[1:6] == ["reproduce", "fig10", "--scale", "paper", "--seeds"]


def test_more_rows_than_fit_are_said(store):
    points = tuple(Point("model", "loss", float(k), 0.1) for k in range(2500))
    key = store.write(spec(0), code_of("runs.sweep"), points, 0.1)
    outcome = look(page_of(store.folder), show=key)
    assert len(outcome.rows) == 2000
    assert "first 2,000 of 2,500 rows" in outcome.words
