"""Nodes and weights over kernels, exact for polynomials up to a degree in each entry."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Protocol, runtime_checkable

import flint
import numpy as np

from markov_icl.features import Numbers
from markov_icl.moments.beta_rule import beta_rule, rational_beta_rule
from markov_icl.rationals import rational
from markov_icl.tasks.kernels import FinitePrior, Prior
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["KernelRule", "Rule", "degree", "kernel_rule", "nodes_per_variable"]


def degree(task: MarkovTask) -> int:
    """Return the largest degree of the integrands of ``H`` in one stick-breaking variable.

    ``3 d + 2 - 3 k``: two context factors of ``d + 1 - k`` transitions and a query factor of ``d - k``.
    Holds for starts that do not depend on the kernel. Source: theory, section 3.
    """
    transitions = task.length - task.order
    return 2 * transitions + max(transitions - 1, 0)


def nodes_per_variable(task: MarkovTask, exact: bool = False) -> int:
    """Return how many nodes a variable needs: Gauss ``ceil((q+1)/2)``, rational nodes ``q + 1``."""
    q = max(degree(task), task.length - task.order)
    return q + 1 if exact else q // 2 + 1


@runtime_checkable
class Rule(Protocol):
    """Weighted kernels that stand for a prior, evaluated chunk by chunk."""

    @property
    def size(self) -> int:
        """Return the number of kernels."""

    def chunk(self, start: int, stop: int) -> tuple[Numbers, Numbers]:
        """Return kernels ``[K, R, S]`` and weights ``[K]`` of nodes ``start .. stop``."""


@dataclass(frozen=True, eq=False)
class KernelRule:
    """A product rule over kernels, evaluated chunk by chunk so that its grid is never all in memory.

    Attributes:
        rows: for each kernel row, its points on the simplex ``[nodes, states]`` and weights ``[nodes]``.
            A finite prior is one joint "row" of whole kernels, flattened.
        states: ``S``.
    """

    rows: tuple[tuple[Numbers, Numbers], ...]
    states: int

    @property
    def size(self) -> int:
        """Return the number of kernels in the rule."""
        return prod(len(weights) for _, weights in self.rows)

    def chunk(self, start: int, stop: int) -> tuple[Numbers, Numbers]:
        """Return kernels ``[K, R, S]`` and weights ``[K]`` of nodes ``start .. stop``."""
        index = np.arange(start, min(stop, self.size))
        picks = np.unravel_index(index, [len(w) for _, w in self.rows])
        kernels = np.concatenate([points[i] for (points, _), i in zip(self.rows, picks, strict=True)], axis=1)
        weights = np.prod([w[i] for (_, w), i in zip(self.rows, picks, strict=True)], axis=0)
        return kernels.reshape(len(index), -1, self.states), weights


def kernel_rule(prior: Prior, nodes: int, exact: bool = False) -> KernelRule:
    """Return the rule with ``nodes`` points in each stick-breaking variable; a finite prior is its own rule.

    Exact to degree ``2 nodes - 1`` a variable in float64 (Gauss-Jacobi), ``nodes - 1`` in rationals.
    """
    if isinstance(prior, FinitePrior):
        convert = rational if exact else float
        flat = [[convert(q) for row in kernel for q in row] for kernel in prior.kernels]
        weights = [convert(w) for w in prior.weights]
        dtype = object if exact else float
        return KernelRule(((np.array(flat, dtype=dtype), np.array(weights, dtype=dtype)),), prior.shape[1])
    made: dict[tuple[Fraction, ...], tuple[Numbers, Numbers]] = {}
    for alpha in prior.alpha:
        if alpha not in made:
            made[alpha] = _simplex_rule(alpha, nodes, exact)
    return KernelRule(tuple(made[alpha] for alpha in prior.alpha), prior.shape[1])


def _simplex_rule(alpha: tuple[Fraction, ...], nodes: int, exact: bool) -> tuple[Numbers, Numbers]:
    """Stick-breaking: ``v_s ~ Beta(alpha_s, sum of the later ones)``, entry ``s`` is ``v_s prod (1 - v)``."""
    dtype = object if exact else float
    one, rule = (flint.fmpq(1), rational_beta_rule) if exact else (1.0, beta_rule)
    points, weights, rest = np.empty((1, 0), dtype=dtype), np.array([one], dtype=dtype), np.array([one])
    for s in range(len(alpha) - 1):
        v, complement, w = rule(alpha[s], sum(alpha[s + 1 :], Fraction(0)), nodes)
        entry = (rest[:, None] * v).reshape(-1, 1)
        points = np.concatenate([np.repeat(points, nodes, axis=0), entry], axis=1)
        rest = (rest[:, None] * complement).reshape(-1)
        weights = (weights[:, None] * w).reshape(-1)
    return np.concatenate([points, rest[:, None]], axis=1), weights
