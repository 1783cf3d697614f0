"""The words that options take, and the nearest one for people who mistype."""

from importlib import import_module

import pytest

from markov_icl.choices import FRONTS, hint, unknown
from markov_icl.depth.pareto import front_of
from markov_icl.experiments.benchmarks.benchmarks import TIMED
from markov_icl.hardness import instances
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models import checkpoint, training
from markov_icl.tasks.prompts import MarkovTask

WORDS = ("auto", "dense", "operator", "rational")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("dens", "dense"),
        ("DENSE", "dense"),
        ("opertor", "operator"),
        ("dense:1/2", "dense:1/2"),
        ("rationnal:a,b", "rational:a,b"),
    ],
)
def test_the_nearest_word_is_named(word, meant):
    assert hint(word, WORDS) == f" (did you mean '{meant}'?)"


@pytest.mark.parametrize("word", ["zzz", "", ":", 3, None, "magic"])
def test_nothing_is_named_when_nothing_is_near(word):
    assert hint(word, WORDS) == ""


def test_the_refusal_names_what_is_there():
    assert str(unknown("a method,", "dens", WORDS)) == (
        "expected a method, auto, dense, operator, rational; got 'dens' (did you mean 'dense'?)"
    )
    assert str(unknown("a scale,", "x", ("quick", "paper"))) == "expected a scale, quick or paper; got 'x'"
    assert len(str(unknown("a scale,", "q" * 10_000, ("quick", "paper")))) < 200


def test_python_users_are_told_too():
    with pytest.raises(ValueError, match=r"got 'rationl' \(did you mean 'rational'\?\)"):
        minimizer(MarkovTask(), "rationl")


def test_words_stand_for_what_they_name():
    for kind, (module, name) in checkpoint.CLASSES.items():
        assert getattr(import_module(f"markov_icl.models.{module}"), name).kind == kind
    for word, benchmark in TIMED.items():
        assert benchmark.__name__ == word.replace("-", "_")
    for word in FRONTS:
        assert front_of(word).__name__ == f"{word}_front"
    for word, optimizer in training._OPTIMIZERS.items():
        assert optimizer.__name__.lower() == word
    for word, draw in instances._BY_KIND.items():
        assert draw.__name__ == f"_{word}"
