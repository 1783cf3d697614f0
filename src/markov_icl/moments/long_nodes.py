"""Kernels that stand for a task's prior, and each one's moments of degree two, where ``H`` is never formed.

``H = sum_k w_k S_k (x) (T4_k / n + (1 - 1/n) mu_k mu_k^T)`` over the nodes ``k``: all but ``T4_k`` is small and kept
here. Given a node the chains are independent; correlated starts make two nodes of every kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.features import Numbers, vech_indices
from markov_icl.moments.assembly import start_laws
from markov_icl.moments.compute import grid_size, is_polynomial
from markov_icl.moments.conditional import chain_moments, tuple_places
from markov_icl.moments.quadrature import Rule, kernel_rule, nodes_per_variable
from markov_icl.moments.sampled import sobol_rules
from markov_icl.moments.spectral_nodes import SpectralRule, spectral_rule
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["GRID_BUDGET", "LongNodes", "is_binary", "long_nodes"]

GRID_BUDGET = 20_000
"""Largest grid of kernels; a node costs as much as a product with a matrix of order ``m``."""
REPLICATES = 8
_RULE_ERROR = 1e-11
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class LongNodes:
    """Nodes of the average over kernels and, where starts are correlated, over the query's first state.

    Attributes:
        weights: ``w_k``, positive, ``[K]``.
        query: ``S_k = E[x x^T | k]``, ``[K, J, J]``.
        label: ``E[x y | k]``, ``[K, J]``.
        square: ``E[y^2 | k]``, ``[K]``.
        mu: ``E[vech(z z^T) | k]`` of a context chain, ``[K, m]``.
        kernels: ``[K, R, S]``.
        start: law of a context chain's first states, ``[K, R]``.
        spectrum: ``lambda`` and ``s`` of each node where :func:`is_binary`, ``[2, K]``.
        replicates: number of independent estimates, equal runs of nodes; 1 where nothing is sampled.
        method: ``spectral``, ``quadrature``, ``finite`` or ``sampled``.
        error: what is known about the error of the average, in words.
        rule_error: largest error of a moment of the rule; 0 where exact in theory, nan where sampled.
    """

    weights: Float[np.ndarray, "K"]
    query: Float[np.ndarray, "K J J"]
    label: Float[np.ndarray, "K J"]
    square: Float[np.ndarray, "K"]
    mu: Float[np.ndarray, "K m"]
    kernels: Float[np.ndarray, "K R S"]
    start: Float[np.ndarray, "K R"]
    spectrum: Float[np.ndarray, "2 K"] | None
    replicates: int
    method: str
    error: str
    rule_error: float

    @property
    def size(self) -> int:
        """Return the number of nodes."""
        return int(self.weights.shape[0])


def is_binary(task: MarkovTask) -> bool:
    """Return whether chains have states 0 and 1, order 1 and no bias: then ``T4`` has a fast product."""
    return (task.states, task.order, task.bias) == (2, 1, False) and list(task.values) == [0, 1]


def long_nodes(task: MarkovTask, points: int = 4096, seed: int = 0) -> LongNodes:
    """Return the nodes of a task: the fewest that are exact, or scrambled Sobol kernels where those are too many.

    Args:
        task: any Markov task.
        points: Sobol kernels a replicate, a power of two, where sampling runs.
        seed: of the Sobol scrambling.

    Raises:
        ValueError: if the kernel has too many free entries to sample.
    """
    rules, method, error, rule_error = _rules(task, points, seed)
    parts = [_moments_of(task, rule, 1 / len(rules)) for rule in rules]
    names = ("weights", "query", "label", "square", "mu", "kernels", "start")
    joined: dict[str, Any] = {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}
    spectrum = None
    if is_binary(task):
        enter, stay = joined["kernels"][:, 0, 1], joined["kernels"][:, 1, 1]
        lam = stay - enter
        s = np.where(lam < 1, enter / np.where(lam < 1, 1 - lam, 1.0), 0.5)
        if isinstance(rules[0], SpectralRule):
            copies = len(lam) // rules[0].size
            lam, s = np.tile(rules[0].eigenvalue, copies), np.tile(rules[0].stationary, copies)
        spectrum = np.stack([lam, s])
    return LongNodes(
        **joined, spectrum=spectrum, replicates=len(rules), method=method, error=error, rule_error=rule_error
    )


def _rules(task: MarkovTask, points: int, seed: int) -> tuple[list[Rule], str, str, float]:
    if isinstance(task.prior, FinitePrior):
        return [kernel_rule(task.prior, 1)], "finite", "exact up to rounding", 0.0
    if isinstance(task.prior, DirichletPrior) and task.prior.shape == (2, 2):
        rule = spectral_rule(task.prior, task.length)
        if rule.error <= _RULE_ERROR:
            words = f"exact up to rounding; moments of {rule.size} kernels within {rule.error:.1e} of a shifted rule's"
            return [rule], "spectral", words, rule.error
    if is_polynomial(task) and grid_size(task) <= GRID_BUDGET:
        return [kernel_rule(task.prior, nodes_per_variable(task))], "quadrature", "exact up to rounding", 0.0
    rules: list[Rule] = list(sobol_rules(task, points, REPLICATES, seed))
    words = f"estimate: {REPLICATES} scrambled Sobol sequences of {points} kernels, standard error of the loss attached"
    return rules, "sampled", words, np.nan


def _moments_of(task: MarkovTask, rule: Rule, share: float) -> tuple[Numbers, ...]:
    """Return weights, query, label, square, mu, kernels and start laws of one rule's nodes.

    Nodes of a start law follow each other, so that all nodes of one law are the rule's nodes in order.
    """
    values, times = np.array(task.values, dtype=float), np.array(task.times)
    rows, columns = vech_indices(task.dimension)
    place = tuple_places(np.stack([times[rows], times[columns]], axis=-1), task.length)
    J, found = task.blocks, []
    for first in range(0, rule.size, _CHUNK):
        kernels, weights = rule.chunk(first, first + _CHUNK)
        for law, (weight, query, context) in enumerate(start_laws(task, kernels, first, exact=False)):
            pairs = chain_moments(kernels, query, values, task.length, 2)[place].T
            mu = chain_moments(kernels, context, values, task.length, 2)[place].T
            full = np.empty((len(kernels), task.dimension, task.dimension))
            full[:, rows, columns] = full[:, columns, rows] = pairs
            start = np.broadcast_to(context, kernels.shape[:2])
            found.append(
                (law, share * weight * weights, full[:, :J, :J], full[:, :J, J], full[:, J, J], mu, kernels, start)
            )
    found.sort(key=lambda part: part[0])
    return tuple(np.concatenate([part[i] for part in found]) for i in range(1, 8))
