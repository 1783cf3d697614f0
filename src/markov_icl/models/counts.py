"""Transition counts pooled over the chains of each prompt: all that a posterior needs to know."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Integer

from markov_icl.tasks.prompts import MarkovTask

__all__ = ["counts_after", "last_tuple", "pooled_counts", "transition_counts", "transitions", "tuple_index"]

_COMPILED_FROM = 1_000_000
"""Number of states from which loading the compiled loops, about a second, may pay."""


def transition_counts(
    states: Integer[np.ndarray, "P C L"], rows: int, symbols: int, order: int
) -> Int64[np.ndarray, "P R S"]:
    """Pool the transitions of each prompt's ``C`` chains: the definition, in NumPy."""
    prompts = len(states)
    row, state = transitions(states, symbols, order)
    flat = (np.arange(prompts)[:, None, None] * rows + row) * symbols + state
    return np.bincount(flat.reshape(-1), minlength=prompts * rows * symbols).reshape(prompts, rows, symbols)


def transitions(
    states: Integer[np.ndarray, "P C L"], symbols: int, order: int
) -> tuple[Int64[np.ndarray, "P C T"], Int64[np.ndarray, "P C T"]]:
    """Return, for each of a chain's ``T = L - k`` transitions, its kernel row and the state it leads to."""
    length = states.shape[2]
    row = np.zeros((*states.shape[:2], length - order), dtype=np.int64)
    for lag in range(order):
        row = row * symbols + states[:, :, lag : length - order + lag].astype(np.int64)
    return row, states[:, :, order:].astype(np.int64)


def pooled_counts(task: MarkovTask, states: Integer[np.ndarray, "P C L"]) -> Int64[np.ndarray, "P R S"]:
    """Return :func:`transition_counts` of the task's chains, compiled where there is much to count."""
    if states.size < _COMPILED_FROM:
        return transition_counts(states, task.rows, task.states, task.order)
    from markov_icl.models.count_kernels import count_all

    return count_all(states, task.rows, task.states, task.order)


def counts_after(
    task: MarkovTask, states: Integer[np.ndarray, "P C L"], wanted: Int64[np.ndarray, "P"]
) -> Int64[np.ndarray, "P S"]:
    """Return row ``wanted[p]`` of each prompt's transition counts, and never store the others."""
    if states.size >= _COMPILED_FROM:
        from markov_icl.models.count_kernels import count_after

        return count_after(states, wanted, task.rows, task.states, task.order)
    row, state = transitions(states, task.states, task.order)
    prompt, chain, time = np.nonzero(row == wanted[:, None, None])
    flat = prompt * task.states + state[prompt, chain, time]
    return np.bincount(flat, minlength=len(states) * task.states).reshape(len(states), task.states)


def last_tuple(task: MarkovTask, query: Integer[np.ndarray, "P L"]) -> Int64[np.ndarray, "P"]:
    """Return the kernel row that the query's hidden last state is drawn from."""
    return tuple_index(query[:, -1 - task.order : -1], task.states)


def tuple_index(states: Integer[np.ndarray, "*prompts k"], symbols: int) -> Int64[np.ndarray, "*prompts"]:
    """Return the number of each ``k``-tuple, oldest state most significant."""
    index = np.zeros(states.shape[:-1], dtype=np.int64)
    for k in range(states.shape[-1]):
        index = index * symbols + states[..., k].astype(np.int64)
    return index
