"""From conditional moments at kernel nodes to ``H``, ``h`` and ``E y^2``.

``H = E_P[Sxx (x) (T4/n + (1 - 1/n) mu mu^T)]``, ``h = E_P[E[x y | P] (x) mu]``, averaged over the kernel and,
when starts are correlated, over the query's first state. The same lines serve float64 and exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from markov_icl.features import Numbers, vech_indices, vech_size
from markov_icl.moments.conditional import chain_moments, tuple_count, tuple_places
from markov_icl.moments.quadrature import Rule
from markov_icl.progress import Tell
from markov_icl.rationals import rational
from markov_icl.tasks.kernels import FinitePrior, exact_stationary, stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask

__all__ = ["Assembly", "accumulate", "chunk_size", "start_laws"]

_CHUNK_NUMBERS = 1_000_000  # stays in cache
_CHUNK_NODES = 256  # keeps matrix products efficient
_LARGEST_CHUNK = 2048  # a sum over more nodes would lose digits that a proof has to count
_GROUP_NUMBERS = 2_000_000


@dataclass
class Assembly:
    """Running sums over nodes, for the ``J (J + 1) / 2`` pairs ``(j, k)`` of query entries.

    Attributes:
        fourth: ``E[x_j x_k T4]`` as its distinct moments, ``[pairs, tuples]``.
        square: ``E[x_j x_k mu mu^T]``, ``[pairs, m, m]``.
        h: ``E[x_j y mu]``, ``[J, m]``.
        y2: ``E y^2``.
    """

    fourth: Numbers
    square: Numbers
    h: Numbers
    y2: Any

    @classmethod
    def empty(cls, task: MarkovTask, exact: bool) -> Assembly:
        """Return zero sums of the task's shape."""
        m, pairs = vech_size(task.dimension), vech_size(task.blocks)
        zero, dtype = (flint.fmpq(0), object) if exact else (0.0, float)
        return cls(
            np.full((pairs, tuple_count(task.length, 4)), zero, dtype=dtype),
            np.full((pairs, m, m), zero, dtype=dtype),
            np.full((task.blocks, m), zero, dtype=dtype),
            zero,
        )

    def dense(self, task: MarkovTask) -> tuple[Numbers, Numbers, Any]:
        """Return ``H`` ``[N, N]``, symmetric to the last bit, ``h`` ``[N]`` and ``E y^2``."""
        J, m = self.h.shape
        times = np.array(task.times)
        rows, columns = (times[i] for i in vech_indices(task.dimension))
        quads = np.broadcast_arrays(rows[:, None], columns[:, None], rows, columns)
        place = tuple_places(np.stack(quads, axis=-1), task.length)
        n = rational(task.context) if self.h.dtype == object else float(task.context)
        H = np.empty((J, m, J, m), dtype=self.h.dtype)
        for pair, (j, k) in enumerate(zip(*vech_indices(J), strict=True)):
            square = (self.square[pair] + self.square[pair].T) / 2
            H[j, :, k, :] = H[k, :, j, :] = self.fourth[pair][place] / n + (1 - 1 / n) * square
        return H.reshape(J * m, J * m), self.h.reshape(J * m), self.y2


def start_laws(task: MarkovTask, kernels: Numbers, first: int, exact: bool) -> Iterator[tuple[Any, Numbers, Numbers]]:
    """Yield ``(weight, query law, context law)``, laws ``[K or 1, R]``, given which the chains are independent.

    ``first`` is the place of ``kernels[0]`` in a finite prior.
    """
    dtype = object if exact else float
    convert: Callable[..., object] = rational if exact else float

    def law(pmf: object) -> Numbers:
        return np.array([[convert(q) for q in pmf]], dtype=dtype)  # type: ignore[attr-defined]

    match task.initial:
        case IndependentStart(pmf):
            yield convert(1), law(pmf), law(pmf)
        case CorrelatedStart(p, g):
            for first, weight in ((0, 1 - p), (1, p)):
                if weight:
                    yield convert(weight), law((1 - first, first)), law((1 - g[first], g[first]))
        case _:
            if isinstance(task.prior, FinitePrior):
                here = task.prior.kernels[first : first + len(kernels)]
                pi = np.concatenate([law(exact_stationary(kernel)) for kernel in here])
            else:
                pi = stationary(kernels)
            yield convert(1), pi, pi


def chunk_size(task: MarkovTask) -> int:
    """Return how many nodes are averaged in one matrix product."""
    per_node = tuple_count(task.length, 4) + 3 * tuple_count(task.length, 3) * task.rows
    return min(max(_CHUNK_NODES, _CHUNK_NUMBERS // per_node), _LARGEST_CHUNK)


def accumulate(
    task: MarkovTask,
    rule: Rule,
    exact: bool = False,
    absolute: bool = False,
    tell: Tell | None = None,
) -> Assembly:
    """Average over all nodes of ``rule``, in chunks that bound memory; ``absolute``: of the values' moduli."""
    total = Assembly.empty(task, exact)
    chunk = chunk_size(task)
    for first in range(0, rule.size, chunk):
        kernels, weights = rule.chunk(first, first + chunk)
        add_nodes(total, task, kernels, weights, first, exact, absolute)
        if tell is not None:
            done = min(first + chunk, rule.size)
            tell(done / rule.size, f"{done:,} of {rule.size:,} kernels")
    return total


def add_nodes(
    total: Assembly,
    task: MarkovTask,
    kernels: Numbers,
    weights: Numbers,
    first: int = 0,
    exact: bool = False,
    absolute: bool = False,
) -> None:
    """Add to the running sums the share of nodes ``first, first + 1, ...`` of the rule."""
    numbers = [abs(v) for v in task.values] if absolute else task.values
    values = np.array([rational(v) if exact else float(v) for v in numbers], dtype=object if exact else float)
    times = np.array(task.times)
    rows, columns = vech_indices(task.dimension)
    pair_place = tuple_places(np.stack([times[rows], times[columns]], axis=-1), task.length)
    in_quad = tuple_places(np.stack([0 * rows, 0 * rows, times[rows], times[columns]], axis=-1), task.length)
    product = _exact_product if exact else np.matmul
    for weight, query, context in start_laws(task, kernels, first, exact):
        pairs = chain_moments(kernels, query, values, task.length, 2)[pair_place] * (weight * weights)
        quads = chain_moments(kernels, context, values, task.length, 4)
        mu = quads[in_quad]
        seen, with_label = columns < task.blocks, (columns == task.blocks) & (rows < task.blocks)
        total.fourth += product(pairs[seen], quads.T)
        total.h += product(pairs[with_label], mu.T)
        total.y2 = total.y2 + pairs[-1].sum()
        if task.context > 1:
            _add_squares(total.square, pairs[seen], mu, product)


def _add_squares(
    square: Numbers, weights: Numbers, mu: Numbers, product: Callable[[Numbers, Numbers], Numbers]
) -> None:
    """Add ``sum_K weights_pK mu_K mu_K^T`` to every ``square[p]``, a few pairs to a matrix product."""
    m, nodes = mu.shape
    group = max(1, _GROUP_NUMBERS // (m * nodes))
    for first in range(0, len(weights), group):
        scaled = weights[first : first + group, None, :] * mu
        square[first : first + group] += product(scaled.reshape(-1, nodes), mu.T).reshape(-1, m, m)


def _exact_product(a: Numbers, b: Numbers) -> Numbers:
    product = flint.fmpq_mat(a.tolist()) * flint.fmpq_mat(b.tolist())
    return np.array(product.entries(), dtype=object).reshape(a.shape[0], b.shape[1])
