"""Moments of one chain given its kernel, for many kernels at once.

One recursion over time serves float64 and exact arithmetic (object arrays of flint fractions or
SymPy expressions): it only adds and multiplies.
"""

from __future__ import annotations

from math import comb

import numpy as np
from jaxtyping import Int

from markov_icl.features import Numbers

__all__ = ["chain_moments", "tuple_count", "tuple_places"]


def tuple_count(length: int, degree: int) -> int:
    """Return the number of sorted ``degree``-tuples over the times ``1..L`` and 0, the constant."""
    return comb(length + degree, degree)


def tuple_places(times: Int[np.ndarray, "... degree"], length: int) -> Int[np.ndarray, "..."]:
    """Return the row of :func:`chain_moments` that holds each tuple of times (any order, 0 = constant).

    Tuples are ranked in colexicographic order: ``t_1 <= ... <= t_r`` has rank ``sum_i C(t_i + i - 1, i)``.
    """
    ordered = np.sort(times, axis=-1)
    degree = times.shape[-1]
    binomials = np.array([[comb(t + i, i + 1) for t in range(length + 1)] for i in range(degree)])
    return sum((binomials[i][ordered[..., i]] for i in range(degree)), np.zeros(times.shape[:-1], dtype=int))


def chain_moments(
    kernels: Numbers,
    start: Numbers,
    values: Numbers,
    length: int,
    degree: int,
) -> Numbers:
    """Return ``E[v_{t_1} ... v_{t_r} | P]`` for every sorted tuple of times, 0 standing for the constant 1.

    Walks along the chain with ``E[v_{t_1} ... v_{t_q}; (x_{t-k+1}, ..., x_t) = s]``, ``q < r``, for every
    tuple seen so far: one transition a step, whatever the number of states and the order. Tuples are
    born in colexicographic order, so the rows need no sorting.

    Args:
        kernels: ``[K, R, S]`` with ``R = S**k``.
        start: law of the first ``k`` states, ``[K, R]`` or ``[1, R]``.
        values: numeric value of each state, ``[S]``.
        length: ``L``.
        degree: ``r``, the largest number of factors.

    Returns:
        ``[C(L + r, r), K]``, rows as in :func:`tuple_places`.
    """
    count, rows, states = kernels.shape
    order = round(np.log(rows) / np.log(states))
    step = np.ascontiguousarray(kernels.reshape(count, states, rows // states, states).transpose(1, 2, 3, 0))
    law = np.broadcast_to(start, (count, rows)).T[None]
    alive = [law] * degree
    closed = [law.sum(axis=1)]
    newest = np.arange(rows)
    for t in range(1, length + 1):
        if t > order:
            alive = [_advance(block, step) for block in alive]
        digit = newest // states ** max(order - t, 0) % states
        power = [values[digit][:, None]]
        for _ in range(degree - 1):
            power.append(power[-1] * power[0])
        fresh = [np.concatenate([alive[r - e] * power[e - 1] for e in range(1, r + 1)]) for r in range(1, degree + 1)]
        closed.append(fresh[-1].sum(axis=1))
        alive = [alive[0], *(np.concatenate(pair) for pair in zip(alive[1:], fresh[:-1], strict=True))]
    return np.concatenate(closed)


def _advance(block: Numbers, step: Numbers) -> Numbers:
    """Apply one transition to ``[tuples, R, K]``: drop the oldest state, append the newest."""
    states, shorter, _, count = step.shape
    old = block.reshape(-1, states, shorter, 1, count)
    total = old[:, 0] * step[0]
    for s in range(1, states):
        total = total + old[:, s] * step[s]
    result: Numbers = total.reshape(-1, states * shorter, count)
    return result
