"""What is drawn before the chains: the key of a run, and batch by batch the kernels and the laws of first states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from markov_icl.tasks.kernels import (
    FinitePrior,
    is_sparse,
    log_stationary,
    sample_indices,
    sample_kernels,
    sample_log_kernels,
    stationary,
)
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask, StationaryStart

__all__ = ["ChainLaws", "draw_key", "draw_laws", "is_sliced", "start_tree"]

_BATCH_NUMBERS = 1 << 18  # kernel entries in memory at a time
_SLICED_ORDER = 4  # above, a chain at a time is faster than 64 chains a word


@dataclass(frozen=True, eq=False)
class ChainLaws:
    """The laws of the chains of prompts ``first .. first + N - 1`` of a run.

    Attributes:
        first: number of the batch's first prompt.
        kernels: the drawn kernels, ``[N, R, S]``.
        starts: pmf over the first ``order`` states of the context chains, ``[N, R]``, or ``[1, R]`` for all prompts.
        query: first state of the query chain, ``[N]``; empty where the query starts as the context does.
    """

    first: int
    kernels: Float[np.ndarray, "N R S"]
    starts: Float[np.ndarray, "M R"]
    query: UInt8[np.ndarray, "Q"]


def is_sliced(task: MarkovTask) -> bool:
    """Say whether chains are drawn as lanes of 64-bit words: two states and order at most 4."""
    return task.states == 2 and task.order <= _SLICED_ORDER


def draw_key(rng: np.random.Generator) -> np.uint64:
    """Draw the 64-bit key from which all states of a run follow."""
    return np.uint64(rng.integers(0, 1 << 64, dtype=np.uint64))


def draw_laws(task: MarkovTask, count: int, rng: np.random.Generator) -> Iterator[ChainLaws]:
    """Draw the kernels and first-state laws of ``count`` prompts, in batches whose size depends on the task alone."""
    across = task.rows if isinstance(task.initial, StationaryStart) else task.states
    size = max(1, _BATCH_NUMBERS // (task.rows * across))
    for first in range(0, count, size):
        yield _batch(task, first, min(size, count - first), rng)


def _batch(task: MarkovTask, first: int, size: int, rng: np.random.Generator) -> ChainLaws:
    query = np.empty(0, dtype=np.uint8)
    which = logs = None
    if isinstance(task.prior, FinitePrior):
        which = sample_indices(task.prior, size, rng)
        kernels = task.prior.kernels_float[which]
    elif isinstance(task.initial, StationaryStart) and is_sparse(task.prior):
        logs = sample_log_kernels(task.prior, size, rng)
        kernels = np.exp(logs)
    else:
        kernels = sample_kernels(task.prior, size, rng)
    match task.initial:
        case IndependentStart(pmf):
            starts = np.array(pmf, dtype=float)[None]
        case CorrelatedStart(p, g):
            query = (rng.random(size) < float(p)).astype(np.uint8)
            one = np.array(g, dtype=float)[query]
            starts = np.stack([1 - one, one], axis=1)
        case _ if which is not None and isinstance(task.prior, FinitePrior):
            starts = task.prior.stationary_float[which]
        case _ if logs is not None:
            starts = log_stationary(logs)
        case _:
            starts = stationary(np.maximum(kernels, np.finfo(float).tiny))
    return ChainLaws(first, np.ascontiguousarray(kernels), np.ascontiguousarray(starts), query)


def start_tree(starts: Float[np.ndarray, "M R"]) -> Float[np.ndarray, "M R1"]:
    """Return the conditional probabilities of a one, ``[M, R - 1]``, of the first states of two-state chains.

    Entry ``2^t - 1 + r`` is the probability that state ``t`` is one after the ``t`` states that ``r`` spells,
    oldest most significant; zero after states that never occur.
    """
    batch, rows = starts.shape
    tree = np.zeros((batch, rows - 1))
    for t in range(rows.bit_length() - 1):
        pair = starts.reshape(batch, 1 << t, 2, -1).sum(3)
        total = pair.sum(2)
        np.divide(pair[..., 1], total, out=tree[:, (1 << t) - 1 : (2 << t) - 1], where=total > 0)
    return tree
