"""Closest realizable point: the formula for fixed ``b``, exact cases, and graphs' independence numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.features import from_symmetric, phi, to_symmetric, vech_size
from markov_icl.moments.system import Moments
from markov_icl.recovery.search.fit import best
from markov_icl.recovery.search.nearest import nearest, squared_distance
from markov_icl.recovery.search.projection import forms, frame, project
from markov_icl.recovery.search.quadratic import Separable

CYCLE_5 = [(i, (i + 1) % 5) for i in range(5)]
CYCLE_7 = [(i, (i + 1) % 7) for i in range(7)]
COMPLETE_4 = [(i, k) for i in range(4) for k in range(i)]
CUBE = [(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if i < i ^ bit]
PRISM = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)]
PETERSEN = CYCLE_5 + [(i, i + 5) for i in range(5)] + [(5 + i, 5 + (i + 2) % 5) for i in range(5)]


def graph_blocks(edges: list[tuple[int, int]], vertices: int) -> np.ndarray:
    """``e_i e_k^T + e_k e_i^T`` for each edge, ``e_i e_i^T`` twice for each vertex; ``D = |E| + 2v + 1``."""
    d = len(edges) + 2 * vertices
    M = np.zeros((d, d + 1, d + 1))
    for j, (i, k) in enumerate(edges):
        M[j, i, k] = M[j, k, i] = 1
    for i in range(vertices):
        M[len(edges) + 2 * i, i, i] = M[len(edges) + 2 * i + 1, i, i] = 1
    return M


def random_point(J: int, D: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(J * vech_size(D))


@pytest.mark.parametrize(
    ("edges", "vertices", "degree", "independent"),
    [
        (CYCLE_5, 5, 2, 2),
        (CYCLE_7, 7, 2, 3),
        (COMPLETE_4, 4, 3, 1),
        (CUBE, 8, 3, 4),
        (PRISM, 6, 3, 2),
        (PETERSEN, 10, 3, 4),
    ],
    ids=["C5", "C7", "K4", "cube", "prism", "Petersen"],
)
def test_graph_distance_gives_the_independence_number(
    edges: list[tuple[int, int]], vertices: int, degree: int, independent: int
) -> None:
    """Theory, section 5: ``2|E| + 2v - 2(k+2) + 2/alpha(G)``; 13 for the 5-cycle."""
    expected = 2 * len(edges) + 2 * vertices - 2 * (degree + 2) + 2 / independent
    fit = nearest(from_symmetric(graph_blocks(edges, vertices)), starts=12)
    assert fit.loss == pytest.approx(expected, abs=1e-10)
    assert fit.b.shape == (1, len(edges) + 2 * vertices + 1)


def test_plain_euclidean_norm_loses_the_independence_number() -> None:
    """Theory, section 5: beyond what the graph's size fixes, prism, cube and Petersen are alike."""
    cubic = ((PRISM, 6), (CUBE, 8), (PETERSEN, 10))
    reduced = [
        nearest(from_symmetric(graph_blocks(edges, v)), "euclidean", starts=8).loss - 4 * len(edges) - 2 * v
        for edges, v in cubic
    ]
    assert np.ptp(reduced) < 1e-10


@settings(max_examples=25, deadline=None)
@given(J=st.integers(1, 4), D=st.integers(2, 5), seed=st.integers(0, 2**20))
def test_projection_equals_the_closed_formula(J: int, D: int, seed: int) -> None:
    X = random_point(J, D, seed)
    b = np.random.default_rng(seed + 1).standard_normal(D)
    weights = np.array([1.0 if i == k else 0.5 for i in range(D) for k in range(i, D)])
    point = project(Separable(weights, X, J, D), forms(D), frame(b[:, None]), 1)
    assert point.loss == pytest.approx(squared_distance(X, b, J), abs=1e-10 * (X @ X))
    u, M = b / np.linalg.norm(b), to_symmetric(X, J)
    A = np.array([2 * block @ u - (u @ block @ u) * u for block in M]).T
    assert np.allclose(phi(u, A), point.X, atol=1e-10)


@pytest.mark.parametrize("norm", ["frobenius", "euclidean"])
def test_the_same_answer_from_a_dense_quadratic(norm: str) -> None:
    J, D = 2, 4
    X = random_point(J, D, 3)
    weight = 0.5 if norm == "frobenius" else 1.0
    diagonal = np.tile([1.0 if i == k else weight for i in range(D) for k in range(i, D)], J)
    H = np.diag(diagonal)
    dense = best(Moments(H, H @ X, float(X @ H @ X), J, D, "distance"), starts=24)
    fit = nearest(X, norm, blocks=J, starts=24)
    assert fit.loss == pytest.approx(dense.loss, rel=1e-11)
    assert fit.minima[0].signature == dense.minima[0].signature


@settings(max_examples=20, deadline=None)
@given(J=st.integers(1, 4), D=st.integers(2, 5), seed=st.integers(0, 2**20))
def test_loss_is_the_distance_to_what_is_returned(J: int, D: int, seed: int) -> None:
    X = random_point(J, D, seed)
    fit = nearest(X, blocks=J, starts=6, seed=seed)
    M, N = to_symmetric(X, J), to_symmetric(phi(fit.b[0], fit.A[0]), J)
    assert fit.loss == pytest.approx(((M - N) ** 2).sum(), rel=1e-10, abs=1e-12)
    assert fit.loss == pytest.approx(squared_distance(X, fit.b[0], J), rel=1e-8, abs=1e-12)
    euclidean = nearest(X, "euclidean", blocks=J, starts=6, seed=seed)
    assert euclidean.loss == pytest.approx(((X - euclidean.X) ** 2).sum(), rel=1e-10, abs=1e-12)
    assert fit.loss <= euclidean.loss * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("norm", ["frobenius", "euclidean"])
def test_realizable_points_are_their_own_nearest(norm: str) -> None:
    rng = np.random.default_rng(5)
    b, A = rng.standard_normal(4), rng.standard_normal((4, 3))
    fit = nearest(phi(b, A), norm)
    assert fit.loss <= 1e-24 * (A**2).sum() * (b @ b)
    assert abs(fit.b[0] @ b) == pytest.approx(np.linalg.norm(b), rel=1e-12)


def test_one_block_is_a_matter_of_eigenvalues() -> None:
    """One form: keep the largest positive and the most negative eigenvalue, drop the rest."""
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    M = Q @ np.diag([3.0, 1.0, -2.0, 0.5]) @ Q.T
    assert nearest(from_symmetric(M[None]), blocks=1).loss == pytest.approx(1.25, abs=1e-12)
    definite = Q @ np.diag([3.0, 1.0, 2.0, 0.5]) @ Q.T
    assert nearest(from_symmetric(definite[None]), blocks=1).loss == pytest.approx(5.25, abs=1e-12)


def test_more_heads_come_closer() -> None:
    X = random_point(3, 4, 8)
    losses = [nearest(X, heads=r, starts=16).loss for r in (1, 2, 3, 4)]
    assert losses[0] > losses[1] > losses[2] >= losses[3]
    assert losses[3] <= 1e-24 * (X @ X)


def test_zero_is_realizable() -> None:
    fit = nearest(np.zeros(12), starts=2)
    assert fit.loss == 0
    assert not fit.X.any()


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.zeros(12), {"norm": "spectral"}, "expected norm"),
        (np.zeros(13), {}, "expected d"),
        (np.full(12, np.nan), {}, "expected finite numbers"),
        (np.zeros(12), {"heads": 4}, "expected 1 <= heads <= 3; got 4"),
        (np.zeros(12), {"blocks": 5}, "divisible by 5"),
    ],
)
def test_bad_arguments_are_refused(X: np.ndarray, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest(X, **options)


def test_distance_needs_a_direction() -> None:
    with pytest.raises(ValueError, match="expected a nonzero b of length 3"):
        squared_distance(np.zeros(12), np.zeros(3))
