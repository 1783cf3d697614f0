"""Seeded samplers: chains, prompts and Gram matrices.

The states are a function of task, count and seed alone, not of the number of threads; ``tasks/literal.py`` is
their definition, ``tasks/counter.py`` the compiled form. Gram matrices never need the prompts themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float, Integer
from numpy.typing import DTypeLike, NDArray

from markov_icl.tasks.laws import ChainLaws, draw_key, draw_laws, is_sliced, start_tree
from markov_icl.tasks.literal import literal_batch
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, Task
from markov_icl.threads import worker_threads

__all__ = ["Grams", "Prompts", "columns", "prompt_gigabytes", "sample_chains", "sample_grams", "sample_prompts"]

_LOOKUP = 1 << 16
_REGRESSION_NUMBERS = 1 << 20
_NOT_WORTH_NUMBA = 2_000  # states drawn by the definition, the same ones, in milliseconds; loading numba takes a second
_WORTH_A_THREAD = 300_000  # nanoseconds of work, many times what waking a thread costs
_PIECES = 4  # that a thread would do if all were equally fast


@dataclass(frozen=True, eq=False)
class Prompts:
    """A batch of prompts.

    Attributes:
        context: the example columns ``z_i``, ``[P, n, D]``.
        query: the query column without its label, ``[P, J]``.
        target: the label to predict, ``[P]``.
        context_states: state indices of the context chains, smallest unsigned type, ``[P, n, L]``; None for regression.
        query_states: state indices of the query chain, ``[P, L]``; None for regression.
        kernels: the kernels that the chains were drawn from, ``[P, R, S]``; None where they are not known.
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
        return _grams(self.context)

    @property
    def matrix(self) -> Float[np.ndarray, "P D n1"]:
        """Return the prompt matrices ``Z``, last column ``(x_{n+1}, 0)``."""
        last = np.pad(self.query, ((0, 0), (0, 1)))[:, :, None]
        return np.concatenate([self.context.transpose(0, 2, 1), last], axis=2)


@dataclass(frozen=True, eq=False)
class Grams:
    """What one-layer and deep linear models see of a batch of prompts.

    Prompts are the fastest axis in memory: ``gram.transpose(1, 2, 0)`` and ``query.T`` are contiguous.

    Attributes:
        gram: ``G = (1/n) sum_i z_i z_i^T``, ``[P, D, D]``.
        query: the query column without its label, ``[P, J]``.
        target: the label to predict, ``[P]``.
    """

    gram: Float[np.ndarray, "P D D"]
    query: Float[np.ndarray, "P J"]
    target: Float[np.ndarray, "P"]


def _grams(context: Float[np.ndarray, "P n D"]) -> Float[np.ndarray, "P D D"]:
    result: Float[np.ndarray, "P D D"] = context.transpose(0, 2, 1) @ context / context.shape[1]
    return result


def columns(task: MarkovTask, states: Integer[np.ndarray, "... L"]) -> Float[np.ndarray, "... D"]:
    """Turn chains of state indices into numeric columns, the bias included."""
    numeric: Float[np.ndarray, "... L"] = np.empty(states.shape)
    values, source, result = np.array(task.values, dtype=float), states.reshape(-1), numeric.reshape(-1)
    for low in range(0, source.size, _LOOKUP):  # NumPy looks up by int64 copies of the states: keep them in the cache
        np.take(values, source[low : low + _LOOKUP], out=result[low : low + _LOOKUP], mode="clip")
    if not task.bias:
        return numeric
    ones = np.ones((*states.shape[:-1], 1))
    return np.concatenate([numeric[..., :-1], ones, numeric[..., -1:]], axis=-1)


def prompt_gigabytes(task: Task, count: int) -> float:
    """Return about what ``count`` prompts take: columns, Gram matrices, kernels and what drawing needs beside them."""
    states, rows = (task.states, task.rows) if isinstance(task, MarkovTask) else (1, 1)
    numbers = (task.context + 1) * (3 * task.dimension + 2 * states) + 2 * task.dimension**2 + 2 * rows * states
    return 8e-9 * count * numbers


def sample_prompts(task: Task, count: int, seed: int | np.random.Generator = 0, threads: int | None = None) -> Prompts:
    """Draw ``count`` independent prompts; the same seed gives the same prompts.

    Args:
        task: their law.
        count: how many.
        seed: a number, or a generator that is moved on.
        threads: at most so many, with the same result; None means the cores there are.

    Raises:
        ValueError: if ``count < 1`` or ``threads < 1``.
    """
    rng = _checked(count, seed, threads)
    if isinstance(task, RegressionTask):
        z = np.empty((count, task.context + 1, task.dimension))
        for low, part in _regression_columns(task, count, rng):
            z[low : low + len(part)] = part
        return Prompts(z[:, :-1], z[:, -1, :-1], z[:, -1, -1])
    kernels = np.empty((count, task.rows, task.states))
    states = _chains(task, count, rng, threads, kernels)
    z = columns(task, states)
    return Prompts(z[:, :-1], z[:, -1, :-1], z[:, -1, -1], states[:, :-1], states[:, -1], kernels)


def sample_chains(
    task: MarkovTask, count: int, seed: int | np.random.Generator = 0, threads: int | None = None
) -> Integer[np.ndarray, "P n1 L"]:
    """Draw ``n`` context chains and, last, the query chain of ``count`` prompts, as state indices.

    Arguments and errors as in :func:`sample_prompts`, whose chains they are. The smallest unsigned type is used:
    convert before doing arithmetic.
    """
    return _chains(task, count, _checked(count, seed, threads), threads, None)


def sample_grams(
    task: Task,
    count: int,
    seed: int | np.random.Generator = 0,
    dtype: DTypeLike = np.float64,
    threads: int | None = None,
) -> Grams:
    """Draw the Gram matrices and queries of :func:`sample_prompts`, same seed, same prompts, in bounded memory.

    Args:
        task: law of the prompts.
        count: how many.
        seed: a number, or a generator that is moved on.
        dtype: float32 or float64, of the result.
        threads: at most so many, with the same result; None means the cores there are.

    Raises:
        ValueError: if ``count < 1``, ``threads < 1`` or for another ``dtype``.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"expected dtype float32 or float64; got {np.dtype(dtype)}")
    rng = _checked(count, seed, threads)
    gram = np.empty((task.dimension, task.dimension, count), dtype)
    column = np.empty((task.dimension, count), dtype)
    if isinstance(task, RegressionTask):
        for low, z in _regression_columns(task, count, rng):
            gram[:, :, low : low + len(z)] = _grams(z[:, :-1]).transpose(1, 2, 0)
            column[:, low : low + len(z)] = z[:, -1].T
    else:
        key = draw_key(rng)
        for laws in draw_laws(task, count, rng):
            _share(_gram_work(task, key, laws, gram, column), task, len(laws.kernels), threads)
    return Grams(gram.transpose(2, 0, 1), column[:-1].T, column[-1])


def _checked(count: int, seed: int | np.random.Generator, threads: int | None) -> np.random.Generator:
    if count < 1:
        raise ValueError(f"expected at least 1 prompt; got {count}")
    if threads is not None and threads < 1:
        raise ValueError(f"expected at least 1 thread; got {threads}")
    return np.random.default_rng(seed)


def _chains(
    task: MarkovTask,
    count: int,
    rng: np.random.Generator,
    threads: int | None,
    kernels: Float[np.ndarray, "P R S"] | None,
) -> Integer[np.ndarray, "P n1 L"]:
    """Draw the states, and keep the kernels if there is a place for them."""
    states = np.empty((count, task.context + 1, task.length), np.min_scalar_type(task.states - 1))
    key = draw_key(rng)
    for laws in draw_laws(task, count, rng):
        if kernels is not None:
            kernels[laws.first : laws.first + len(laws.kernels)] = laws.kernels
        if states.size <= _NOT_WORTH_NUMBA and "markov_icl.tasks.counter" not in sys.modules:
            states[laws.first : laws.first + len(laws.kernels)] = literal_batch(task, key, laws)
        else:
            _share(_chain_work(task, key, laws, states), task, len(laws.kernels), threads)
    return states


def _chain_work(
    task: MarkovTask, key: np.uint64, laws: ChainLaws, states: NDArray[np.unsignedinteger]
) -> Callable[[int, int], object]:
    from markov_icl.tasks import counter

    if is_sliced(task):
        tree = start_tree(laws.starts)
        return lambda lo, hi: counter.sliced_chains(key, laws.first, lo, hi, laws.kernels, tree, laws.query, states)
    return lambda lo, hi: counter.plain_chains(key, laws.first, lo, hi, task.order, laws.kernels, laws.starts, states)


def _gram_work(
    task: MarkovTask, key: np.uint64, laws: ChainLaws, gram: NDArray[np.floating], column: NDArray[np.floating]
) -> Callable[[int, int], object]:
    from markov_icl.tasks import counter

    n, length = task.context, task.length
    slots = np.array([t - 1 if t else length for t in task.times])
    values = np.array(task.values, dtype=float)
    if is_sliced(task):
        tree = start_tree(laws.starts)
        low, high = np.where(slots < length, values[0], 0.0), np.where(slots < length, values[1], 1.0)
        return lambda lo, hi: counter.sliced_grams(
            key, laws.first, lo, hi, n, length, laws.kernels, tree, laws.query, slots, low, high, gram, column
        )
    return lambda lo, hi: counter.plain_grams(
        key, laws.first, lo, hi, n, length, task.order, laws.kernels, laws.starts, slots, values, gram, column
    )


def _share(work: Callable[[int, int], object], task: MarkovTask, size: int, threads: int | None) -> None:
    """Do ``work(lo, hi)`` for all of ``0 .. size`` on as many threads as are worth waking.

    Plain threads around kernels that release the GIL: numba's own do not survive a fork, and its default layer must
    not be entered from two threads at once. Whoever is free takes the next piece, so a busy core delays nobody.
    """
    nanoseconds = size * (task.context + 1) * task.length * (1 if is_sliced(task) else 3 + task.states // 3)
    most = worker_threads() if threads is None else threads
    parts = max(1, min(most, size, nanoseconds // _WORTH_A_THREAD))
    if parts == 1:
        work(0, size)
        return
    step = -(-size // (_PIECES * parts))
    pending = iter(range(0, size, step))

    def drain() -> None:
        for low in pending:
            work(low, min(low + step, size))

    others = [_pool().submit(drain) for _ in range(parts - 1)]
    drain()
    for other in others:
        if not other.cancel():
            other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


def _regression_columns(
    task: RegressionTask, count: int, rng: np.random.Generator
) -> Iterator[tuple[int, Float[np.ndarray, "P n1 D"]]]:
    factor = np.linalg.cholesky(np.array(task.covariance, dtype=float))
    weight = rng.standard_normal((count, task.dim, 1))
    size = max(1, _REGRESSION_NUMBERS // ((task.context + 1) * task.dim))
    for low in range(0, count, size):
        x = rng.standard_normal((min(size, count - low), task.context + 1, task.dim)) @ factor.T
        yield low, np.concatenate([x, x @ weight[low : low + size]], axis=2)
