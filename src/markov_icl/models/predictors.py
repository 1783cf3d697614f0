"""Predictors of the query's next state. The Bayes predictor is the ceiling beside every score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Integer
from numpy.typing import NDArray

from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, exact_stationary
from markov_icl.tasks.prompts import MarkovTask, StationaryStart
from markov_icl.tasks.sampling import Prompts

__all__ = ["posterior_mean", "posterior_predictive", "transition_counts"]


def transition_counts(
    states: Integer[np.ndarray, "P C L"], rows: int, symbols: int, order: int
) -> Int[np.ndarray, "P R S"]:
    """Pool the transitions of each prompt's ``C`` chains."""
    prompts, _, length = states.shape
    row = np.zeros((prompts, states.shape[1], length - order), dtype=np.int64)
    for lag in range(order):
        row = row * symbols + states[:, :, lag : length - order + lag]
    flat = (np.arange(prompts)[:, None, None] * rows + row) * symbols + states[:, :, order:]
    return np.bincount(flat.reshape(-1), minlength=prompts * rows * symbols).reshape(prompts, rows, symbols)


def posterior_predictive(task: MarkovTask, prompts: Prompts) -> Float[np.ndarray, "P S"]:
    """Return ``P(next state | prompt)`` under the task's own prior: no predictor does better on average.

    Conjugate under Dirichlet rows; a posterior over kernels under a finite prior.

    Raises:
        ValueError: for stationary starts under a Dirichlet prior, where the posterior is not conjugate,
            or for prompts without state indices.

    Source: theory, section 7.
    """
    if prompts.context_states is None or prompts.query_states is None:
        raise ValueError("expected prompts of a Markov task; got numeric columns only")
    seen = prompts.query_states[:, None, :-1]
    counts = transition_counts(prompts.context_states, task.rows, task.states, task.order)
    if task.length > task.order + 1:
        counts = counts + transition_counts(seen, task.rows, task.states, task.order)
    row = _tuple_index(seen[:, 0, -task.order :], task.states)
    picked = np.arange(len(row))
    if isinstance(task.prior, DirichletPrior):
        if isinstance(task.initial, StationaryStart):
            raise ValueError("expected starts that do not depend on the kernel; got stationary starts")
        alpha = np.array(task.prior.alpha, dtype=float)[row] + counts[picked, row]
        predictive: Float[np.ndarray, "P S"] = alpha / alpha.sum(1, keepdims=True)
        return predictive
    weights = _kernel_posterior(task, task.prior, prompts, counts)
    kernels = np.array(task.prior.kernels, dtype=float)[:, row]
    mixed: Float[np.ndarray, "P S"] = np.einsum("pk,kps->ps", weights, kernels)
    return mixed


def _kernel_posterior(
    task: MarkovTask, prior: FinitePrior, prompts: Prompts, counts: NDArray[np.int64]
) -> Float[np.ndarray, "P K"]:
    kernels = np.array(prior.kernels, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_kernel = np.log(kernels)
        log = np.log(np.array(prior.weights, dtype=float)) + np.where(
            counts[:, None] > 0, counts[:, None] * log_kernel, 0.0
        ).sum((2, 3))
        if isinstance(task.initial, StationaryStart):
            assert prompts.context_states is not None
            assert prompts.query_states is not None
            laws = np.log(np.array([exact_stationary(k) for k in prior.kernels], dtype=float))
            first = np.concatenate([prompts.context_states, prompts.query_states[:, None]], axis=1)
            log = log + laws.T[_tuple_index(first[:, :, : task.order], task.states)].sum(1)
    weight = np.exp(log - log.max(1, keepdims=True))
    result: Float[np.ndarray, "P K"] = weight / weight.sum(1, keepdims=True)
    return result


def posterior_mean(task: MarkovTask, prompts: Prompts) -> Float[np.ndarray, "P"]:
    """Return ``E[y | prompt]`` in numeric values: the least squared error of any predictor."""
    result: Float[np.ndarray, "P"] = posterior_predictive(task, prompts) @ np.array(task.values, dtype=float)
    return result


def _tuple_index(states: NDArray[np.integer], symbols: int) -> NDArray[np.int64]:
    index = np.zeros(states.shape[:-1], dtype=np.int64)
    for k in range(states.shape[-1]):
        index = index * symbols + states[..., k]
    return index
