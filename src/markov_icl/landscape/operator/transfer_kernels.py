"""``E[F(z) z_a z_b | P]`` of one chain for every ``(a, b)``, any states, order, values and bias (compiled).

The definition in matrices: an expectation over sorted times ``t1 <= t2 <= t3 <= t4`` is
``pi_t1 D T D T D T D 1`` with ``D`` the values shown and ``T`` the transitions between. Two of the four times belong
to the coefficient ``V_ik``, two to the entry ``(a, b)``: six orders of ``i, k, a, b``, each a pair of recursions over
time. Equal times put ``i, k`` first, so that every term is counted once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["add_fourth"]


@njit(cache=True, nogil=True, fastmath={"contract"})
def add_fourth(V, kernel, start, digits, clock, Y):  # type: ignore[no-untyped-def]  # compiled
    """Add ``T4 V`` to ``Y``, both ``[m, J]``, packed upper triangle by rows, times sorted.

    Args:
        V: coefficients of ``F``, a column for each right-hand side, ``[m, J]``.
        kernel: ``[R, S]``.
        start: law of the first tuple, ``[R]``.
        digits: value shown at each time by each tuple, ``[D, R]``.
        clock: transitions made up to each time, ``[D]``.
        Y: added to, ``[m, J]``.
    """
    D, R = digits.shape
    J = V.shape[1]
    powers = _powers(kernel, clock[-1] + 1)
    law = np.zeros((D, R))
    for t in range(D):
        law[t] = start @ powers[clock[t]]
    forward = np.zeros((D, D, R))  # pi_i D_i T, up to time t and before its value
    backward = np.zeros((D, D, R))  # D_b T D_t 1
    for i in range(D):
        for t in range(i, D):
            between = powers[clock[t] - clock[i]]
            forward[i, t] = (law[i] * digits[i]) @ between
            backward[i, t] = digits[i] * (between @ digits[t])
    _outside(V, powers, digits, clock, forward, backward, Y, D, R, J)
    _around_and_left(V, powers, digits, clock, forward, Y, D, R, J)
    _within_and_right(V, powers, digits, clock, law, Y, D, R, J)


@njit(cache=True, nogil=True)
def _powers(kernel, count):  # type: ignore[no-untyped-def]
    """Return powers ``0 .. count - 1`` of the transition matrix over tuples, ``[count, R, R]``."""
    R, S = kernel.shape
    lifted = np.zeros((R, R))
    for row in range(R):
        for s in range(S):
            lifted[row, (row * S) % R + s] = kernel[row, s]
    powers = np.zeros((count, R, R))
    powers[0] = np.eye(R)
    for k in range(1, count):
        powers[k] = powers[k - 1] @ lifted
    return powers


@njit(cache=True, nogil=True)
def _at(i, k, D):  # type: ignore[no-untyped-def]
    return i * D - i * (i + 1) // 2 + k


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_product(matrix, vectors, out):  # type: ignore[no-untyped-def]
    """Add ``matrix^T vectors`` to ``out``, ``[R, R]`` and ``[R, J]``."""
    R, J = vectors.shape
    for p in range(R):
        for q in range(R):
            factor = matrix[p, q]
            if factor != 0.0:
                for j in range(J):
                    out[q, j] += factor * vectors[p, j]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _outside(V, powers, digits, clock, forward, backward, Y, D, R, J):  # type: ignore[no-untyped-def]
    """``i <= k <= a <= b`` and ``a <= b < i <= k``: the two pairs do not interlace."""
    before = np.zeros((D, R, J))  # sum over i <= k <= a of what reaches time a
    behind = np.zeros((D, R, J))  # sum over b < i <= k of what follows time b
    for t in range(D):
        if t > 0:
            _add_product(powers[clock[t] - clock[t - 1]], before[t - 1], before[t])
        for i in range(t + 1):
            place = _at(i, t, D)
            for r in range(R):
                factor = forward[i, t, r] * digits[t, r]
                for j in range(J):
                    before[t, r, j] += factor * V[place, j]
    for t in range(D - 2, -1, -1):
        fresh = behind[t + 1].copy()
        for k in range(t + 1, D):
            place = _at(t + 1, k, D)
            for r in range(R):
                factor = backward[t + 1, k, r]
                for j in range(J):
                    fresh[r, j] += factor * V[place, j]
        _add_product(powers[clock[t + 1] - clock[t]].T, fresh, behind[t])
    for a in range(D):
        for b in range(a, D):
            place = _at(a, b, D)
            for r in range(R):
                left, right = backward[a, b, r], forward[a, b, r] * digits[b, r]
                for j in range(J):
                    Y[place, j] += left * before[a, r, j] + right * behind[b, r, j]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _around_and_left(V, powers, digits, clock, forward, Y, D, R, J):  # type: ignore[no-untyped-def]
    """``i <= a <= b < k`` and ``i <= a < k <= b``: the coefficient's pair begins first."""
    opened = np.zeros((D, R, J))  # sum over i <= a of V_ik pi_i D_i T, at time a and before its value, for each k
    for a in range(D):
        if a > 0:
            moved = np.zeros((D, R, J))
            for k in range(a, D):
                _add_product(powers[clock[a] - clock[a - 1]], opened[k], moved[k])
            opened = moved
        for k in range(a, D):
            place = _at(a, k, D)
            for r in range(R):
                for j in range(J):
                    opened[k, r, j] += forward[a, a, r] * V[place, j]
        reach = np.zeros((R, R, J))  # after b: sum over k > b of T^(k-b) D_k 1, times opened[k]
        for b in range(D - 1, a - 1, -1):
            if b < D - 1:
                for p in range(R):
                    for q in range(R):
                        factor = digits[b + 1, q]
                        for j in range(J):
                            reach[q, p, j] += factor * opened[b + 1, p, j]
                step = powers[clock[b + 1] - clock[b]]
                moved_reach = np.zeros((R, R, J))
                for q in range(R):
                    for w in range(R):
                        factor = step[w, q]
                        if factor != 0.0:
                            for p in range(R):
                                for j in range(J):
                                    moved_reach[w, p, j] += factor * reach[q, p, j]
                reach = moved_reach
            between = powers[clock[b] - clock[a]]
            place = _at(a, b, D)
            for p in range(R):
                for q in range(R):
                    factor = digits[a, p] * between[p, q] * digits[b, q]
                    if factor != 0.0:
                        for j in range(J):
                            Y[place, j] += factor * reach[q, p, j]
        closing = np.zeros((R, J))  # sum over a < k <= b, at time b and before its value
        for b in range(a + 1, D):
            moved_closing = np.zeros((R, J))
            _add_product(powers[clock[b] - clock[b - 1]], closing, moved_closing)
            closing = moved_closing
            between = powers[clock[b] - clock[a]]
            for p in range(R):
                for q in range(R):
                    factor = digits[a, p] * between[p, q] * digits[b, q]
                    if factor != 0.0:
                        for j in range(J):
                            closing[q, j] += factor * opened[b, p, j]
            place = _at(a, b, D)
            for r in range(R):
                for j in range(J):
                    Y[place, j] += digits[b, r] * closing[r, j]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _within_and_right(V, powers, digits, clock, law, Y, D, R, J):  # type: ignore[no-untyped-def]
    """``a < i <= k <= b`` and ``a < i <= b < k``: the entry's pair begins first."""
    inner = np.zeros((D, R, R, J))  # sum over a < i <= k of V_ik T D_i T D_k, from time a to time k
    crossing = np.zeros((D, R, J))  # sum over a < i <= b < k of V_ik T D_i T D_b T D_k 1, from time a
    for a in range(D - 2, -1, -1):
        step = powers[clock[a + 1] - clock[a]]
        beyond = np.zeros((R, J))
        for b in range(D - 1, a, -1):
            if b < D - 1:
                here = powers[clock[b + 1] - clock[b]]
                place = _at(a + 1, b + 1, D)
                gone = np.zeros((R, J))
                for r in range(R):
                    for j in range(J):
                        beyond[r, j] += digits[b + 1, r] * V[place, j]
                _add_product(here.T, beyond, gone)
                beyond = gone
            place = _at(a + 1, b, D)
            between = powers[clock[b] - clock[a + 1]]
            for p in range(R):
                for q in range(R):
                    factor = digits[a + 1, p] * between[p, q] * digits[b, q]
                    if factor != 0.0:
                        for j in range(J):
                            inner[b, p, q, j] += factor * V[place, j]
                            crossing[b, p, j] += factor * beyond[q, j]
            moved = np.zeros((R, R, J))
            slid = np.zeros((R, J))
            for w in range(R):
                for p in range(R):
                    factor = step[w, p]
                    if factor != 0.0:
                        for j in range(J):
                            slid[w, j] += factor * crossing[b, p, j]
                            for q in range(R):
                                moved[w, q, j] += factor * inner[b, p, q, j]
            inner[b] = moved
            crossing[b] = slid
        ending = np.zeros((R, J))  # pi_a D_a times inner, carried on to time b
        for b in range(a + 1, D):
            grown = np.zeros((R, J))
            if b > a + 1:
                _add_product(powers[clock[b] - clock[b - 1]], ending, grown)
            for p in range(R):
                factor = law[a, p] * digits[a, p]
                for q in range(R):
                    for j in range(J):
                        grown[q, j] += factor * inner[b, p, q, j]
            ending = grown
            place = _at(a, b, D)
            for r in range(R):
                left = law[a, r] * digits[a, r]
                for j in range(J):
                    Y[place, j] += digits[b, r] * ending[r, j] + left * crossing[b, r, j]
