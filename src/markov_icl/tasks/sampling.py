"""Seeded samplers: chains, prompts and Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Integer
from numpy.typing import NDArray

from markov_icl.tasks.kernels import FinitePrior, exact_stationary, sample_kernels, stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask, RegressionTask, Task

__all__ = ["Prompts", "columns", "sample_chains", "sample_prompts"]


@dataclass(frozen=True, eq=False)
class Prompts:
    """A batch of prompts.

    Attributes:
        context: the example columns ``z_i``, ``[P, n, D]``.
        query: the query column without its label, ``[P, J]``.
        target: the label to predict, ``[P]``.
        context_states: state indices of the context chains, ``[P, n, L]``; None for regression.
        query_states: state indices of the query chain, ``[P, L]``; None for regression.
        kernels: the kernels the prompts were drawn from, ``[P, R, S]``; None where they are not known.
    """

    context: Float[np.ndarray, "P n D"]
    query: Float[np.ndarray, "P J"]
    target: Float[np.ndarray, "P"]
    context_states: Integer[np.ndarray, "P n L"] | None = None
    query_states: Integer[np.ndarray, "P L"] | None = None
    kernels: Float[np.ndarray, "P R S"] | None = None

    @cached_property
    def gram(self) -> Float[np.ndarray, "P D D"]:
        """Return ``G = (1/n) sum_i z_i z_i^T`` for every prompt."""
        result: Float[np.ndarray, "P D D"] = self.context.transpose(0, 2, 1) @ self.context / self.context.shape[1]
        return result

    @property
    def matrix(self) -> Float[np.ndarray, "P D n1"]:
        """Return the prompt matrices ``Z``, last column ``(x_{n+1}, 0)``."""
        last = np.pad(self.query, ((0, 0), (0, 1)))[:, :, None]
        return np.concatenate([self.context.transpose(0, 2, 1), last], axis=2)


def columns(task: MarkovTask, states: Integer[np.ndarray, "... L"]) -> Float[np.ndarray, "... D"]:
    """Turn chains of state indices into numeric columns, the bias included."""
    numeric = np.array(task.values, dtype=float)[states]
    if not task.bias:
        result: Float[np.ndarray, "... D"] = numeric
        return result
    ones = np.ones((*states.shape[:-1], 1))
    return np.concatenate([numeric[..., :-1], ones, numeric[..., -1:]], axis=-1)


def sample_prompts(task: Task, count: int, seed: int | np.random.Generator = 0) -> Prompts:
    """Draw ``count`` independent prompts; the same seed gives the same prompts.

    Raises:
        ValueError: if ``count < 1``.
    """
    if count < 1:
        raise ValueError(f"expected at least 1 prompt; got {count}")
    rng = np.random.default_rng(seed)
    if isinstance(task, RegressionTask):
        return _regression_prompts(task, count, rng)
    kernels = sample_kernels(task.prior, count, rng)
    states = _chains(task, kernels, rng)
    z = columns(task, states)
    return Prompts(z[:, :-1], z[:, -1, :-1], z[:, -1, -1], states[:, :-1], states[:, -1], kernels)


def sample_chains(task: MarkovTask, count: int, rng: np.random.Generator) -> Int[np.ndarray, "P n1 L"]:
    """Draw ``n`` context chains and, last, the query chain of ``count`` prompts, as state indices."""
    return _chains(task, sample_kernels(task.prior, count, rng), rng)


def _chains(task: MarkovTask, kernels: Float[np.ndarray, "P R S"], rng: np.random.Generator) -> NDArray[np.int64]:
    count = len(kernels)
    rows = _first_tuples(task, kernels, rng)
    chains = np.empty((count, task.context + 1, task.length), dtype=np.int64)
    for t in range(task.order):
        chains[:, :, t] = rows // task.states ** (task.order - 1 - t) % task.states
    cumulative = np.cumsum(kernels, axis=2)
    prompt = np.arange(count)[:, None]
    for t in range(task.order, task.length):
        state = _invert(cumulative[prompt, rows], rng)
        chains[:, :, t] = state
        rows = (rows * task.states) % task.rows + state
    return chains


def _first_tuples(task: MarkovTask, kernels: Float[np.ndarray, "P R S"], rng: np.random.Generator) -> NDArray[np.int64]:
    shape = (kernels.shape[0], task.context + 1)
    match task.initial:
        case IndependentStart(pmf):
            return _invert(np.broadcast_to(np.cumsum(np.array(pmf, dtype=float)), (*shape, task.rows)), rng)
        case CorrelatedStart(p, g):
            query = rng.binomial(1, float(p), (shape[0],))
            context = rng.binomial(1, np.array(g, dtype=float)[query, None], (shape[0], task.context))
            return np.concatenate([context, query[:, None]], axis=1)
        case _:
            laws = _stationary_laws(task, kernels)
            return _invert(np.broadcast_to(np.cumsum(laws, axis=1)[:, None], (*shape, task.rows)), rng)


def _stationary_laws(task: MarkovTask, kernels: Float[np.ndarray, "P R S"]) -> Float[np.ndarray, "P R"]:
    if not isinstance(task.prior, FinitePrior):
        return stationary(np.maximum(kernels, np.finfo(float).tiny))
    table = np.array(task.prior.kernels, dtype=float)
    laws = np.array([exact_stationary(kernel) for kernel in task.prior.kernels], dtype=float)
    result: Float[np.ndarray, "P R"] = laws[np.abs(kernels[:, None] - table).sum((2, 3)).argmin(1)]
    return result


def _invert(cumulative: Float[np.ndarray, "P n S"], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw from each row's law by inversion; rounding in the last entry never yields a state too many."""
    u = rng.random((*cumulative.shape[:-1], 1)) * cumulative[..., -1:]
    result: NDArray[np.int64] = (u >= cumulative[..., :-1]).sum(-1).astype(np.int64)
    return result


def _regression_prompts(task: RegressionTask, count: int, rng: np.random.Generator) -> Prompts:
    factor = np.linalg.cholesky(np.array(task.covariance, dtype=float))
    weight = rng.standard_normal((count, task.dim, 1))
    x = rng.standard_normal((count, task.context + 1, task.dim)) @ factor.T
    z = np.concatenate([x, x @ weight], axis=2)
    return Prompts(z[:, :-1], z[:, -1, :-1], z[:, -1, -1])
