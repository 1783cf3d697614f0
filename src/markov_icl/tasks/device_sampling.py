"""The samplers in torch, on whatever device a generator lives: vectorized over prompts and chains, a loop over time.

The same laws as ``tasks/sampling.py``, other draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from markov_icl.tasks.kernels import FinitePrior
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask, RegressionTask, Task

__all__ = ["ColumnTensors", "GramTensors", "sample_columns_on", "sample_grams_on"]

_CHUNK_NUMBERS = 1 << 26  # numbers in memory at a time beside the result


class ColumnTensors(NamedTuple):
    """Prompts on a device: ``context [P, n, D]``, ``query [P, J]`` without its label, ``target [P]``."""

    context: Float[Tensor, "P n D"]
    query: Float[Tensor, "P J"]
    target: Float[Tensor, "P"]


class GramTensors(NamedTuple):
    """Gram matrices on a device: ``gram [P, D, D]``, ``query [P, J]`` without its label, ``target [P]``."""

    gram: Float[Tensor, "P D D"]
    query: Float[Tensor, "P J"]
    target: Float[Tensor, "P"]


def sample_columns_on(
    task: Task, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> ColumnTensors:
    """Draw ``count`` independent prompts on the generator's device.

    Probabilities are float64 whatever ``dtype`` the result has.

    Raises:
        ValueError: if ``count < 1``.
    """
    if count < 1:
        raise ValueError(f"expected at least 1 prompt; got {count}")
    z = _regression(task, count, generator) if isinstance(task, RegressionTask) else _chains(task, count, generator)
    z = z.to(dtype)
    return ColumnTensors(z[:, :-1], z[:, -1, :-1], z[:, -1, -1])


def sample_grams_on(
    task: Task, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> GramTensors:
    """Draw the Gram matrices, queries and targets of ``count`` prompts, in bounded memory apart from the result.

    Raises:
        ValueError: if ``count < 1``.
    """
    across = 3 * task.dimension + (task.states if isinstance(task, MarkovTask) else 0)
    size = max(1, _CHUNK_NUMBERS // ((task.context + 1) * across))
    gram = torch.empty((max(count, 0), task.dimension, task.dimension), dtype=dtype, device=generator.device)
    column = torch.empty((max(count, 0), task.dimension), dtype=dtype, device=generator.device)
    for low in range(0, max(count, 1), size):
        part = slice(low, min(low + size, count))
        context, column[part, :-1], column[part, -1] = sample_columns_on(task, part.stop - low, generator, dtype)
        gram[part] = context.mT @ context / task.context
    return GramTensors(gram, column[:, :-1], column[:, -1])


def _chains(task: MarkovTask, count: int, generator: torch.Generator) -> Float[Tensor, "P n1 D"]:
    kernels, logs, which = _kernels(task, count, generator)
    row = _first_tuples(task, count, logs, which, generator)
    values = _tensor(task.values, generator)
    shown = [values[row // task.states ** (task.order - 1 - t) % task.states] for t in range(task.order)]
    cumulative = _cumulate(kernels).flatten(0, 1)
    base = torch.arange(count, device=generator.device)[:, None] * task.rows
    for _ in range(task.order, task.length):
        state = _invert(cumulative[base + row], _uniform(row.shape, generator))
        shown.append(values[state])
        row = (row * task.states) % task.rows + state
    if task.bias:
        shown.insert(-1, torch.ones_like(shown[0]))
    return torch.stack(shown, dim=2)


def _tensor(numbers: object, generator: torch.Generator) -> Tensor:
    return torch.tensor(np.array(numbers, dtype=float), device=generator.device)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def _kernels(
    task: MarkovTask, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "P R S"], Float[Tensor, "P R S"] | None, Int[Tensor, "P"] | None]:
    """Draw kernels, with their logarithms; under a finite prior say which they are instead."""
    if isinstance(task.prior, FinitePrior):
        weights = np.cumsum(np.array(task.prior.weights, dtype=float))
        which = _search(_tensor(weights, generator), _uniform((count,), generator))
        return _tensor(task.prior.kernels_float, generator)[which], None, which
    alpha = _tensor(task.prior.alpha_float, generator).expand(count, -1, -1)
    # A Gamma(alpha) variable is Gamma(alpha + 1) U^(1 / alpha): in logarithms nothing underflows for small alpha.
    larger = torch._standard_gamma(alpha + 1, generator=generator)
    logarithm = larger.log() + torch.log1p(-_uniform(tuple(alpha.shape), generator)) / alpha
    return torch.softmax(logarithm, dim=2), torch.log_softmax(logarithm, dim=2), None


def _first_tuples(
    task: MarkovTask,
    count: int,
    logs: Float[Tensor, "P R S"] | None,
    which: Int[Tensor, "P"] | None,
    generator: torch.Generator,
) -> Int[Tensor, "P n1"]:
    shape = (count, task.context + 1)
    match task.initial:
        case IndependentStart(pmf):
            return _search(_tensor(np.cumsum(np.array(pmf, dtype=float)), generator), _uniform(shape, generator))
        case CorrelatedStart(p, g):
            u = _uniform(shape, generator)
            query = u[:, -1:] < float(p)
            context = u[:, :-1] < torch.where(query, float(g[1]), float(g[0]))
            return torch.cat([context, query], dim=1).long()
        case _ if which is not None and isinstance(task.prior, FinitePrior):
            laws = _tensor(task.prior.stationary_float, generator)[which]
        case _:
            assert logs is not None
            laws = _stationary(logs)
    cumulative = _cumulate(laws)
    u = _uniform(shape, generator) * cumulative[:, -1:]
    return torch.searchsorted(cumulative[:, :-1].contiguous(), u, right=True)


def _cumulate(weights: Float[Tensor, "... S"]) -> Float[Tensor, "... S"]:
    """Return partial sums, added one by one: a parallel scan may put a gap where the weight is zero."""
    total = weights.clone()
    for s in range(1, weights.shape[-1]):
        total[..., s] += total[..., s - 1]
    return total


def _invert(cumulative: Float[Tensor, "P C S"], u: Float[Tensor, "P C"]) -> Int[Tensor, "P C"]:
    """Return how many partial sums but the last are at most ``u`` times the last, which rounding never reaches."""
    return (u[..., None] * cumulative[..., -1:] >= cumulative[..., :-1]).sum(-1)


def _search(cumulative: Float[Tensor, "S"], u: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Do the same from one law."""
    return torch.searchsorted(cumulative[:-1], u * cumulative[-1], right=True)


def _stationary(logs: Float[Tensor, "P R S"]) -> Float[Tensor, "P R"]:
    """Do as :func:`markov_icl.tasks.kernels.log_stationary`, on the device."""
    count, rows, states = logs.shape
    P = logs.new_full((count, rows, rows), -torch.inf)
    tuples = torch.arange(rows, device=logs.device)
    for s in range(states):
        P[:, tuples, (tuples * states) % rows + s] = logs[:, :, s]
    for k in range(rows - 1, 0, -1):
        P[:, :k, k] -= torch.logsumexp(P[:, k, :k], 1)[:, None]
        P[:, :k, :k] = torch.logaddexp(P[:, :k, :k], P[:, :k, k, None] + P[:, None, k, :k])
    pi = torch.zeros_like(P[:, 0])
    for k in range(1, rows):
        pi[:, k] = torch.logsumexp(pi[:, :k] + P[:, :k, k], 1)
    return torch.softmax(pi, 1)


def _regression(task: RegressionTask, count: int, generator: torch.Generator) -> Float[Tensor, "P n1 D"]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)

    factor = torch.linalg.cholesky(_tensor(task.covariance, generator))
    x = normal(count, task.context + 1, task.dim) @ factor.mT
    return torch.cat([x, x @ normal(count, task.dim, 1)], dim=2)
