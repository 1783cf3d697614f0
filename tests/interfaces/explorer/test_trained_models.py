"""Results kept between requests."""

from markov_icl.interfaces.explorer.trained_models import TrainedModels


def test_what_was_asked_for_longest_ago_goes():
    made = []

    def make(key):
        return lambda: made.append(key) or key.upper()

    kept = TrainedModels(2)
    assert [kept.get(key, make(key)) for key in "abacab"] == list("ABACAB")
    assert made == list("abcb")
