"""Fractions, Python's and python-flint's, and the two decompositions that exact proofs use."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

__all__ = ["Exact", "exact_array", "fraction", "fraction_array", "ldl", "null_space", "rational", "rational_matrix"]

Exact = NDArray[np.object_]
"""Python fractions in an array."""


def rational(value: Fraction | int | float) -> flint.fmpq:
    """Convert a Python number to a flint one, exactly.

    Raises:
        ValueError, OverflowError: if it is not finite.
    """
    return flint.fmpq(*value.as_integer_ratio())


def fraction(value: flint.fmpq) -> Fraction:
    """Convert a flint fraction to a Python one."""
    return Fraction(int(value.p), int(value.q))


def rational_matrix(rows: Iterable[Iterable[Fraction | int | float]]) -> flint.fmpq_mat:
    """Return the exact values of a matrix, ``[R, C]``."""
    return flint.fmpq_mat([[rational(value) for value in row] for row in rows])


def fraction_array(matrix: flint.fmpq_mat) -> Exact:
    """Return the entries of a flint matrix, row by row, as a flat array of Python fractions."""
    return _objects([fraction(entry) for entry in matrix.entries()])


def exact_array(values: NDArray[np.float64]) -> Exact:
    """Return exactly the same numbers as Python fractions, in the same shape.

    Raises:
        ValueError, OverflowError: if one is not finite.
    """
    return _objects([Fraction(value) for value in values.ravel().tolist()]).reshape(values.shape)


def _objects(values: list[Fraction]) -> Exact:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


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
