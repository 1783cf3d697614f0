"""Predictors on fresh prompts, as rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from markov_icl.models.protocol import Predictor
from markov_icl.models.scores import nearest_state
from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.tasks.sampling import Prompts, sample_prompts

__all__ = ["bootstrap", "first_chains", "fresh_prompts", "right"]

_TEST = 7
"""Stream of the prompts that predictors are scored on: training draws from streams 0 to 3."""


def fresh_prompts(task: Task, count: int, seed: int) -> Prompts:
    """Return prompts that no training with this seed has drawn; the same ones each time."""
    return sample_prompts(task, count, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_TEST,))))


def first_chains(prompts: Prompts, count: int) -> Prompts:
    """Return the prompts with only the first ``count`` context chains, queries as they are."""
    states = None if prompts.context_states is None else prompts.context_states[:, :count]
    return replace(prompts, context=prompts.context[:, :count], context_states=states)


def right(task: MarkovTask, predictor: Predictor, prompts: Prompts) -> Bool[np.ndarray, "P"]:
    """Say which queries are answered right: the most probable state, or the one whose value is nearest."""
    assert prompts.query_states is not None
    predicted = predictor.predict(prompts)
    guess = predicted.argmax(1) if predicted.ndim == 2 else nearest_state(task, predicted)
    return np.asarray(guess == prompts.query_states[:, -1])


def bootstrap(
    values: Bool[np.ndarray, "P"] | Float[np.ndarray, "P"], draws: int, seed: int, level: float = 0.9
) -> tuple[float, float]:
    """Return the percentile interval of the mean over resampled prompts.

    Args:
        values: one a prompt.
        draws: bootstrap samples.
        seed: of the samples.
        level: probability mass of the interval.
    """
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
