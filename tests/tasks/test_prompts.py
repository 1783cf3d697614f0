from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.tasks.kernels import (
    DirichletPrior,
    FinitePrior,
    as_fraction,
    as_pmf,
    beta_prior,
    exact_stationary,
    fixed_kernel,
    sample_kernels,
    stationary,
    symmetric_dirichlet,
    tuple_matrices,
)
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask, StationaryStart, independent_start


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_means_its_shortest_decimal(value):
    assert float(as_fraction(value)) == value


@pytest.mark.parametrize(
    ("text", "value"), [("3/10", F(3, 10)), (" 0.3 ", F(3, 10)), ("1e-3", F(1, 1000)), (0.3, F(3, 10))]
)
def test_numbers(text, value):
    assert as_fraction(text) == value


@pytest.mark.parametrize(
    "text", ["", "1/0", "0/00", "x", "nan", "inf", "1e99999", "1/2/3", None, True, [1], float("nan")]
)
def test_not_numbers(text):
    with pytest.raises(ValueError, match="expected number to be a finite number"):
        as_fraction(text)


def test_pmf():
    assert as_pmf([1 / 3, 1 / 3, 1 / 3]) == (F(1, 3),) * 3
    assert sum(as_pmf([0.1] * 10)) == 1
    for bad in (["1/2", "1/3"], [-1, 2], [0.5, 0.4]):
        with pytest.raises(ValueError, match="expected probabilities"):
            as_pmf(bad)


def test_priors():
    assert beta_prior([1, 2, 3, 4]).alpha == ((2, 1), (4, 3))
    assert symmetric_dirichlet(3, 2).shape == (9, 3)
    for bad in ([1, 2, 3], [1, 0, 1, 1], [1, -1, 1, 1]):
        with pytest.raises(ValueError, match="expected"):
            beta_prior(bad)
    with pytest.raises(ValueError, match="rows of equal length"):
        DirichletPrior(((1, 1), (1, 1, 1)))
    with pytest.raises(ValueError, match="one weight for each"):
        FinitePrior((((1, 0), (0, 1)),), (F(1, 2), F(1, 2)))
    with pytest.raises(ValueError, match="sum to 1"):
        fixed_kernel([[1, 1], [0, 1]])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_stationary_laws_agree_and_are_fixed_points(order):
    rng = np.random.default_rng(order)
    kernels = sample_kernels(symmetric_dirichlet(3, order), 20, rng)
    pi = stationary(kernels)
    np.testing.assert_allclose(np.einsum("Ki,Kij->Kj", pi, tuple_matrices(kernels)), pi, atol=1e-14)
    exact = exact_stationary([[as_fraction(float(q)) for q in row] for row in kernels[0]])
    np.testing.assert_allclose(np.array(exact, dtype=float) / float(sum(exact)), pi[0], rtol=1e-12)


def test_stationary_law_of_a_nearly_reducible_kernel_keeps_its_digits():
    tiny = 1e-14
    pi = stationary(np.array([[[1 - tiny, tiny], [2 * tiny, 1 - 2 * tiny]]]))
    np.testing.assert_allclose(pi[0], [2 / 3, 1 / 3], rtol=1e-14)


def test_stationary_law_with_transient_states_and_without_uniqueness():
    assert exact_stationary(((F(0), F(1)), (F(0), F(1)))) == (0, 1)
    with pytest.raises(ValueError, match="reducible"):
        MarkovTask(prior=fixed_kernel([[1, 0], [0, 1]]), initial=StationaryStart())


def test_defaults_and_shapes():
    task = MarkovTask(states=3, order=2, length=5, bias=True)
    assert (task.rows, task.blocks, task.dimension) == (9, 5, 6)
    assert task.times == (1, 2, 3, 4, 0, 5)
    assert sum(task.initial.pmf) == 1
    assert task.values == (0, 1, 2)
    assert task == MarkovTask(states=3, order=2, length=5, bias=True)
    assert hash(task) == hash(MarkovTask(states=3, order=2, length=5, bias=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"states": 1}, "states to be a whole number >= 2"),
        ({"states": True}, "states to be a whole number"),
        ({"length": 1}, "length to be a whole number >= 2"),
        ({"order": 0}, "order"),
        ({"order": 2, "length": 2}, "length > order"),
        ({"context": 0}, "context"),
        ({"context": 2.5}, "context"),
        ({"order": 40}, "kernel rows"),
        ({"states": 10**9, "order": 10**9}, "kernel rows"),
        ({"prior": symmetric_dirichlet(3, 1)}, "2 rows of 2 states"),
        ({"prior": "uniform"}, "expected a prior"),
        ({"initial": "uniform"}, "expected an initial law"),
        ({"initial": independent_start([F(1, 3)] * 3, 3, 1)}, "over 2 tuples"),
        ({"states": 3, "initial": CorrelatedStart(F(1, 2), (0, 1))}, "2 states and order 1"),
        ({"values": (0, 0)}, "distinct values"),
        ({"values": (0, 1, 2)}, "distinct values"),
        ({"bias": 1}, "bias"),
    ],
)
def test_bad_tasks_are_explained(fields, message):
    with pytest.raises(ValueError, match=message):
        MarkovTask(**fields)


def test_bad_starts_are_explained():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        CorrelatedStart(F(3, 2), (0, 1))
    with pytest.raises(ValueError, match="2 or 4 entries"):
        independent_start([F(1, 3)] * 3, 2, 2)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (((1, 2), (2, 1)), "positive definite"),
        (((1, 0), (1, 1)), "symmetric"),
        (((1,),), "shape"),
    ],
)
def test_bad_covariances_are_explained(sigma, message):
    with pytest.raises(ValueError, match=message):
        RegressionTask(2, 3, sigma)
