"""Transition counts in compiled loops; imported only when there is much to count.

The definition is :func:`markov_icl.models.counts.transition_counts`. The annotations are NumPy's, and the
type checker of the tests must not wrap what Numba compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Int64, Integer

from markov_icl.threads import worker_threads

__all__ = ["count_after", "count_all"]


@no_type_check
def _all(states, symbols, order, counts):
    rows = counts.shape[1]
    for p in range(states.shape[0]):
        for c in range(states.shape[1]):
            row = np.int64(0)
            for t in range(order):
                row = row * symbols + np.int64(states[p, c, t])
            for t in range(order, states.shape[2]):
                state = np.int64(states[p, c, t])
                counts[p, row, state] += 1
                row = row * symbols + state - np.int64(states[p, c, t - order]) * rows


@no_type_check
def _after(states, wanted, rows, symbols, order, counts):
    for p in range(states.shape[0]):
        for c in range(states.shape[1]):
            row = np.int64(0)
            for t in range(order):
                row = row * symbols + np.int64(states[p, c, t])
            for t in range(order, states.shape[2]):
                state = np.int64(states[p, c, t])
                counts[p, state] += np.int64(row == wanted[p])  # no branch: it would be mispredicted
                row = row * symbols + state - np.int64(states[p, c, t - order]) * rows


_compiled_all = numba.njit(nogil=True, cache=True)(_all)
_compiled_after = numba.njit(nogil=True, cache=True)(_after)


def count_all(states: Integer[np.ndarray, "P C L"], rows: int, symbols: int, order: int) -> Int64[np.ndarray, "P R S"]:
    """Pool the transitions of each prompt's chains, prompts spread over threads."""
    counts = np.zeros((len(states), rows, symbols), dtype=np.int64)
    _over_threads(lambda part: _compiled_all(states[part], symbols, order, counts[part]), len(states))
    return counts


def count_after(
    states: Integer[np.ndarray, "P C L"],
    wanted: Int64[np.ndarray, "P"],
    rows: int,
    symbols: int,
    order: int,
) -> Int64[np.ndarray, "P S"]:
    """Pool only the transitions out of one kernel row a prompt, ``wanted``."""
    counts = np.zeros((len(states), symbols), dtype=np.int64)
    _over_threads(
        lambda part: _compiled_after(states[part], wanted[part], rows, symbols, order, counts[part]), len(states)
    )
    return counts


def _over_threads(work: Callable[[slice], None], prompts: int) -> None:
    """Run ``work`` on consecutive slices; plain threads, so a later fork meets no thread pool of Numba's."""
    threads = worker_threads()
    step = -(-prompts // threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, (slice(start, start + step) for start in range(0, prompts, step))))
