"""The definition of the sampled chains in plain NumPy: what the compiled kernels must return, state for state."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer, UInt64
from numpy.typing import NDArray

from markov_icl.tasks.laws import ChainLaws, draw_key, draw_laws, is_sliced, start_tree
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["counter_word", "literal_batch", "literal_chains", "plain_uniforms", "sliced_uniforms", "thresholds"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_DIGITS = 53


def counter_word(key: np.uint64, counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the random words with these numbers: the SplitMix64 finalizer of ``key + counter * GAMMA``.

    Two keys share a stretch of ``N`` words, shifted, with probability about ``N / 2^63``.

    Source: Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, Fig. 17; the constants of
    ``mix64variant13``.
    """
    z = key + counter * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


def plain_uniforms(
    key: np.uint64, prompts: NDArray[np.uint64], t: int, chains: int, length: int
) -> UInt64[np.ndarray, "P C"]:
    """Return ``U [P, C]`` in ``0 .. 2^53 - 1`` for time ``t``: the top of word ``(prompt * C + chain) * L + t``."""
    chain = np.arange(chains, dtype=np.uint64)
    number = prompts[:, None] * np.uint64(chains) + chain
    return counter_word(key, number * np.uint64(length) + np.uint64(t)) >> np.uint64(64 - _DIGITS)


def sliced_uniforms(
    key: np.uint64, prompts: NDArray[np.uint64], t: int, chains: int, length: int
) -> UInt64[np.ndarray, "P C"]:
    """Return ``U [P, C]`` in ``0 .. 2^53 - 1`` for time ``t``, chains standing side by side in words.

    Binary digit ``k`` after the point (from 0) of chain ``c`` is bit ``(k % q) * lanes + c % 64`` of word
    ``((prompt * L + t) * W + c // 64) * 64 + k // q``. A word holds ``q = 64 // lanes`` digits of ``lanes`` chains:
    all ``C`` if they fit into one of ``W = 1`` words, else 64.
    """
    lanes = min(chains, 64)
    digits = 64 // lanes
    group, lane = np.divmod(np.arange(chains, dtype=np.uint64), np.uint64(64))
    width = np.uint64(-(-chains // 64))
    base = ((prompts[:, None] * np.uint64(length) + np.uint64(t)) * width + group) * np.uint64(64)
    total = np.zeros((len(prompts), chains), dtype=np.uint64)
    for k in range(_DIGITS):
        drawn = counter_word(key, base + np.uint64(k // digits)) >> (np.uint64(k % digits * lanes) + lane)
        total = (total << np.uint64(1)) | (drawn & np.uint64(1))
    return total


def thresholds(probability: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return ``ceil(2^53 p)``, exact: ``U`` is below it exactly when ``2^-53 U < p``; never for 0, always for 1."""
    return np.ceil(probability * 2.0**_DIGITS).astype(np.uint64)


def literal_chains(task: MarkovTask, count: int, seed: int | np.random.Generator = 0) -> Integer[np.ndarray, "P n1 L"]:
    """Return exactly the states of :func:`markov_icl.tasks.sampling.sample_chains`, hundreds of times slower.

    Two states, order at most 4: the state is one iff ``2^-53 U < P(one | preceding states)``, ``U`` from
    :func:`sliced_uniforms`; a correlated query's first state is drawn beforehand. Otherwise the state is the number
    of cumulative probabilities at most ``2^-53 U``, ``U`` from :func:`plain_uniforms`; the first ``order`` states are
    one draw, at time 0, from their joint law.
    """
    rng = np.random.default_rng(seed)
    key = draw_key(rng)
    chains = np.concatenate([literal_batch(task, key, laws) for laws in draw_laws(task, count, rng)])
    return chains.astype(np.min_scalar_type(task.states - 1))


def literal_batch(task: MarkovTask, key: np.uint64, laws: ChainLaws) -> NDArray[np.int64]:
    """Return the states ``[N, n + 1, L]`` of the prompts that ``laws`` is of."""
    return _sliced(task, key, laws) if is_sliced(task) else _plain(task, key, laws)


def _sliced(task: MarkovTask, key: np.uint64, laws: ChainLaws) -> NDArray[np.int64]:
    count = len(laws.kernels)
    numbers = laws.first + np.arange(count, dtype=np.uint64)
    prompt = np.arange(count)[:, None]
    one = laws.kernels[:, :, 1] / (laws.kernels[:, :, 0] + laws.kernels[:, :, 1])
    tree = np.broadcast_to(start_tree(laws.starts), (count, task.rows - 1))
    states = np.empty((count, task.context + 1, task.length), dtype=np.int64)
    row = np.zeros(states.shape[:2], dtype=np.int64)
    for t in range(task.length):
        p = tree[prompt, (1 << t) - 1 + row] if t < task.order else one[prompt, row]
        state = sliced_uniforms(key, numbers, t, task.context + 1, task.length) < thresholds(p)
        if t == 0 and len(laws.query):
            state[:, -1] = laws.query
        states[:, :, t] = state
        row = (2 * row + state) % task.rows
    return states


def _plain(task: MarkovTask, key: np.uint64, laws: ChainLaws) -> NDArray[np.int64]:
    count = len(laws.kernels)
    numbers = laws.first + np.arange(count, dtype=np.uint64)
    prompt = np.arange(count)[:, None]
    limits = _cumulative_thresholds(laws.kernels)
    starts = np.broadcast_to(_cumulative_thresholds(laws.starts), (count, task.rows - 1))
    states = np.empty((count, task.context + 1, task.length), dtype=np.int64)
    u = plain_uniforms(key, numbers, 0, task.context + 1, task.length)
    row = (u[..., None] >= starts[:, None]).sum(2)
    for t in range(task.order):
        states[:, :, t] = row // task.states ** (task.order - 1 - t) % task.states
    for t in range(task.order, task.length):
        u = plain_uniforms(key, numbers, t, task.context + 1, task.length)
        states[:, :, t] = (u[..., None] >= limits[prompt, row]).sum(2)
        row = (row * task.states) % task.rows + states[:, :, t]
    return states


def _cumulative_thresholds(weights: Float[np.ndarray, "... S"]) -> UInt64[np.ndarray, "... S1"]:
    """Return the thresholds of all but the last partial sum, relative to the last: weight 0 is never hit."""
    partial = np.cumsum(weights, axis=-1)
    return thresholds(partial[..., :-1] / partial[..., -1:])
