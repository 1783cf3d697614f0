"""How many heads a point needs at least, from the signs of its forms' eigenvalues.

If ``r`` heads realize ``X``, every form ``M(c) = sum_j c_j M_j`` vanishes on one subspace of dimension
``D - r``, hence has at most ``r`` positive and at most ``r`` negative eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from markov_icl.features import Array
from markov_icl.rationals import rational_matrix

__all__ = ["Combination", "Inertia", "exact_inertia", "indefinite_combination", "numerical_inertia"]

_ROUNDS, _CANDIDATES = 60, 64
"""Of a random search that may miss the best combination; any it finds is a valid bound."""
_DENOMINATOR = 1000
"""Weights are rounded to fractions with at most this below: exact inertia stays a matter of milliseconds."""


@dataclass(frozen=True)
class Inertia:
    """Signs of a symmetric matrix's eigenvalues."""

    negative: int
    zero: int
    positive: int

    @property
    def heads(self) -> int:
        """Return the fewest heads that could realize a form with these signs."""
        return max(self.negative, self.positive)


@dataclass(frozen=True, eq=False)
class Combination:
    """A form ``sum_j weights_j M_j`` and the signs of its eigenvalues.

    Attributes:
        weights: fractions, ``[J]``.
        inertia: exact where the blocks were given as fractions.
    """

    weights: tuple[Fraction, ...]
    inertia: Inertia


def exact_inertia(matrix: NDArray[np.object_]) -> Inertia:
    """Return the inertia of a symmetric matrix ``[D, D]`` of fractions, in exact arithmetic.

    The characteristic polynomial has real roots only, so Descartes' rule of signs counts the positive
    ones exactly.
    """
    size = matrix.shape[0]
    coefficients = rational_matrix(matrix).charpoly().coeffs()
    signs = [1 if c > 0 else -1 for c in coefficients if c != 0]
    zero = next(i for i, c in enumerate(coefficients) if c != 0)
    positive = sum(a != b for a, b in pairwise(signs))
    return Inertia(size - zero - positive, zero, positive)


def numerical_inertia(matrix: Array, tolerance: float) -> Inertia:
    """Return the inertia of ``[D, D]``, eigenvalues up to ``tolerance`` times the largest taken for zero."""
    values = np.linalg.eigvalsh(matrix)
    threshold = tolerance * max(float(np.abs(values).max()), 1e-300)
    negative, positive = int((values < -threshold).sum()), int((values > threshold).sum())
    return Inertia(negative, values.size - negative - positive, positive)


def indefinite_combination(
    M: NDArray[np.generic], seed: int | np.random.Generator = 0, tolerance: float = 1e-9
) -> Combination:
    """Search for the combination of blocks with the most eigenvalues of one sign.

    The weights are found numerically, then rounded; the inertia of the rounded combination is exact if
    ``M`` holds fractions. Any combination gives a valid bound; the search may miss the best.

    Args:
        M: symmetric blocks, ``[J, D, D]``, floats or fractions.
        seed: of the search.
        tolerance: for zero eigenvalues of floats.
    """
    rng = np.random.default_rng(seed)
    exact = M.dtype == object
    blocks = np.asarray(M, dtype=float)
    scale = np.abs(blocks).max()
    blocks = blocks / scale if scale > 0 else blocks
    chosen = _best_of(M, [tuple(row) for row in np.eye(blocks.shape[0])], tolerance, exact)
    while chosen.inertia.heads < blocks.shape[1]:
        weights = _climb(blocks, chosen.inertia.heads + 1, rng)
        better = _best_of(M, [tuple(weights)], tolerance, exact)
        if better.inertia.heads <= chosen.inertia.heads:
            break
        chosen = better
    return chosen


def _best_of(M: NDArray[np.generic], candidates: list[tuple[float, ...]], tolerance: float, exact: bool) -> Combination:
    found = []
    for candidate in candidates:
        largest = max(abs(c) for c in candidate)
        weights = tuple(Fraction(c / largest).limit_denominator(_DENOMINATOR) for c in candidate)
        if exact:
            inertia = exact_inertia(np.tensordot(np.array(weights, dtype=object), np.asarray(M, dtype=object), axes=1))
        else:
            form = np.tensordot(np.array([float(w) for w in weights]), np.asarray(M, dtype=float), axes=1)
            inertia = numerical_inertia(form, tolerance)
        found.append(Combination(weights, inertia))
    return max(found, key=lambda one: one.inertia.heads)


def _climb(blocks: Array, k: int, rng: np.random.Generator) -> Array:
    """Maximize the ``k``-th largest eigenvalue of ``sum_j c_j M_j`` over ``|c| = 1`` by random search."""
    best, value, spread = np.eye(blocks.shape[0])[0], -np.inf, np.inf
    for _ in range(_ROUNDS):
        noise = rng.standard_normal((_CANDIDATES, blocks.shape[0]))
        trial = noise if np.isinf(spread) else best + spread * noise
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        kth = np.linalg.eigvalsh(np.tensordot(trial, blocks, axes=1))[:, -k]
        top = int(kth.argmax())
        if kth[top] > value:
            best, value = trial[top], float(kth[top])
            spread = 0.5 if np.isinf(spread) else min(1.3 * spread, 1.0)
        else:
            spread *= 0.7
    return np.asarray(best)
