"""The same proof in exact rationals or in ball arithmetic, for small problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from markov_icl.features import Array, phi
from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import exact_array, fraction, ldl, rational, rational_matrix
from markov_icl.recovery.certificate.lift import Lift, lift_positions
from markov_icl.recovery.certificate.null_columns import kept, kept_of_S

__all__ = ["attained", "ball_bound", "exact_bound"]

_PRECISION = 212


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
    at = lift_positions(moments.blocks, moments.dimension)
    H, h = moments.H.tolist(), [entry[0] for entry in moments.h.tolist()]
    M = _assemble([[H[i][k] for k in at] for i in at], Z, cones, S, rational, null)
    keep = _places(len(at), null)
    pivots, solved = ldl([[M[i][k] for k in keep] for i in keep], [h[at[i]] for i in keep], "M")
    value = moments.y2 - sum((c * c / p for c, p in zip(solved, pivots, strict=True)), flint.fmpq(0))
    return _down(fraction(value))


def attained(moments: RationalMoments, b: Array, A: Array) -> float:
    """Return the exact loss at ``(b, A)``, ``[D]`` and ``[D, J]``, rounded up."""
    X = phi(exact_array(b), exact_array(A))
    return -_down(-moments.loss(rational_matrix([[v] for v in X])))


def ball_bound(
    lifted: Lift,
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    data_error: float,
    null: Array | None = None,
) -> float:
    """Return the same bound in ball arithmetic, for all data within ``e = data_error`` of ``lifted``.

    With ``s = sqrt(diag Q)`` and ``delta = e |s|^2``, ``M - 2 delta I > 0`` gives ``M' >= delta I``; at
    ``x = M^{-1} q`` with ``w = s.|x|`` the bound moves by at most
    ``e (y2 + 2 sqrt(y2) w + w^2 + (sqrt(y2) + w)^2)``.

    Raises:
        ValueError: if a pivot is not proved positive.
    """
    with flint.ctx.workprec(_PRECISION):
        Q = [[flint.arb(float(entry)) for entry in row] for row in lifted.Q]
        M = _assemble(Q, Z, cones, S, lambda value: flint.arb(float(value)), null)
        keep = _places(len(Q), null)
        M, Q = ([[rows[i][k] for k in keep] for i in keep] for rows in (M, Q))
        q = [flint.arb(float(lifted.q[i])) for i in keep]
        x = [row[0] for row in flint.arb_mat(M).solve(flint.arb_mat([[e] for e in q])).tolist()]
        roots = [Q[i][i].sqrt() for i in range(len(q))]
        e, zero = flint.arb(data_error), flint.arb(0)
        w = sum((s * abs(t) for s, t in zip(roots, x, strict=True)), zero)
        trace = sum((Q[i][i] for i in range(len(q))), zero)
        for i, row in enumerate(M):
            row[i] -= 2 * e * trace
        ldl(M, [], "M")
        y2 = flint.arb(lifted.y2)
        root = abs(y2).sqrt()
        value = y2 - sum((s * t for s, t in zip(q, x, strict=True)), zero)
        low = (value - e * (abs(y2) + 2 * root * w + w * w + (root + w) ** 2)).lower()
        mantissa, exponent = low.man_exp()
        return _down(Fraction(int(mantissa)) * Fraction(2) ** int(exponent))


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


def _down(exact: Fraction) -> float:
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else float(np.nextafter(nearest, -np.inf))
