"""The same proof in exact rationals or in ball arithmetic, for small problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from markov_icl.moments.system import Moments, RationalMoments, fraction
from markov_icl.recovery.lift import Array, lift_positions

__all__ = ["exact_bound", "ldl"]

_PRECISION = 212


def exact_bound(
    moments: Moments | RationalMoments,
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    balls: bool,
    data_error: float,
) -> float:
    """Return ``y2 - q^T M^{-1} q`` rounded down, after proving ``M > 0`` and ``S_c >= 0`` by LDL^T.

    Args:
        moments: exact, unless ``balls``.
        Z: ``[N, N]``.
        cones: the signed ``C_c``.
        S: one matrix per cone.
        balls: use ball arithmetic; floating-point moments then carry ``data_error``.
        data_error: see :func:`markov_icl.recovery.verify.verify`.

    Raises:
        ValueError: if a pivot is not proved positive.
    """
    with flint.ctx.workprec(_PRECISION):
        lift_number: Callable[[float], Any] = flint.arb if balls else _rational
        for s in S:
            if s.any():
                ldl([[lift_number(float(e)) for e in row] for row in s], [], "S")
        Q, q, y2 = _numbers(moments, balls, data_error)
        terms = [Z, *[-np.kron(C, s) for C, s in ()]]
        M = [[Q[i][k] + lift_number(float(terms[0][i, k])) for k in range(len(q))] for i in range(len(q))]
        for C, s in zip(cones, S, strict=True):
            _subtract_product(M, C, s, lift_number)
        pivots, solved = ldl(M, q, "M")
        value = y2 - sum((c * c / p for c, p in zip(solved, pivots, strict=True)), lift_number(0.0))
        return _round_down(value)


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


def _rational(value: float) -> Any:
    numerator, denominator = value.as_integer_ratio()
    return flint.fmpq(numerator, denominator)


def _subtract_product(M: list[list[Any]], C: Array, s: Array, number: Callable[[float], Any]) -> None:
    m = s.shape[0]
    exact = [[number(float(e)) for e in row] for row in s]
    for i, k in zip(*np.nonzero(C), strict=True):
        weight = number(float(C[i, k]))
        for a in range(m):
            for b in range(m):
                M[i * m + a][k * m + b] -= weight * exact[a][b]


def _numbers(
    moments: Moments | RationalMoments, balls: bool, data_error: float
) -> tuple[list[list[Any]], list[Any], Any]:
    """Return ``Q``, ``q`` and ``y2`` as rationals or balls."""
    at = lift_positions(moments.blocks, moments.dimension)
    if isinstance(moments, RationalMoments):
        convert: Callable[[Any], Any] = flint.arb if balls else (lambda value: value)
        rows = moments.H.tolist()
        H = [[convert(e) for e in row] for row in rows]
        h = [convert(e[0]) for e in moments.h.tolist()]
        y2 = convert(moments.y2)
    else:
        roots = np.sqrt(np.diag(moments.H))
        radius = np.outer(roots, roots) * (data_error * (1 + 1e-9))
        H = [
            [flint.arb(float(e), float(r)) for e, r in zip(*pair, strict=True)]
            for pair in zip(moments.H, radius, strict=True)
        ]
        scale = np.sqrt(abs(moments.y2)) * data_error * (1 + 1e-9)
        h = [flint.arb(float(e), float(scale * r)) for e, r in zip(moments.h, roots, strict=True)]
        y2 = flint.arb(float(moments.y2), float(abs(moments.y2) * data_error))
    return [[H[i][k] for k in at] for i in at], [h[i] for i in at], y2


def _round_down(value: Any) -> float:
    if isinstance(value, flint.fmpq):
        exact = fraction(value)
    else:
        low = value.lower()
        mantissa, exponent = low.man_exp()
        exact = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else float(np.nextafter(nearest, -np.inf))
