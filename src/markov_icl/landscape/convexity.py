"""Is the optimum unique? Decided exactly in rationals, with the free directions where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flint
import numpy as np
from jaxtyping import Float

from markov_icl.moments.system import RationalMoments, fraction

__all__ = ["Convexity", "convexity", "ldl", "null_space"]


@dataclass(frozen=True, eq=False)
class Convexity:
    """Verdict on Lemma 3.1 for one task.

    Attributes:
        strict: whether ``H`` is positive definite, so that the minimizer is unique.
        free: basis of the null space of ``H``: moving along a row changes no prediction, ``[nullity, N]``.
        smallest_pivot: least pivot of ``H = L D L^T``, a float for display; 0 when singular.
        proof: how it was decided.
    """

    strict: bool
    free: Float[np.ndarray, "nullity N"]
    smallest_pivot: float
    proof: str


def convexity(moments: RationalMoments) -> Convexity:
    """Decide strict convexity of the loss (Lemma 3.1) by an exact ``L D L^T`` of ``H``."""
    try:
        pivots, _ = ldl(moments.H.tolist(), [], "H")
    except ValueError:
        pivots = []
    if pivots:
        least = float(fraction(min(pivots)))
        return Convexity(True, np.empty((0, moments.size)), least, "rational LDL^T: every pivot positive")
    basis = null_space(moments.H)
    free = np.array([[float(fraction(v)) for v in row] for row in basis], dtype=float)
    return Convexity(False, free.reshape(-1, moments.size), 0.0, "rational null space")


def ldl(matrix: list[list[Any]], right: list[Any], name: str) -> tuple[list[Any], list[Any]]:
    """Return the pivots of ``M = L D L^T`` and ``L^{-1} right``.

    Args:
        matrix: symmetric, overwritten.
        right: a vector, or empty.
        name: for the message.

    Raises:
        ValueError: if a pivot is not proved positive.
    """
    n, solved, pivots = len(matrix), list(right), []
    for k in range(n):
        row = matrix[k]
        if not row[k] > 0:
            raise ValueError(f"expected a positive definite {name}; got pivot {k + 1} not positive")
        pivots.append(row[k])
        for i in range(k + 1, n):
            factor = row[i] / row[k]
            if factor == 0:
                continue
            target = matrix[i]
            for j in range(i, n):
                target[j] -= factor * row[j]
            if solved:
                solved[i] -= factor * solved[k]
    return pivots, solved


def null_space(matrix: flint.fmpq_mat) -> list[list[flint.fmpq]]:
    """Return a rational basis of the kernel of a square matrix, one vector a free column."""
    reduced, rank = matrix.rref()
    size = matrix.ncols()
    pivots: list[int] = []
    for row in range(rank):
        pivots.append(next(c for c in range(len(pivots), size) if reduced[row, c] != 0))
    basis = []
    for free in (c for c in range(size) if c not in set(pivots)):
        vector = [flint.fmpq(0)] * size
        vector[free] = flint.fmpq(1)
        for row, column in enumerate(pivots):
            vector[column] = -reduced[row, free]
        basis.append(vector)
    return basis
