import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.features import phi
from markov_icl.landscape.realizable import loss_and_gradient
from markov_icl.models.population import train_population
from markov_icl.moments.compute import compute_moments
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from tests.cases import POLYNOMIAL, REGRESSION


@pytest.mark.parametrize("name", POLYNOMIAL | REGRESSION)
@pytest.mark.parametrize("heads", [1, 2])
def test_gradient_is_that_of_the_population_loss(name, heads):
    moments = compute_moments((POLYNOMIAL | REGRESSION)[name])
    rng = np.random.default_rng(0)
    b = rng.normal(size=(heads, moments.dimension))
    A = rng.normal(size=(heads, moments.dimension, moments.blocks))

    def loss(b, A):
        return moments.loss(sum(phi(row, columns) for row, columns in zip(b, A, strict=True)))

    value, db, dA = loss_and_gradient(moments, b, A)
    assert value == pytest.approx(loss(b, A), rel=1e-12)
    step = 1e-5
    for array, slope in ((b, db), (A, dA)):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss(b, A)
            array[index] = kept - step
            below = loss(b, A)
            array[index] = kept
            assert slope[index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize(("length", "context"), [(2, 30), (3, 10), (6, 10), (6, 20), (6, 100)])
def test_reaches_the_best_local_loss(length, context):
    task = MarkovTask(length=length, context=context)
    result = train_population(task)
    assert result.converged
    assert abs(result.loss - best(task, starts=128).loss) < 1e-10
    assert result.losses[-1] == pytest.approx(result.loss, abs=1e-14)
    assert (np.diff(result.losses) <= 1e-15).all()


def test_gradient_descent_ends_in_the_same_minimum():
    task = MarkovTask(length=3, context=10)
    slow, fast = train_population(task, "gd", steps=20_000), train_population(task)
    assert slow.converged
    assert abs(slow.loss - fast.loss) < 1e-10


def test_regression_and_several_heads():
    assert train_population(RegressionTask(3, 10)).loss == pytest.approx(12 / 14, abs=1e-12)
    task = MarkovTask(length=4, context=100)
    moments = compute_moments(task)
    floor = moments.loss(np.linalg.solve(moments.H, moments.h))
    assert train_population(moments, heads=4).loss == pytest.approx(floor, abs=1e-9)


@settings(max_examples=20)
@given(st.integers(2, 4), st.integers(1, 200), st.integers(0, 10))
def test_never_below_the_enlarged_optimum(length, context, seed):
    moments = compute_moments(MarkovTask(length=length, context=context))
    floor = moments.loss(np.linalg.solve(moments.H, moments.h))
    assert train_population(moments, starts=4, seed=seed).loss >= floor - 1e-12


def test_running_out_of_steps_is_said():
    result = train_population(MarkovTask(length=6, context=100), steps=5)
    assert not result.converged
    assert len(result.losses) <= 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "newton"}, "optimizer to be one of lbfgs or gd; got 'newton'"),
        ({"heads": 0}, "heads >= 1"),
        ({"starts": 0}, "starts >= 1"),
        ({"steps": 0}, "steps >= 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_population(MarkovTask(), **arguments)
