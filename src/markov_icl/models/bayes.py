"""The Bayes predictor: the ceiling beside every score.

No predictor has a smaller expected squared error than the posterior mean, or a larger expected accuracy than the
posterior argmax, on fresh prompts of the task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Integer
from numpy.typing import NDArray

from markov_icl.models.counts import counts_after, last_tuple, pooled_counts, tuple_index
from markov_icl.models.least_norm import least_norm
from markov_icl.models.protocol import NotApplicable, chain_states, check_columns
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, exact_stationary
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart, Task
from markov_icl.tasks.sampling import Prompts

__all__ = ["Bayes", "PosteriorMean", "posterior_mean", "posterior_predictive", "posterior_variance"]

_BATCH = 4_000_000
"""Numbers held at once in a mixture over kernels: 32 MB."""


@dataclass(frozen=True)
class Bayes:
    """The posterior under the task's own prior: ``P(next state | prompt)``; for regression the mean of the label.

    Attributes:
        task: Markov or regression.
    """

    task: Task
    name: str = "Bayes"

    def predict(self, prompts: Prompts) -> NDArray[np.float64]:
        """Return probabilities ``[P, S]``, or values ``[P]`` for regression."""
        if isinstance(self.task, RegressionTask):
            return posterior_mean(self.task, prompts)
        return posterior_predictive(self.task, prompts)


@dataclass(frozen=True)
class PosteriorMean:
    """The posterior mean of the label as a value: Bayes' loss, but an accuracy by rounding, less for ``S >= 3``."""

    task: Task
    name: str = "Bayes, rounded mean"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P"]:
        """Return values ``[P]``."""
        return posterior_mean(self.task, prompts)


def posterior_predictive(task: MarkovTask, prompts: Prompts) -> Float[np.ndarray, "P S"]:
    """Return ``P(next state | prompt)`` under the task's own prior: no predictor does better on average.

    Conjugate under Dirichlet rows; a posterior over kernels under a finite prior. Starts that do not depend on the
    kernel, correlated ones included, say nothing about it.

    Raises:
        NotApplicable: for stationary starts under a Dirichlet prior, where the posterior is not conjugate.
        ValueError: for prompts that are not of the task.

    Source: theory, section 7.
    """
    context, query = chain_states(task, prompts)
    if isinstance(task.prior, DirichletPrior):
        if isinstance(task.initial, StationaryStart):
            raise NotApplicable(
                "expected starts that do not depend on the kernel; got stationary starts, whose posterior under "
                "Dirichlet rows is not conjugate"
            )
        row = last_tuple(task, query)
        counts = counts_after(task, context, row) + counts_after(task, query[:, None, :-1], row)
        alpha = np.array(task.prior.alpha, dtype=float)[row] + counts
        predictive: Float[np.ndarray, "P S"] = alpha / alpha.sum(1, keepdims=True)
        return predictive
    return _mixture(task, task.prior, context, query)


def _mixture(
    task: MarkovTask, prior: FinitePrior, context: Integer[np.ndarray, "P n L"], query: Integer[np.ndarray, "P L"]
) -> Float[np.ndarray, "P S"]:
    """Average the kernels' rows over the posterior of the kernel, a bounded batch of prompts at a time."""
    kernels = np.array(prior.kernels, dtype=float)
    laws = None
    if isinstance(task.initial, StationaryStart):
        laws = np.array([exact_stationary(kernel) for kernel in prior.kernels], dtype=float)
    row = last_tuple(task, query)
    predictive = np.empty((len(query), task.states))
    step = max(1, _BATCH // kernels.size)
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        weights = _kernel_posterior(task, prior, laws, context[part], query[part])
        predictive[part] = np.einsum("pk,kps->ps", weights, kernels[:, row[part]])
    return predictive


def _kernel_posterior(
    task: MarkovTask,
    prior: FinitePrior,
    laws: Float[np.ndarray, "K R"] | None,
    context: Integer[np.ndarray, "P n L"],
    query: Integer[np.ndarray, "P L"],
) -> Float[np.ndarray, "P K"]:
    """Return the posterior weights of the prior's kernels; ``laws`` are their first states', if they have their own."""
    counts = pooled_counts(task, context) + pooled_counts(task, query[:, None, :-1])
    log = _log_likelihood(counts, np.array(prior.kernels, dtype=float))
    if laws is not None:
        first = np.concatenate([context, query[:, None]], axis=1)[:, :, : task.order]
        tuples = tuple_index(first, task.states) + task.rows * np.arange(len(first))[:, None]
        starts = np.bincount(tuples.reshape(-1), minlength=len(first) * task.rows).reshape(len(first), task.rows)
        log = log + _log_likelihood(starts, laws)
    with np.errstate(divide="ignore"):
        log = log + np.log(np.array(prior.weights, dtype=float))
    best = log.max(1, keepdims=True)
    if not np.isfinite(best).all():
        raise ValueError("expected prompts that the prior can produce; got some that no kernel of it allows")
    weight = np.exp(log - best)
    result: Float[np.ndarray, "P K"] = weight / weight.sum(1, keepdims=True)
    return result


def _log_likelihood(
    counts: Int64[np.ndarray, "P *events"], probabilities: Float[np.ndarray, "K *events"]
) -> Float[np.ndarray, "P K"]:
    """Return ``sum_i counts_i log p_i``, minus infinity where something impossible was counted."""
    seen = counts.reshape(len(counts), -1).astype(float)
    p = probabilities.reshape(len(probabilities), -1)
    impossible = seen @ (p == 0).T.astype(float) > 0
    result: Float[np.ndarray, "P K"] = np.where(impossible, -np.inf, seen @ np.log(np.where(p > 0, p, 1.0)).T)
    return result


def posterior_mean(task: Task, prompts: Prompts) -> Float[np.ndarray, "P"]:
    """Return ``E[y | prompt]`` in numeric values: the least squared error of any predictor.

    For regression the labels are free of noise and ``w ~ N(0, I)``, so the posterior mean of ``w`` is the solution
    of least norm of ``X w = y``, whatever the law of ``X``; with ``n >= d`` independent examples it is ``w``.

    Raises:
        NotApplicable, ValueError: as :func:`posterior_predictive`.
    """
    if isinstance(task, MarkovTask):
        result: Float[np.ndarray, "P"] = posterior_predictive(task, prompts) @ np.array(task.values, dtype=float)
        return result
    check_columns(task, prompts)
    weight = least_norm(prompts.context[:, :, :-1], prompts.context[:, :, -1])
    value: Float[np.ndarray, "P"] = np.einsum("pj,pj->p", prompts.query, weight)
    return value


def posterior_variance(task: Task, prompts: Prompts) -> Float[np.ndarray, "P"]:
    """Return ``Var[y | prompt]``: its mean over prompts is the Bayes loss.

    The mean of the squared error is the same number, but adds the noise of the labels drawn.
    For regression the part of the query outside the span of the examples is unknown: ``|x - X^+ X x|^2``.

    Raises:
        NotApplicable, ValueError: as :func:`posterior_predictive`.
    """
    if isinstance(task, MarkovTask):
        law, values = posterior_predictive(task, prompts), np.array(task.values, dtype=float)
        deviation = values - (law @ values)[:, None]
        spread: Float[np.ndarray, "P"] = (law * deviation**2).sum(1)
        return spread
    check_columns(task, prompts)
    examples = prompts.context[:, :, :-1]
    known = least_norm(examples, np.einsum("pnj,pj->pn", examples, prompts.query))
    unknown: Float[np.ndarray, "P"] = ((prompts.query - known) ** 2).sum(1)
    return unknown
