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

from markov_icl.features import Array, vech_indices, vech_size
from markov_icl.moments.conditional import chain_moments, tuple_count, tuple_places
from markov_icl.moments.quadrature import Rule
from markov_icl.moments.system import rational
from markov_icl.tasks.kernels import FinitePrior, exact_stationary, stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask

__all__ = ["Assembly", "accumulate", "start_laws"]

_CHUNK_NUMBERS = 1_000_000  # stays in cache
_CHUNK_NODES = 256  # keeps matrix products efficient


@dataclass
class Assembly:
    """Running sums over nodes, ``H`` as ``[J, m, J, m]``, ``h`` as ``[J, m]``."""

    H: Array
    h: Array
    y2: Any

    @classmethod
    def empty(cls, task: MarkovTask, exact: bool) -> Assembly:
        """Return zero sums of the task's shape."""
        J, m = task.blocks, vech_size(task.dimension)
        dtype = object if exact else float
        return cls(np.zeros((J, m, J, m), dtype=dtype), np.zeros((J, m), dtype=dtype), 0)


def start_laws(task: MarkovTask, kernels: Array, first: int, exact: bool) -> Iterator[tuple[Any, Array, Array]]:
    """Yield ``(weight, query law, context law)``, laws ``[K or 1, R]``, given which the chains are independent.

    ``first`` is the place of ``kernels[0]`` in a finite prior.
    """
    dtype = object if exact else float
    convert: Callable[..., object] = rational if exact else float

    def law(pmf: object) -> Array:
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


def accumulate(
    task: MarkovTask,
    rule: Rule,
    exact: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Assembly:
    """Average over all nodes of ``rule``, in chunks that bound memory."""
    total = Assembly.empty(task, exact)
    per_node = tuple_count(task.length, 4) + 3 * tuple_count(task.length, 3) * task.rows
    chunk = max(_CHUNK_NODES, _CHUNK_NUMBERS // per_node)
    for first in range(0, rule.size, chunk):
        kernels, weights = rule.chunk(first, first + chunk)
        add_nodes(total, task, kernels, weights, first, exact)
        if progress is not None:
            progress(min(1.0, (first + chunk) / rule.size))
    return total


def add_nodes(
    total: Assembly,
    task: MarkovTask,
    kernels: Array,
    weights: Array,
    first: int = 0,
    exact: bool = False,
) -> None:
    """Add to the running sums the share of nodes ``first, first + 1, ...`` of the rule."""
    values = np.array([rational(v) if exact else float(v) for v in task.values], dtype=object if exact else float)
    times = np.array(task.times)
    J, n = task.blocks, rational(task.context) if exact else float(task.context)
    rows, columns = vech_indices(task.dimension)
    pair_place = tuple_places(np.stack([times[rows], times[columns]], axis=-1), task.length)
    in_quad = tuple_places(np.stack([0 * rows, 0 * rows, times[rows], times[columns]], axis=-1), task.length)
    left, right = np.meshgrid(np.arange(len(rows)), np.arange(len(rows)), indexing="ij")
    quad_times = [times[rows[left]], times[columns[left]], times[rows[right]], times[columns[right]]]
    quad_place = tuple_places(np.stack(quad_times, axis=-1), task.length)
    product = _exact_product if exact else np.matmul
    for weight, query, context in start_laws(task, kernels, first, exact):
        w = weight * weights
        pairs = chain_moments(kernels, query, values, task.length, 2)[pair_place] * w
        quads = chain_moments(kernels, context, values, task.length, 4)
        mu = quads[in_quad]
        query_is_x = columns < J
        T4 = product(pairs[query_is_x], quads.T)
        for p, (j, k) in enumerate(zip(rows[query_is_x], columns[query_is_x], strict=True)):
            block = T4[p][quad_place] / n
            if n != 1:
                block = block + (1 - 1 / n) * product(mu * pairs[query_is_x][p], mu.T)
            total.H[j, :, k, :] += block
            if k > j:
                total.H[k, :, j, :] += block
        total.h += product(pairs[(columns == J) & (rows < J)], mu.T)
        total.y2 = total.y2 + pairs[-1].sum()


def _exact_product(a: Array, b: Array) -> Array:
    product = flint.fmpq_mat(a.tolist()) * flint.fmpq_mat(b.tolist())
    return np.array(product.entries(), dtype=object).reshape(a.shape[0], b.shape[1])
