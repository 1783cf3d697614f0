"""Columns on which ``M`` and ``q`` vanish: proved from the task, and what is then left to prove.

A column is a vector of product coordinates. ``Q`` and ``q`` vanish on it iff the prediction that it stands for is 0 on
every prompt that can occur, which is a finite question about whole numbers; for a quadratic without a task its own
fractions answer it.

If ``M V = 0`` and ``V`` has an invertible block in rows ``P``, every vector differs by a combination of the
columns of ``V`` from one that is zero on ``P``. So ``M >= 0`` iff ``M`` without the rows and columns ``P``
is, and ``q^T M^+ q`` does not change when they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import flint
import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from markov_icl.features import Array, vech, vech_size
from markov_icl.moments.problem import Posed
from markov_icl.rationals import rational_matrix
from markov_icl.recovery.certificate.lift import lift_positions
from markov_icl.tasks.kernels import FinitePrior, exact_stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask

__all__ = ["certificate_vanishes", "check_sizes", "kept", "kept_of_S", "problem_vanishes"]

_MOST_CHAINS = 20_000
_INDEPENDENT = 1e-6
"""Rows are chosen by a pivoted factor in floats, and then proved independent in fractions: this only finds them."""


def kept(null: Array) -> NDArray[np.bool_]:
    """Return the rows outside ``P``, ``[N]``.

    Raises:
        ValueError: if the columns are dependent.
    """
    if null.shape[1] == 0:
        raise ValueError("expected independent null directions; got none")
    check_sizes(null)
    return _without_block(null.T)


def check_sizes(null: Array) -> None:
    """Refuse columns whose numbers would make elimination in fractions long.

    Raises:
        ValueError: if a column's numbers are not whole multiples of ``2^-60`` of its largest.
    """
    largest = np.abs(null).max(axis=0, initial=0.0)
    turned = np.ldexp(null, 60 - np.frexp(largest)[1])
    if not (turned == np.round(turned)).all():
        raise ValueError("expected null directions of short numbers; got others")


def _without_block(rows: Array) -> NDArray[np.bool_]:
    """Return the columns outside an invertible block of independent rows ``[k, n]``; independence is exact."""
    k, n = rows.shape
    keep = np.ones(n, dtype=bool)
    R, pivots = sla.qr(rows, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(R))
    # A well conditioned block, if floats find one; else the first one that elimination in fractions finds.
    if k <= n and diagonal[k - 1] > _INDEPENDENT * diagonal[0]:
        keep[pivots[:k]] = False
        if rational_matrix(rows[:, ~keep].tolist()).rank() == k:
            return keep
        keep[:] = True
    leading = _leading(rows)
    if len(leading) != k:
        raise ValueError("expected independent null directions; got dependent ones")
    keep[leading] = False
    return keep


def _leading(matrix: Array) -> list[int]:
    """Return the first columns that are independent, as many as the rank, in fractions."""
    reduced, rank = rational_matrix(matrix.tolist()).rref()
    return [next(c for c in range(reduced.ncols()) if reduced[row, c] != 0) for row in range(rank)]


def certificate_vanishes(Z: Array, S: Sequence[Array], null: Array) -> bool:
    """Return whether ``Z`` and every ``C (x) S_c`` vanish on the columns, in exact arithmetic.

    ``(C (x) S) w = C W S`` for ``w`` reshaped to ``W`` ``[D, m]``: ``S W^T = 0`` is enough.
    """
    if not _product_vanishes(Z, null):
        return False
    return all(_product_vanishes(s, _factors(null, len(s)).T) for s in S if s.any())


def problem_vanishes(posed: Posed, null: Array) -> bool:
    """Return whether ``Q`` and ``q`` are proved to vanish on the columns."""
    J, D = posed.moments.blocks, posed.moments.dimension
    merged = _merged(null, J, D)
    if isinstance(posed.whole, MarkovTask):
        return _features_vanish(posed.whole, merged)
    if posed.whole is not None or posed.exact is None:  # H of a regression task has no null direction
        return False
    return _zero(posed.exact.H * merged) and _zero(posed.exact.h.transpose() * merged)


def _merged(null: Array, blocks: int, dimension: int) -> Any:
    """Return the columns in the enlarged space, ``[J m, k]``: products with one coordinate there are added."""
    exact = rational_matrix(null.tolist())
    merged = flint.fmpq_mat(blocks * vech_size(dimension), null.shape[1])
    for row, place in enumerate(lift_positions(blocks, dimension)):
        for column in np.nonzero(null[row])[0]:
            merged[int(place), int(column)] += exact[int(row), int(column)]
    return merged


def _features_vanish(task: MarkovTask, merged: Any) -> bool:
    """Return whether ``x^T V vech(zz^T) = 0`` for every query and context chain that can occur together.

    ``V`` ``[J, m]`` is a column; a sum over context chains vanishes if each of its terms does. Chains count only
    through the spans of their ``x`` and of their ``vech(zz^T)``.
    """
    m = vech_size(task.dimension)
    columns = [
        flint.fmpq_mat([[merged[j * m + g, k] for g in range(m)] for j in range(task.blocks)])
        for k in range(merged.ncols())
    ]
    for queries, contexts in _distinct_supports(task):
        z, y = (_columns(task, chains) for chains in (queries, contexts))
        x = _span(z[:, : task.blocks])
        g = _span(vech(y[:, :, None] * y[:, None, :])).transpose()
        if not all(_zero(x * V * g) for V in columns):
            return False
    return True


def _distinct_supports(task: MarkovTask) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the supports without those that many kernels share."""
    return list({(q.tobytes(), c.tobytes()): (q, c) for q, c in _supports(task)}.values())


def _supports(task: MarkovTask) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the query and the context chains, ``[chains, L]``, that can occur together, kernel by kernel."""
    kernels = len(task.prior.kernels) if isinstance(task.prior, FinitePrior) else 1
    if task.states**task.length * kernels > _MOST_CHAINS:
        raise ValueError(f"expected at most {_MOST_CHAINS:,} chains to prove null directions; got more")
    chains = np.array(np.unravel_index(np.arange(task.states**task.length), (task.states,) * task.length)).T
    digits = task.states ** np.arange(task.order)[::-1]
    rows = [chains[:, t : t + task.order] @ digits for t in range(task.length - task.order + 1)]
    steps = [(rows[t - task.order], chains[:, t]) for t in range(task.order, task.length)]
    for kernel in task.prior.kernels if isinstance(task.prior, FinitePrior) else (None,):
        possible = np.ones(len(chains), dtype=bool)
        if kernel is not None:
            positive = np.array([[q > 0 for q in row] for row in kernel])
            for row, state in steps:
                possible &= positive[row, state]
        for query, context in _start_supports(task, kernel):
            yield chains[possible & query[rows[0]]], chains[possible & context[rows[0]]]


def _start_supports(task: MarkovTask, kernel: Any) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield which first tuples the query and the context chains can have together, ``[R]`` each."""
    match task.initial:
        case IndependentStart(pmf):
            yield (np.array([q > 0 for q in pmf]),) * 2
        case CorrelatedStart(p, g):
            for first, weight in enumerate((1 - p, p)):
                if weight > 0:
                    yield np.arange(2) == first, np.array([1 - g[first] > 0, g[first] > 0])
        case _:
            law = [1] * task.rows if kernel is None else exact_stationary(kernel)
            yield (np.array([q > 0 for q in law]),) * 2


def _columns(task: MarkovTask, chains: NDArray[np.intp]) -> NDArray[np.object_]:
    """Return the columns of chains exactly, ``[chains, D]``."""
    values = np.array(task.values, dtype=object)
    shown = [values[chains[:, t - 1]] if t else np.full(len(chains), 1, dtype=object) for t in task.times]
    return np.stack(shown, axis=1)


def _span(vectors: NDArray[np.object_]) -> Any:
    """Return a basis of the row space, one vector a row; a row of zeros where there is nothing else."""
    distinct = sorted({tuple(row) for row in vectors.tolist()})
    reduced, rank = rational_matrix(distinct).rref()
    return flint.fmpq_mat([[reduced[i, k] for k in range(reduced.ncols())] for i in range(max(rank, 1))])


def kept_of_S(S: Array, null: Array) -> NDArray[np.bool_]:  # noqa: N802
    """Return indices outside an invertible block of the part of ``ker S`` that the columns show, ``[m]``."""
    rows = [row for row in _factors(null, len(S)) if _product_vanishes(S, row[:, None])]
    if not rows:
        return np.ones(len(S), dtype=bool)
    stacked = np.array(rows)
    return _without_block(stacked[_leading(stacked.T)])


def _factors(null: Array, m: int) -> Array:
    """Return the distinct nonzero rows of the columns reshaped ``[D, m]``."""
    rows = null.T.reshape(-1, m)
    return np.unique(rows[np.any(rows != 0, axis=1)], axis=0)


def _product_vanishes(X: Array, columns: Array) -> bool:
    used = np.any(columns != 0, axis=1)
    left = X[:, used]
    left = left[np.any(left != 0, axis=1)]
    if left.size == 0:
        return True
    return _zero(rational_matrix(left) * rational_matrix(columns[used]))


def _zero(matrix: Any) -> bool:
    return all(entry == 0 for entry in matrix.entries())
