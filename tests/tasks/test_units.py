"""Whole numbers in place of values: the same predictions in other coordinates, and exactly the way back."""

from fractions import Fraction as F
from math import gcd

import numpy as np
import pytest

from markov_icl.rationals import exact_array
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from markov_icl.tasks.units import Units, whole_units

VALUES = {
    "0, 1": ((0, 1), False),
    "0, 100": ((0, 100), False),
    "0, 1/300": ((0, F(1, 300)), False),
    "7, 8": ((7, 8), False),
    "-3, 5": ((-3, 5), False),
    "6, -9": ((6, -9), False),
    "three": ((F(1, 2), F(-2, 3), 4), False),
    "0, 1, biased": ((0, 1), True),
    "7, 8, biased": ((7, 8), True),
    "-3, 5, biased": ((-3, 5), True),
    "8, 7, biased": ((8, 7), True),
    "three, biased": ((F(1, 2), F(-2, 3), 4), True),
}


def task_of(name):
    values, bias = VALUES[name]
    return MarkovTask(states=len(values), length=3, context=2, values=values, bias=bias)


def column(task, chain):
    """A prompt's column ``z``, the label last, a bias before it."""
    seen = [F(task.values[s]) for s in chain]
    return np.array([*seen[:-1], *[F(1)] * task.bias, seen[-1]], dtype=object)


@pytest.mark.parametrize("name", VALUES)
def test_values_become_whole_numbers_without_a_common_divisor(name):
    task = task_of(name)
    whole, units = whole_units(task)
    assert all(v.denominator == 1 for v in whole.values)
    assert gcd(*(int(v) for v in whole.values)) == 1
    assert units.unit > 0
    assert [units.shift + units.unit * k for k in whole.values] == list(task.values)
    assert [units.unit * (units.ratio + k) for k in whole.values] == list(task.values)
    assert (min(whole.values) == 0) if task.bias else (units.shift == 0)
    assert units.constant == (2 if task.bias else None)
    assert units.trivial == (whole.values == task.values)
    assert (whole.length, whole.context, whole.bias, whole.prior) == (task.length, task.context, task.bias, task.prior)


@pytest.mark.parametrize("name", VALUES)
def test_predictions_are_the_same_in_units(name):
    """``b^T G A x`` of the user's columns is the unit times that of the whole columns, for every prompt tried."""
    task, rng = task_of(name), np.random.default_rng(1)
    whole, units = whole_units(task)
    D, J = task.dimension, task.blocks
    for _ in range(4):
        b, A = exact_array(rng.standard_normal(D)), exact_array(rng.standard_normal((D, J)))
        b_whole, A_whole = units.to_whole(b, A)
        chains = rng.integers(0, task.states, (task.context + 1, task.length))
        have, want = [
            b_ @ sum(np.outer(z, z) for z in context) @ A_ @ query
            for b_, A_, context, query in (
                (b, A, [column(task, c) for c in chains[1:]], column(task, chains[0])[:-1]),
                (b_whole, A_whole, [column(whole, c) for c in chains[1:]], column(whole, chains[0])[:-1]),
            )
        ]
        assert have == units.unit * want


@pytest.mark.parametrize("name", VALUES)
def test_there_and_back(name):
    """Whole parameters, the user's parameters, rounded once, and whole parameters again."""
    task, rng = task_of(name), np.random.default_rng(2)
    _, units = whole_units(task)
    b, A = rng.standard_normal(task.dimension), rng.standard_normal((task.dimension, task.blocks))
    users_b, users_A = units.from_whole(b, A)
    assert users_b.dtype == users_A.dtype == np.float64
    again_b, again_A = units.to_whole(exact_array(users_b), exact_array(users_A))
    np.testing.assert_allclose(again_b.astype(float), b, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(again_A.astype(float), A, rtol=1e-12, atol=1e-11)
    inverse = units._matrix(task.dimension) @ units._inverse(task.dimension)
    assert (inverse == np.eye(task.dimension, dtype=int)).all()


def test_columns_are_what_units_say():
    for name in VALUES:
        task = task_of(name)
        whole, units = whole_units(task)
        for chain in np.ndindex(*[task.states] * task.length):
            assert (column(task, chain) == units._matrix(task.dimension) @ column(whole, chain)).all()


def test_regression_and_whole_values_stay_as_they_are():
    task = RegressionTask(2, 3)
    assert whole_units(task) == (task, Units(F(1), F(0), None))
    b, A = np.ones(3), np.ones((3, 2))
    for units in (Units(F(1), F(0), None), Units(F(1), F(0), 2)):
        assert units.trivial
        assert units.to_whole(b, A)[0] is b
        assert units.from_whole(b, A)[1] is A
    assert not Units(F(1), F(1), 2).trivial
    assert not Units(F(2), F(0), 2).trivial
