"""The law of the label alone: what one knows who has seen no prompt."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from jaxtyping import Float

from markov_icl.features import Numbers
from markov_icl.moments.assembly import start_laws
from markov_icl.moments.compute import NODE_BUDGET
from markov_icl.moments.conditional import chain_moments
from markov_icl.moments.quadrature import Rule, kernel_rule
from markov_icl.moments.sampled import sobol_rules
from markov_icl.moments.spectral_nodes import spectral_rule
from markov_icl.rationals import fraction, rational
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior
from markov_icl.tasks.prompts import MarkovTask, StationaryStart

__all__ = ["LabelLaw", "label_law"]

_FRACTION_KERNELS, _HISTORIES = 300, 1000
"""Kernels of a finite prior, or histories of a chain, up to which fractions take a tenth of a second."""
_SPECTRAL_ERROR, _STATIONARY_NODES = 1e-11, 64
"""For binary stationary laws the accuracy asked of their rule, else nodes a variable, as for the moments."""
_MOST_ROWS = 60
"""NumPy takes no grid of more than 64 dimensions."""
_SOBOL = (4096, 8)
"""Kernels and scramblings of an estimate."""
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class LabelLaw:
    """The best answer to a prompt that nobody has read, and its loss.

    Attributes:
        shares: ``P(y = v_s)``, ``[S]``, fractions or floats.
        mean: ``E y``, the best constant answer.
        square: ``E y^2``, the loss of the answer 0.
        variance: ``E y^2 - (E y)^2``, the loss of the best constant.
        errors: of ``square`` and ``variance``: what the rule may be wrong by, or one standard error.
        exact: whether they are no estimates: 0, or far below any digit shown.
        words: where they come from.
    """

    shares: Numbers
    mean: Fraction | float
    square: Fraction | float
    variance: Fraction | float
    errors: tuple[float, float]
    exact: bool
    words: str


def label_law(task: MarkovTask) -> LabelLaw:
    """Average the law of the label over kernels: in fractions where that is quick, else in float64.

    Raises:
        ValueError: if the kernel has too many free entries to sample.
    """
    exact = _in_fractions(task)
    if exact is not None:
        values = np.array(task.values, dtype=object)
        shares = np.array([fraction(share) for share in exact], dtype=object)
        mean = values @ shares
        return LabelLaw(
            shares, mean, values**2 @ shares, (values - mean) ** 2 @ shares, (0.0, 0.0), True, "in fractions"
        )
    if isinstance(task.prior, FinitePrior):
        return _in_floats(task, _average(task, kernel_rule(task.prior, 1))[None], 0.0, True, "exact up to rounding")
    prior, variables = task.prior, task.rows * (task.states - 1)
    if isinstance(task.initial, StationaryStart):
        # a stationary chain has the same law at every time, so the shortest one tells all
        task = replace(task, length=task.order + 1)
        if prior.shape == (2, 2):
            spectral = spectral_rule(prior, 1)
            if spectral.error <= _SPECTRAL_ERROR:
                share = spectral.weights @ spectral.stationary
                return _in_floats(task, np.array([[1 - share, share]]), spectral.error, True, "exact up to rounding")
        nodes = min(_STATIONARY_NODES, int(NODE_BUDGET ** (1 / variables) + 1e-9))
        if nodes >= 8:
            coarse, fine = (_average(task, kernel_rule(prior, n)) for n in (nodes // 2, nodes))
            return _in_floats(task, fine[None], float(np.abs(fine - coarse).max()), False, "node doubling")
    else:
        # a polynomial of degree L - k in each stick-breaking variable: a far smaller grid than that of H
        nodes = (task.length - task.order) // 2 + 1
        if task.rows <= _MOST_ROWS and nodes**variables <= NODE_BUDGET:
            return _in_floats(task, _average(task, kernel_rule(prior, nodes))[None], 0.0, True, "exact up to rounding")
    points, count = _SOBOL
    estimates = np.stack([_average(task, rule) for rule in sobol_rules(task, points, count, 0)])
    words = f"{count} scrambled Sobol sequences of {points} kernels"
    return _in_floats(task, estimates, np.nan, False, words)


def _in_fractions(task: MarkovTask) -> Numbers | None:
    """Return the shares of the states as fractions; None where they are not, or take too long."""
    if isinstance(task.prior, FinitePrior):
        small = len(task.prior.kernels) <= _FRACTION_KERNELS
        return _average(task, kernel_rule(task.prior, 1, exact=True), exact=True) if small else None
    return None if isinstance(task.initial, StationaryStart) else _by_counts(task, task.prior)


def _by_counts(task: MarkovTask, prior: DirichletPrior) -> Numbers | None:
    """Walk along the chain with the kernel averaged out; None where histories become too many.

    Dirichlet rows are conjugate: after the transitions ``n_r`` from a row, its next state is ``s`` with probability
    ``(alpha_rs + n_rs) / sum(alpha_r + n_r)``. Histories with the same last states and counts are one.
    """
    start = sum((weight * query[0] for weight, query, _ in start_laws(task, np.empty(0), 0, exact=True)), 0)
    alpha = [[rational(a) for a in row] for row in prior.alpha]
    law: dict[tuple[int, tuple[Any, ...]], Any] = {(row, ()): share for row, share in enumerate(start) if share}
    for left in reversed(range(task.length - task.order)):
        if left and len(law) > _HISTORIES:
            return None
        grown: defaultdict[tuple[int, tuple[Any, ...]], Any] = defaultdict(flint.fmpq)
        for (row, history), share in law.items():
            counts = dict(history)
            after = [a + counts.get((row, s), 0) for s, a in enumerate(alpha[row])]
            part = share / sum(after)
            for s, weight in enumerate(after):
                longer = {**counts, (row, s): counts.get((row, s), 0) + 1} if left else {}
                grown[(row * task.states + s) % task.rows, tuple(sorted(longer.items()))] += part * weight
        law = grown
    shares = np.array([flint.fmpq(0)] * task.states, dtype=object)
    for (row, _), share in law.items():
        shares[row % task.states] += share
    return shares


def _average(task: MarkovTask, rule: Rule, exact: bool = False) -> Numbers:
    """Return the shares of the states at the last time of a query chain, ``[S]``."""
    convert, dtype = (rational, object) if exact else (float, float)
    total = np.array([convert(0)] * task.states, dtype=dtype)
    for first in range(0, rule.size, _CHUNK):
        kernels, weights = rule.chunk(first, first + _CHUNK)
        for weight, query, _ in start_laws(task, kernels, first, exact):
            for s in range(task.states):
                # the mean of an indicator: the last row is the one of the last time
                indicator = np.array([convert(int(s == other)) for other in range(task.states)], dtype=dtype)
                total[s] += chain_moments(kernels, query, indicator, task.length, 1)[-1] @ (weight * weights)
    return total


def _in_floats(
    task: MarkovTask, estimates: Float[np.ndarray, "R S"], rule_error: float, exact: bool, words: str
) -> LabelLaw:
    """Return the law with the spread of several estimates, or the error of the one rule."""
    values, shares = np.array(task.values, dtype=float), estimates.mean(0)
    mean = float(values @ shares)
    # sums of positive numbers: E y^2 - (E y)^2 would cancel where values are far from 0
    weights = np.stack([values**2, (values - mean) ** 2])
    square, variance = (float(row @ shares) for row in weights)
    if len(estimates) > 1:
        errors = (estimates @ weights.T).std(0, ddof=1) / np.sqrt(len(estimates))
    else:
        errors = rule_error * weights.sum(1)
    return LabelLaw(shares, mean, square, variance, (float(errors[0]), float(errors[1])), exact, words)
