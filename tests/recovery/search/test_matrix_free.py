"""The search on long chains: the same quadratic, gradients against differences, minima of the dense search."""

import numpy as np
import pytest

from markov_icl.landscape.minimizer import minimizer
from markov_icl.landscape.realizable import loss_and_gradient
from markov_icl.recovery.search import fit as fits
from markov_icl.recovery.search.fit import best, realize, search
from markov_icl.recovery.search.matrix_free import approach, is_beyond_dense, reduced_loss
from markov_icl.recovery.search.projection import forms, frame, project
from markov_icl.recovery.search.quadratic import normal
from markov_icl.recovery.search.starts import balance
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from tests.cases import bernoulli

TASK = MarkovTask(length=7, context=10, initial=bernoulli("2/5"))
E = forms(7)


@pytest.fixture(scope="module")
def pair():
    return minimizer(TASK, "operator").moments, minimizer(TASK, "dense").moments


def test_it_is_the_dense_quadratic(pair):
    free, dense = pair
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(free.mean_block(), dense.mean_block(), atol=1e-14)
    K = rng.normal(size=(28, 5))
    right = rng.normal(size=30)
    np.testing.assert_allclose(normal(free, K).solve(right), normal(dense, K).solve(right), rtol=1e-8)
    X = rng.normal(size=free.h.size)
    np.testing.assert_allclose(free.apply(X), dense.apply(X), atol=1e-12)
    np.testing.assert_allclose(free.loss(X), dense.loss(X), rtol=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_gradient_in_the_parameters_is_the_difference_quotient(pair, heads):
    free, dense = pair
    rng = np.random.default_rng(heads)
    b, A = rng.normal(size=(heads, 7)), rng.normal(size=(heads, 7, 6))
    loss, in_b, in_A = loss_and_gradient(free, b, A)
    assert abs(loss - dense.loss(realize(b, A))) < 1e-12 * loss
    to_b, to_A, step = rng.normal(size=b.shape), rng.normal(size=A.shape), 1e-4
    ends = [dense.loss(realize(b + s * to_b, A + s * to_A)) for s in (2 * step, step, -step, -2 * step)]
    slope = (8 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / (12 * step)
    np.testing.assert_allclose((in_b * to_b).sum() + (in_A * to_A).sum(), slope, rtol=1e-8)


@pytest.mark.parametrize("heads", [1, 2])
def test_reduced_loss_and_gradient_are_the_projections(pair, heads):
    free, dense = pair
    rng = np.random.default_rng(heads)
    U, toward, step = rng.normal(size=(7, heads)), rng.normal(size=(7, heads)), 1e-4
    loss, gradient = reduced_loss(free, E, U, slope=True)
    assert abs(loss - project(dense, E, frame(U), heads).loss) < 1e-12
    ends = [reduced_loss(dense, E, U + s * toward)[0] for s in (2 * step, step, -step, -2 * step)]
    slope = (8 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / (12 * step)
    np.testing.assert_allclose((gradient * toward).sum(), slope, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(U.T @ gradient, 0, atol=1e-10)  # the span alone counts


def test_approach_ends_near_a_minimum(pair):
    free, _ = pair
    W = balance(free, E)
    U = approach(free, E, np.random.default_rng(0).normal(size=(7, 1)), W)
    _, gradient = reduced_loss(free, E, frame(U)[:, :1], slope=True)
    assert np.abs(gradient).max() < 1e-4


def test_the_search_finds_the_minimum_of_the_dense_search(pair):
    free, dense = pair
    X = minimizer(TASK).X
    long, short = search(free, 1, 8, 0, informed=X), search(dense, 1, 8, 0, informed=X)
    assert abs(long.loss - short.loss) < 1e-10
    assert long.screened + long.random_starts + long.informed_starts == short.random_starts + short.informed_starts
    assert long.minima[0].signature == short.minima[0].signature
    assert long.minima[0].relative_gradient < 1e-12


def test_best_takes_this_way_on_long_chains(monkeypatch):
    monkeypatch.setattr(fits, "_FOLLOWED", 1)
    task = MarkovTask(length=22, context=100)
    assert is_beyond_dense(task)
    assert not is_beyond_dense(MarkovTask(length=21))
    assert not is_beyond_dense(RegressionTask(40, 10))
    fit = best(task, starts=1)
    assert fit.screened > 50
    assert fit.minima[0].relative_gradient < 1e-12
    assert fit.minima[0].signature.negative == 0
    form = minimizer(task)
    assert form.loss < fit.loss < form.loss + 0.02
    np.testing.assert_allclose(form.moments.loss(realize(fit.b, fit.A)), fit.loss, rtol=1e-12)
