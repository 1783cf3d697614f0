"""Exact moments from pooled transition counts: for short chains, whatever the number of rows of the kernel.

Under Dirichlet rows the probability of a query and one or two context chains depends on their transitions counted
together, so chains with the same counts and the same start are one class. A grid over kernels has a power of the number
of rows as its size; this has the third power of the number of classes. Source: the Dirichlet-multinomial law.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import flint
import numpy as np

from markov_icl.features import vech, vech_size
from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import Exact, rational, rational_matrix
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask

__all__ = ["MOST_CHAINS", "pooled_moments"]

MOST_CHAINS = 32
"""Chains up to which this takes less than a second: 32,768 probabilities of three of them."""

Counts = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Class:
    """Chains that are equally likely: how often each entry of the kernel is used, and the columns ``[chains, D]``."""

    counts: Counts
    first: int
    columns: Exact


def pooled_moments(task: MarkovTask) -> RationalMoments:
    """Return ``H``, ``h`` and ``E y^2`` in fractions.

    Raises:
        ValueError: if the prior is not Dirichlet, or starts depend on the kernel.
    """
    if not isinstance(task.prior, DirichletPrior) or not isinstance(task.initial, IndependentStart | CorrelatedStart):
        raise ValueError("expected Dirichlet rows, and starts that do not depend on the kernel; got others")
    J, m = task.blocks, vech_size(task.dimension)
    classes, law = _classes(task), _law(task.prior)
    H, h, y2 = flint.fmpq_mat(J * m, J * m), flint.fmpq_mat(J, m), flint.fmpq(0)
    share = rational(Fraction(1, task.context))
    for query, query_weight, contexts in _with_starts(task, classes):
        x, y = query.columns[:, :J], query.columns[:, J:]
        xx, xy = rational_matrix(x.T @ x * query_weight), rational_matrix(x.T @ y * query_weight)
        means = rational_matrix([vech(one.columns.T @ one.columns) * weight for one, weight in contexts])
        # Given the query's counts: one context chain for T4 and mu, two for mu mu^T.
        once = [law(query.counts, one.counts) for one, _ in contexts]
        fourth = flint.fmpq_mat(m, m)
        for (one, weight), chance in zip(contexts, once, strict=True):
            g = np.array([vech(np.outer(z, z)) for z in one.columns])
            fourth += rational_matrix(g.T @ g * weight) * chance
        twice = flint.fmpq_mat([[law(query.counts, a.counts, b.counts) for a, _ in contexts] for b, _ in contexts])
        square = means.transpose() * twice * means
        H += _kronecker(xx, fourth * share + square * (1 - share))
        h += xy * (flint.fmpq_mat([once]) * means)
        y2 += rational((y.T @ y)[0, 0] * query_weight) * law(query.counts)
    column = flint.fmpq_mat(J * m, 1, h.entries())
    return RationalMoments(H, column, y2, J, task.dimension, "pooled counts", len(classes))


def _classes(task: MarkovTask) -> list[_Class]:
    found: dict[tuple[int, Counts], list[list[Fraction]]] = {}
    for chain in product(range(task.states), repeat=task.length):
        counts = [0] * (task.rows * task.states)
        row = first = sum(s * task.states ** (task.order - 1 - k) for k, s in enumerate(chain[: task.order]))
        for state in chain[task.order :]:
            counts[row * task.states + state] += 1
            row = (row * task.states + state) % task.rows
        column = [task.values[chain[t - 1]] if t else Fraction(1) for t in task.times]
        found.setdefault((first, tuple(counts)), []).append(column)
    return [_Class(counts, first, np.array(columns, dtype=object)) for (first, counts), columns in found.items()]


def _with_starts(
    task: MarkovTask, classes: list[_Class]
) -> Iterator[tuple[_Class, Fraction, list[tuple[_Class, Fraction]]]]:
    """Yield every query class with its start's probability and the context classes with theirs, none of them 0."""
    for query in classes:
        law: tuple[Fraction, ...]
        if isinstance(task.initial, CorrelatedStart):
            p, one = task.initial.p, task.initial.g[query.first]
            own, law = (1 - p, p)[query.first], (1 - one, one)
        else:
            assert isinstance(task.initial, IndependentStart)
            own, law = task.initial.pmf[query.first], task.initial.pmf
        if own:
            yield query, own, [(other, law[other.first]) for other in classes if law[other.first]]


def _law(prior: DirichletPrior) -> Any:
    """Return the function from counts to the probability of all their transitions, with what it has computed kept."""
    states, known, rising = prior.shape[1], {}, {}

    def rise(a: Fraction, count: int) -> flint.fmpq:
        if (a, count) not in rising:
            value = flint.fmpq(1)
            for i in range(count):
                value *= rational(a + i)
            rising[a, count] = value
        return rising[a, count]

    def law(*parts: Counts) -> flint.fmpq:
        total = tuple(map(sum, zip(*parts, strict=True)))
        if total not in known:
            value = flint.fmpq(1)
            for row, alpha in enumerate(prior.alpha):
                here = total[row * states : (row + 1) * states]
                if any(here):
                    for a, count in zip(alpha, here, strict=True):
                        value *= rise(a, count)
                    value /= rise(sum(alpha, Fraction(0)), sum(here))
            known[total] = value
        return known[total]

    return law


def _kronecker(a: flint.fmpq_mat, b: flint.fmpq_mat) -> flint.fmpq_mat:
    rows, columns = b.tolist(), range(a.ncols())
    return flint.fmpq_mat([[a[i, j] * e for j in columns for e in row] for i in range(a.nrows()) for row in rows])
