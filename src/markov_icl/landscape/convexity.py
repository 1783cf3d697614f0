"""Is the optimum unique? Decided exactly in rationals, with the free directions where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import flint
import numpy as np
from jaxtyping import Float

from markov_icl.moments.system import RationalMoments, fraction

__all__ = ["Convexity", "convexity", "ldl_pivots", "null_space"]


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
    pivots = ldl_pivots(moments.H)
    if pivots is not None and min(pivots) > 0:
        least = float(fraction(min(pivots)))
        return Convexity(True, np.empty((0, moments.size)), least, "rational LDL^T: every pivot positive")
    basis = null_space(moments.H)
    free = np.array([[float(fraction(v)) for v in row] for row in basis], dtype=float)
    return Convexity(False, free.reshape(-1, moments.size), 0.0, "rational null space")


def ldl_pivots(matrix: flint.fmpq_mat) -> list[flint.fmpq] | None:
    """Return the pivots of ``M = L D L^T``, ``L`` unit lower triangular; None at a zero pivot.

    ``M`` is positive definite exactly when all are positive (Sylvester). Ratios of the leading minors
    that fraction-free (Bareiss) elimination leaves on the diagonal.
    """
    integers, denominator = matrix.numer_denom()
    size = integers.nrows()
    minors = [flint.fmpz(1)]
    rest = [[integers[i, j] for j in range(i + 1)] for i in range(size)]
    for k in range(size):
        pivot = rest[k][k]
        if pivot == 0:
            return None
        for i in range(k + 1, size):
            for j in range(k + 1, i + 1):
                rest[i][j] = (rest[i][j] * pivot - rest[i][k] * rest[j][k]) / minors[-1]
        minors.append(pivot)
    return [flint.fmpq(b, a * denominator) for a, b in pairwise(minors)]


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
