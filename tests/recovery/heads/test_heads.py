"""Several heads: the curve, the construction with ``D`` heads, and bounds on how many leave no gap."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.features import from_symmetric, phi, to_symmetric, vech_size
from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.heads.common_zero import common_zero_exists
from markov_icl.recovery.heads.heads import HeadsCurve, fewest_heads, heads, split_heads
from markov_icl.recovery.heads.inertia import Inertia, exact_inertia, indefinite_combination, numerical_inertia
from markov_icl.recovery.search.fit import realize
from markov_icl.tasks.prompts import MarkovTask, RegressionTask


def rationals(values: np.ndarray) -> np.ndarray:
    out = np.empty(values.size, dtype=object)
    out[:] = [Fraction(int(v)) for v in values.ravel()]
    return out.reshape(values.shape)


def curve(d: int, n: int, **options: object) -> HeadsCurve:
    closed = minimizer(MarkovTask(length=d + 1, context=n), method="rational")
    return heads(closed.moments, minimizer=closed.X_exact, **options)


@settings(max_examples=30, deadline=None)
@given(J=st.integers(1, 4), D=st.integers(1, 4), seed=st.integers(0, 2**20))
def test_split_realizes_every_point_exactly(J: int, D: int, seed: int) -> None:
    X = np.random.default_rng(seed).integers(-9, 10, J * vech_size(D))
    for point in (rationals(X), X / 7.0):
        split = split_heads(point, J)
        assert split.b.shape == (D, D)
        assert split.A.shape == (D, D, J)
        total = sum(phi(b, A) for b, A in zip(split.b, split.A, strict=True))
        assert np.all(total == point)


@pytest.mark.parametrize(
    ("d", "n", "fewest"),
    [(1, 1, 2), (1, 100, 1), (2, 100, 2), (2, 1, 3), (3, 100, 3), (3, 10, 4), (3, 1, 4), (5, 100, 6)],
)
def test_fewest_heads_are_decided_exactly(d: int, n: int, fewest: int) -> None:
    result = curve(d, n, starts=12)
    assert result.smallest == fewest
    assert (result.at_least.kind, result.at_most.kind) == ("exact", "exact")
    assert np.all(np.diff(result.losses) <= 0)
    assert result.gaps[fewest - 1 :].max() <= 1e-12
    assert fewest == 1 or result.gaps[fewest - 2] > 1e-7
    assert result.losses[-1] == pytest.approx(result.floor, abs=1e-14)


def test_known_curve() -> None:
    """Length 4, ``n = 100``: 0.20997 with one head (theory, section 5), ``f~*`` = 0.20683 from three on."""
    result = curve(3, 100)
    assert result.losses == pytest.approx([0.2099710363, 0.2071007148, 0.2068316861, 0.2068316861], abs=1e-10)
    for r, fit in enumerate(result.fits, 1):
        assert fit.heads == r
        assert np.allclose(fit.b @ fit.b.T, np.eye(r), atol=1e-12)
        assert np.allclose(realize(fit.b, fit.A), fit.X)
        complement = np.linalg.svd(fit.b)[2][r:].T
        assert np.abs(complement.T @ to_symmetric(fit.X) @ complement).max(initial=0.0) < 1e-11


def test_regression_needs_one_head() -> None:
    closed = minimizer(RegressionTask(dim=3, context=5), method="rational")
    result = heads(closed.moments, starts=4, minimizer=closed.X_exact)
    assert result.smallest == 1
    assert result.at_most.kind == "exact"
    assert result.losses == pytest.approx(np.full(4, 12 / 9), abs=1e-12)


def test_float_input_gives_numerical_bounds() -> None:
    closed = minimizer(MarkovTask(length=3, context=100), method="rational")
    result = heads(closed.moments, starts=8)
    assert result.smallest == 2
    assert (result.at_least.kind, result.at_most.kind) == ("numerical", "numerical")


def test_singular_moments_say_nothing_about_other_minimizers() -> None:
    """With a bias on two states ``X*`` is not unique: fewer heads than its forms ask for may do."""
    closed = minimizer(MarkovTask(length=3, context=10, bias=True))
    result = heads(closed.moments, starts=8)
    assert result.at_least.heads == 1
    assert result.gaps[0] > 1e-4
    assert result.gaps[1] < 1e-10
    assert result.at_most.heads == 2


def test_curve_can_stop_early_and_reports_progress() -> None:
    seen: list[float] = []
    result = curve(3, 10, starts=4, max_heads=2, progress=lambda share, _: seen.append(share))
    assert seen == sorted(seen)
    assert {0.5, 1.0} <= set(seen)
    assert result.losses.shape == (2,)
    assert result.at_most.heads == 4


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 <= max_heads <= 3; got 4"):
        curve(2, 10, max_heads=4)
    closed = minimizer(MarkovTask(length=3, context=10), method="rational")
    with pytest.raises(ValueError, match=r"expected a minimizer of shape \(12,\)"):
        heads(closed.moments, minimizer=closed.X_exact[:-1])


@settings(max_examples=60, deadline=None)
@given(positive=st.integers(0, 3), negative=st.integers(0, 3), zero=st.integers(0, 2), seed=st.integers(0, 2**20))
def test_inertia_survives_congruence(positive: int, negative: int, zero: int, seed: int) -> None:
    """Sylvester: ``S^T diag(signs) S`` keeps the signs for every nonsingular ``S``."""
    size = positive + negative + zero
    if size == 0:
        return
    rng = np.random.default_rng(seed)
    S = np.tril(rng.integers(-3, 4, (size, size)), -1) + np.eye(size, dtype=int)
    M = S.T @ np.diag([1] * positive + [-1] * negative + [0] * zero) @ S
    expected = Inertia(negative, zero, positive)
    assert exact_inertia(rationals(M)) == expected
    assert numerical_inertia(M.astype(float), 1e-10).heads <= max(positive, negative) + zero


@settings(max_examples=20, deadline=None)
@given(J=st.integers(1, 3), D=st.integers(2, 5), r=st.integers(1, 4), seed=st.integers(0, 2**20))
def test_lower_bound_never_exceeds_a_construction(J: int, D: int, r: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = min(r, D)
    X = sum(phi(rationals(rng.integers(-4, 5, D)), rationals(rng.integers(-4, 5, (D, J)))) for _ in range(r))
    bound = fewest_heads(X, J, seed=seed)
    assert bound.kind == "exact"
    assert 1 <= bound.heads <= r


def test_a_hidden_definite_combination_is_found() -> None:
    """Each block is indefinite, their sum is not: no common real zero, so ``D`` heads are needed."""
    M = np.zeros((2, 3, 3), dtype=int)
    M[0] = np.diag([3, -1, 1])
    M[1] = np.diag([-1, 3, 1])
    chosen = indefinite_combination(rationals(M))
    assert chosen.inertia == Inertia(0, 0, 3)
    bound = fewest_heads(rationals(from_symmetric(M)), 2)
    assert (bound.heads, bound.kind) == (3, "exact")


def test_common_zero_is_proved_or_not() -> None:
    """``x^2 = 2 z^2, y^2 = 3 z^2`` has an irrational zero; with ``y^2 = -3 z^2`` there is none."""
    M = np.array([np.diag([1, 0, -2]), np.diag([0, 1, -3])])
    guess = np.array([1.41, 1.73, 1.0])
    assert common_zero_exists(rationals(M), guess)
    assert not common_zero_exists(rationals(M), np.array([1.0, 0.0, 0.0]))
    assert not common_zero_exists(rationals(np.array([np.diag([1, 0, -2]), np.diag([0, 1, 3])])), guess)
    assert not common_zero_exists(rationals(np.array([M[0], M[1], M[0]])), guess)
    rational = rationals(np.array([np.diag([1, 0, -4]), np.diag([0, 1, -9])]))
    assert common_zero_exists(rational, np.array([2.0, 3.0, 1.0]))
