"""The nearest word, for people who mistype."""

import pytest

from markov_icl.choices import hint, unknown
from markov_icl.landscape.minimizer import minimizer
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
