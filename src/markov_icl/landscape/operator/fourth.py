"""Products with ``T4 = E[vech(zz^T) vech(zz^T)^T | node]``, and weighted sums of it, without storing it.

Two ways with one interface: scans for binary chains of order 1, transfer matrices for every chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from markov_icl.features import Numbers, vech_indices
from markov_icl.moments.conditional import chain_moments, tuple_count, tuple_places
from markov_icl.moments.long_nodes import LongNodes
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["BinaryFourth", "Fourth", "TransferFourth", "fourth_of"]

_CHUNK_NUMBERS = 20_000_000
_ROWS = 256
"""Bounds on what is alive at once: 160 MB of moments, and rows of a gather that stay in cache."""


@runtime_checkable
class Fourth(Protocol):
    """What the operator needs of the fourth moments."""

    def add(self, node: int, V: Numbers, Y: Numbers) -> None:
        """Add ``T4 V`` of one node to ``Y``, both ``[m, columns]``; releases the interpreter lock."""
        ...

    def averages(self, weights: Numbers) -> Iterator[Numbers]:
        """Yield ``sum_k weights_kg T4_k``, ``[m, m]``, for each column ``g`` of ``weights`` ``[K, G]``."""
        ...


@dataclass(frozen=True, eq=False)
class BinaryFourth:
    """Fourth moments of chains with states 0 and 1.

    Attributes:
        mu: ``P(x_a = x_b = 1)``, ``[K, m]``.
        powers: ``u_k = (P^k)_11``, ``[K, D]``.
        one: ``P(x_t = 1)``, ``[K, D]``.
        spectrum: ``lambda`` and ``s``, ``[2, K]``.
    """

    mu: Float[np.ndarray, "K m"]
    powers: Float[np.ndarray, "K D"]
    one: Float[np.ndarray, "K D"]
    spectrum: Float[np.ndarray, "2 K"]

    @classmethod
    def of(cls, nodes: LongNodes, dimension: int) -> BinaryFourth:
        """Take the nodes of a task with ``D = dimension``."""
        if nodes.spectrum is None:
            raise ValueError("expected nodes of binary chains with states 0 and 1; got others")
        (lam, s), start = nodes.spectrum[:, :, None], nodes.start[:, 1:]
        decay = lam ** np.arange(dimension)
        return cls(nodes.mu, s + (1 - s) * decay, s + (start - s) * decay, nodes.spectrum)

    def add(self, node: int, V: Numbers, Y: Numbers) -> None:
        """Add ``T4 V`` in ``O(D^2)`` a column."""
        from markov_icl.landscape.operator.binary_kernels import add_fourth

        lam, s = self.spectrum[:, node]
        add_fourth(V, self.powers[node], self.one[node], lam, s, Y)

    def averages(self, weights: Numbers) -> Iterator[Numbers]:
        """Two matrix products and a gather: at sorted times the moment is ``mu[t1, t2] u[t3-t2] u[t4-t3]``."""
        D = self.one.shape[1]
        rows, columns = vech_indices(D)
        later = self.powers[:, rows] * self.powers[:, columns - rows]
        place = _quad_places(D)
        for column in weights.T:
            yield ((self.mu * column[:, None]).T @ later).reshape(-1)[place]


def _quad_places(dimension: int) -> Numbers:
    """Return ``[t1, t2] m + [t3 - t2, t4 - t2]`` of the sorted times of every two packed entries, ``[m, m]``."""
    rows, columns = (index.astype(np.int16) for index in vech_indices(dimension))
    m = len(rows)
    place = np.empty((m, m), dtype=np.int64 if m * m > 2**31 - 1 else np.int32)
    for first in range(0, m, _ROWS):
        here = slice(first, first + _ROWS)
        quads = np.broadcast_arrays(rows[here, None], columns[here, None], rows, columns)
        t1, t2, t3, t4 = np.sort(np.stack(quads), axis=0)
        place[here] = _packed(t1, t2, dimension)
        place[here] *= m
        place[here] += _packed(t3 - t2, t4 - t2, dimension)
    return place


def _packed(i: Numbers, k: Numbers, dimension: int) -> Numbers:
    """Return the place of ``(i, k)``, ``i <= k``, in the packed upper triangle."""
    start = np.array([i * dimension - i * (i + 1) // 2 for i in range(dimension)], dtype=np.int32)
    return np.asarray(start[i] + k)


@dataclass(frozen=True, eq=False)
class TransferFourth:
    """Fourth moments of any chain, by transfer matrices over ``k``-tuples of states.

    Attributes:
        nodes: kernels and start laws.
        task: values, times and order of the chain.
        order: places of the packed entries once times are sorted (a bias stands first), ``[m]``.
        inverse: its inverse permutation.
        digits: value shown at each sorted time by each tuple, ``[D, R]``.
        clock: transitions made up to each sorted time, ``[D]``.
    """

    nodes: LongNodes
    task: MarkovTask
    order: Numbers
    inverse: Numbers
    digits: Numbers
    clock: Numbers

    @classmethod
    def of(cls, nodes: LongNodes, task: MarkovTask) -> TransferFourth:
        """Sort the times of a task and list what a tuple shows at each of them."""
        D, R, S, k = task.dimension, task.rows, task.states, task.order
        by_time = np.argsort(task.times, kind="stable")
        rank = np.argsort(by_time, kind="stable")
        rows, columns = vech_indices(D)
        low, high = np.minimum(rank[rows], rank[columns]), np.maximum(rank[rows], rank[columns])
        order = _packed(low, high, D)
        values, tuples = np.array(task.values, dtype=float), np.arange(R)
        digits, clock = np.ones((D, R)), np.zeros(D, dtype=np.int64)
        for place, t in enumerate(np.array(task.times)[by_time]):
            if t:
                digits[place] = values[tuples // S ** max(k - int(t), 0) % S]
                clock[place] = max(int(t) - k, 0)
        return cls(nodes, task, order, np.argsort(order), digits, clock)

    def add(self, node: int, V: Numbers, Y: Numbers) -> None:
        """Add ``T4 V`` in ``O(D^2 R^2 S)`` a column."""
        from markov_icl.landscape.operator.transfer_kernels import add_fourth

        sorted_sum = np.zeros_like(Y)
        kernel, start = np.ascontiguousarray(self.nodes.kernels[node]), np.ascontiguousarray(self.nodes.start[node])
        add_fourth(np.ascontiguousarray(V[self.inverse]), kernel, start, self.digits, self.clock, sorted_sum)
        Y += sorted_sum[self.order]

    def averages(self, weights: Numbers) -> Iterator[Numbers]:
        """Average the distinct moments by :func:`~markov_icl.moments.conditional.chain_moments`, then gather."""
        task, nodes = self.task, self.nodes
        values, count = np.array(task.values, dtype=float), tuple_count(task.length, 4)
        total = np.zeros((count, weights.shape[1]))
        chunk = max(1, _CHUNK_NUMBERS // (count * task.rows))
        for first in range(0, nodes.size, chunk):
            here = slice(first, first + chunk)
            total += chain_moments(nodes.kernels[here], nodes.start[here], values, task.length, 4) @ weights[here]
        times = np.array(task.times)
        rows, columns = (times[i] for i in vech_indices(task.dimension))
        quads = np.broadcast_arrays(rows[:, None], columns[:, None], rows, columns)
        place = tuple_places(np.stack(quads, axis=-1), task.length)
        for column in total.T:
            yield column[place]


def fourth_of(task: MarkovTask, nodes: LongNodes) -> Fourth:
    """Return the fast products where the chain is binary, transfer matrices otherwise."""
    return BinaryFourth.of(nodes, task.dimension) if nodes.spectrum is not None else TransferFourth.of(nodes, task)
