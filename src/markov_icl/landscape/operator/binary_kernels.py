"""``E[F(z) z_a z_b | P]`` of one binary chain for every ``(a, b)``, in ``O(D^2)`` (compiled).

``F(z) = sum_{i<=k} V_ik z_i z_k``. The fast path of :mod:`markov_icl.landscape.operator.transfer_kernels`, for states
0 and 1 and ``(P^k)_11 = u_k = s + (1 - s) lambda^k``: sums over earlier or later times become scans with one
accumulator for ``s`` and one for ``(1 - s) lambda^k``. No divisions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["WIDTH", "add_fourth"]

WIDTH = 32
"""Right-hand sides worked on at once, so many that the accumulators of one row stay in the first-level cache."""


@njit(cache=True, nogil=True, fastmath={"contract"})
def add_fourth(V, u, one, lam, s, Y):  # type: ignore[no-untyped-def]  # compiled
    """Add ``T4 V`` to ``Y``, both ``[m, J]``, packed upper triangle by rows.

    Args:
        V: coefficients of ``F``, a column for each right-hand side, ``[m, J]``.
        u: ``(P^k)_11``, ``k = 0 .. D-1``.
        one: ``P(x_t = 1)``, ``[D]``.
        lam: ``lambda``.
        s: stationary probability of state 1.
        Y: added to, ``[m, J]``.
    """
    D = u.shape[0]
    J = V.shape[1]
    record = np.empty(D * 3 * WIDTH)
    line = np.empty(4 * WIDTH)
    for start in range(0, J, WIDTH):
        stop = min(start + WIDTH, J)
        _inside_and_right(V, u, one, lam, s, Y, start, stop, record, line)
        _left(V, u, one, lam, s, Y, start, stop, record, line)


# Accumulators lie a constant distance apart in two arrays, ``line`` for the row and ``record`` for each column:
# the compiler vectorizes a loop only where it can tell that few arrays do not overlap.
_A, _B, _C, _D = 0, WIDTH, 2 * WIDTH, 3 * WIDTH


@njit(cache=True, nogil=True, fastmath={"contract"})
def _inside_and_right(V, u, one, lam, s, Y, start, stop, record, line):  # type: ignore[no-untyped-def]
    """Pairs ``(i, k)`` around, astride the end of, and behind the pair ``(a, b)``; ``a`` goes backwards.

    ``line``: the two sums along the row, then ``r0``, ``r1``, sums over later rows. ``record``: what lies behind ``b``
    in the row, then ``n0``, ``n1``, sums over later rows up to column ``b``.
    """
    D = u.shape[0]
    c = 1.0 - s
    record[:] = 0.0
    line[:] = 0.0
    for i in range(D - 1, -1, -1):
        row = i * D - i * (i + 1) // 2
        head = one[i]
        line[: 2 * WIDTH] = 0.0
        for b in range(D - 1, i - 1, -1):
            mine = record[3 * WIDTH * b : 3 * WIDTH * (b + 1)]
            v_row = V[row + b, start:stop]
            for j in range(stop - start):
                v = v_row[j]
                mine[j] = s * line[_A + j] + c * line[_B + j]
                line[_A + j] += v
                line[_B + j] = lam * (line[_B + j] + v)
        mine = record[3 * WIDTH * i : 3 * WIDTH * (i + 1)]
        v_row = V[row + i, start:stop]
        y_row = Y[row + i, start:stop]
        for j in range(stop - start):
            v = v_row[j]
            r = v + mine[j]
            z = r + s * line[_C + j] + c * line[_D + j]
            line[_A + j] = v
            line[_B + j] = v
            line[_C + j] += r
            line[_D + j] = lam * (line[_D + j] + r)
            n0 = mine[_B + j] + z
            n1 = lam * mine[_C + j] + z
            mine[_B + j] = n0
            mine[_C + j] = n1
            y_row[j] += head * (s * n0 + c * n1)
        for b in range(i + 1, D):
            mine = record[3 * WIDTH * b : 3 * WIDTH * (b + 1)]
            v_row = V[row + b, start:stop]
            y_row = Y[row + b, start:stop]
            step = u[b - i]
            for j in range(stop - start):
                x = step * v_row[j]
                f0 = line[_A + j] + x
                f1 = lam * line[_B + j] + x
                line[_A + j] = f0
                line[_B + j] = f1
                z = s * f0 + c * f1 + step * mine[j]
                n0 = mine[_B + j] + z
                n1 = lam * mine[_C + j] + z
                mine[_B + j] = n0
                mine[_C + j] = n1
                y_row[j] += head * (s * n0 + c * n1)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _left(V, u, one, lam, s, Y, start, stop, record, line):  # type: ignore[no-untyped-def]
    """Pairs ``(i, k)`` that begin before ``a``; ``a`` goes forwards.

    ``line``: the two sums along the row, then ``l0``, ``l1``, sums over pairs that end before ``a``. ``record``: what
    lies behind ``b`` in the row, then ``e0``, ``e1``, sums over earlier rows of column ``b``.
    """
    D = u.shape[0]
    c = 1.0 - s
    record[:] = 0.0
    line[:] = 0.0
    for a in range(D):
        row = a * D - a * (a + 1) // 2
        before = (a - 1) * D - (a - 1) * a // 2
        line[: 2 * WIDTH] = 0.0
        if a > 0:
            head = one[a - 1]
            for b in range(D - 1, a - 1, -1):
                mine = record[3 * WIDTH * b : 3 * WIDTH * (b + 1)]
                v_row = V[before + b, start:stop]
                for j in range(stop - start):
                    x = head * v_row[j]
                    e0 = mine[_B + j] + x
                    e1 = lam * (mine[_C + j] + x)
                    mine[_B + j] = e0
                    mine[_C + j] = e1
                    mine[j] = s * line[_A + j] + c * line[_B + j]
                    grown = s * e0 + c * e1
                    line[_A + j] += grown
                    line[_B + j] = lam * (line[_B + j] + grown)
        head = one[a]
        mine = record[3 * WIDTH * a : 3 * WIDTH * (a + 1)]
        v_row = V[row + a, start:stop]
        y_row = Y[row + a, start:stop]
        for j in range(stop - start):
            grown = s * mine[_B + j] + c * mine[_C + j]
            x = grown + s * line[_C + j] + c * line[_D + j]
            h = grown + head * v_row[j]
            line[_A + j] = x
            line[_B + j] = x
            line[_C + j] += h
            line[_D + j] = lam * (line[_D + j] + h)
            y_row[j] += mine[j] + x
        for b in range(a + 1, D):
            mine = record[3 * WIDTH * b : 3 * WIDTH * (b + 1)]
            y_row = Y[row + b, start:stop]
            step = u[b - a]
            for j in range(stop - start):
                x = step * (s * mine[_B + j] + c * mine[_C + j])
                f0 = line[_A + j] + x
                f1 = lam * line[_B + j] + x
                line[_A + j] = f0
                line[_B + j] = f1
                y_row[j] += step * mine[j] + s * f0 + c * f1
