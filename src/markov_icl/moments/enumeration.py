"""The definition: a sum over every prompt, in rationals. Slow, and the oracle for all the rest.

The probability of a prompt depends on its chains through their first states and their pooled
transition counts ``c``: ``prod_rows prod_s (alpha_s)_(c_s) / (alpha_.)_(c_.)`` with rising factorials
under a Dirichlet prior. Context chains are exchangeable, so contexts are summed as multisets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod

import numpy as np

from markov_icl.features import vech_indices
from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import rational, rational_matrix
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, exact_stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask

__all__ = ["enumerate_moments", "prompt_count"]

Chain = tuple[int, ...]
_MAX_PROMPTS = 300_000


def prompt_count(task: MarkovTask) -> int:
    """Return the number of (query, multiset of context chains) pairs."""
    chains = task.states**task.length
    return int(chains * comb(chains + task.context - 1, task.context))


def enumerate_moments(task: MarkovTask) -> RationalMoments:
    """Sum over every prompt of the task.

    Raises:
        ValueError: if there are more than 300,000 prompts, or if the law is not rational
            (stationary starts under a Dirichlet prior).
    """
    if task.length > 64 or task.context > 10_000 or prompt_count(task) > _MAX_PROMPTS:
        raise ValueError(f"expected a task with at most {_MAX_PROMPTS} prompts to enumerate; got more")
    features, labels, weights = [], [], []
    for query, context, probability in prompts(task):
        z = _column(task, query)
        gram = _gram(task, context)
        rows, columns = vech_indices(task.dimension)
        g = [gram[i][k] for i, k in zip(rows, columns, strict=True)]
        features.append([x * entry for x in z[:-1] for entry in g])
        labels.append(z[-1])
        weights.append(probability)
    F = rational_matrix(features)
    weighted = rational_matrix([w * v for v in row] for row, w in zip(features, weights, strict=True))
    y = rational_matrix([v] for v in labels)
    y2 = sum((w * v * v for w, v in zip(weights, labels, strict=True)), Fraction(0))
    return RationalMoments(
        weighted.transpose() * F,
        weighted.transpose() * y,
        rational(y2),
        task.blocks,
        task.dimension,
        "enumeration",
        len(weights),
    )


def prompts(task: MarkovTask) -> Iterator[tuple[Chain, Counter[Chain], Fraction]]:
    """Yield every query, every multiset of context chains, and the probability of the pair."""
    chains = list(product(range(task.states), repeat=task.length))
    for chosen in combinations_with_replacement(chains, task.context):
        context = Counter(chosen)
        orderings = factorial(task.context) // prod(factorial(c) for c in context.values())
        for query in chains:
            probability = orderings * _probability(task, query, context)
            if probability:
                yield query, context, probability


def _probability(task: MarkovTask, query: Chain, context: Counter[Chain]) -> Fraction:
    counts: Counter[tuple[int, int]] = Counter()
    for chain, times in [*context.items(), (query, 1)]:
        for t in range(task.order, task.length):
            counts[_row(task, chain[t - task.order : t]), chain[t]] += times
    if isinstance(task.prior, DirichletPrior):
        return _start(task, query, context) * _dirichlet_multinomial(task.prior, counts)
    total = Fraction(0)
    for kernel, weight in zip(task.prior.kernels, task.prior.weights, strict=True):
        start = _start(task, query, context, kernel)
        total += weight * start * prod(kernel[r][s] ** c for (r, s), c in counts.items())
    return total


def _dirichlet_multinomial(prior: DirichletPrior, counts: Counter[tuple[int, int]]) -> Fraction:
    value = Fraction(1)
    for r, alpha in enumerate(prior.alpha):
        row = [counts[r, s] for s in range(len(alpha))]
        value *= prod(_rising(a, c) for a, c in zip(alpha, row, strict=True)) / _rising(sum(alpha), sum(row))
    return value


def _rising(a: Fraction | int, count: int) -> Fraction:
    return prod((Fraction(a) + i for i in range(count)), start=Fraction(1))


def _start(
    task: MarkovTask,
    query: Chain,
    context: Counter[Chain],
    kernel: tuple[tuple[Fraction, ...], ...] | None = None,
) -> Fraction:
    first = _row(task, query[: task.order])
    match task.initial:
        case IndependentStart(pmf):
            query_law = context_law = pmf
        case CorrelatedStart(p, g):
            query_law, context_law = (1 - p, p), (1 - g[first], g[first])
        case _:
            if kernel is None or not isinstance(task.prior, FinitePrior):
                raise ValueError("expected a rational law; got stationary starts under a Dirichlet prior")
            query_law = context_law = exact_stationary(kernel)
    return query_law[first] * prod(
        (context_law[_row(task, chain[: task.order])] ** times for chain, times in context.items()),
        start=Fraction(1),
    )


def _row(task: MarkovTask, states: Chain) -> int:
    row = 0
    for s in states:
        row = row * task.states + s
    return row


def _column(task: MarkovTask, chain: Chain) -> list[Fraction]:
    return [task.values[chain[t - 1]] if t else Fraction(1) for t in task.times]


def _gram(task: MarkovTask, context: Counter[Chain]) -> list[list[Fraction]]:
    z = [(np.array(_column(task, chain), dtype=object), times) for chain, times in context.items()]
    total = sum((np.outer(v, v) * times for v, times in z), np.zeros((1, 1), dtype=object))
    gram: list[list[Fraction]] = (total / task.context).tolist()
    return gram
