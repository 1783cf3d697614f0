"""The same proof in exact rationals or in ball arithmetic, for small problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from markov_icl.features import Array
from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import fraction, ldl, rational
from markov_icl.recovery.certificate.lift import lift_positions
from markov_icl.recovery.certificate.null_columns import kept, kept_of_S

__all__ = ["ball_bound", "exact_bound", "rounded_down", "rounded_up"]

_PRECISION = 320
"""Bits: six times a double's, since entries of ``M`` and its pivots may lie 60 digits apart."""


def exact_bound(
    moments: RationalMoments, Z: Array, cones: Sequence[Array], S: Sequence[Array], null: Array | None = None
) -> float:
    """Return ``y2 - q^T M^{-1} q`` rounded down, after proving ``M > 0`` and ``S_c >= 0``.

    Args:
        moments: exact.
        Z: ``[N, N]``.
        cones: the signed ``C_c``.
        S: one matrix per cone.
        null: columns on which ``M`` and ``q`` vanish, as the caller has checked, ``[N, k]``.

    Raises:
        ValueError: if a pivot is not positive.
    """
    value = _value(moments, Z, cones, S, null, lambda entry: entry, rational)
    return rounded_down(fraction(value))


def ball_bound(
    moments: RationalMoments, Z: Array, cones: Sequence[Array], S: Sequence[Array], null: Array | None = None
) -> float:
    """Return the same bound in ball arithmetic: every number is enclosed, and the cost of a step does not grow.

    Raises:
        ValueError: if a pivot is not proved positive.
    """
    with flint.ctx.workprec(_PRECISION):
        value = _value(moments, Z, cones, S, null, flint.arb, lambda entry: flint.arb(float(entry)))
        mantissa, exponent = value.lower().man_exp()
    return rounded_down(Fraction(int(mantissa)) * Fraction(2) ** int(exponent))


def _value(
    moments: RationalMoments,
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    null: Array | None,
    exact: Callable[[Any], Any],
    double: Callable[[float], Any],
) -> Any:
    """Return ``y2 - q^T M^{-1} q`` in the arithmetic that ``exact`` and ``double`` turn numbers into."""
    at = lift_positions(moments.blocks, moments.dimension)
    H, h = moments.H.tolist(), [exact(entry[0]) for entry in moments.h.tolist()]
    H = [[exact(entry) for entry in row] for row in H]
    M = _assemble([[H[i][k] for k in at] for i in at], Z, cones, S, double, null)
    keep = _places(len(at), null)
    pivots, solved = ldl([[M[i][k] for k in keep] for i in keep], [h[at[i]] for i in keep], "M")
    return exact(moments.y2) - sum((c * c / p for c, p in zip(solved, pivots, strict=True)), exact(flint.fmpq(0)))


def _assemble(
    Q: list[list[Any]],
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    number: Callable[[float], Any],
    null: Array | None,
) -> list[list[Any]]:
    """Return ``M = Q + Z - sum_c C_c (x) S_c`` after proving every ``S_c`` zero or positive definite."""
    M = [[e + number(float(z)) for e, z in zip(*rows, strict=True)] for rows in zip(Q, Z, strict=True)]
    for C, s in zip(cones, S, strict=True):
        if not s.any():
            continue
        exact = [[number(float(e)) for e in row] for row in s]
        m = len(exact)
        for i, k in zip(*np.nonzero(C), strict=True):
            weight = number(float(C[i, k]))
            for a in range(m):
                for b in range(m):
                    M[i * m + a][k * m + b] -= weight * exact[a][b]
        keep = range(m) if null is None else np.flatnonzero(kept_of_S(s, null)).tolist()
        ldl([[exact[a][b] for b in keep] for a in keep], [], "S")
    return M


def _places(size: int, null: Array | None) -> list[int]:
    """Return the coordinates left to prove."""
    return list(range(size)) if null is None else [int(i) for i in np.flatnonzero(kept(null))]


def rounded_down(exact: Fraction) -> float:
    """Return the largest double that is not above.

    Raises:
        ValueError: if the number is larger than all of them.
    """
    try:
        nearest = float(exact)
    except OverflowError:
        raise ValueError("expected a number that fits in a double; got a larger one") from None
    return nearest if Fraction(nearest) <= exact else float(np.nextafter(nearest, -np.inf))


def rounded_up(exact: Fraction) -> float:
    """Return the least double that is not below."""
    return -rounded_down(-exact)
