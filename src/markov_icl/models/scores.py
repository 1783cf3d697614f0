"""How good predictions are, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["Score", "nearest_state", "score"]


@dataclass(frozen=True)
class Score:
    """Mean squared error and accuracy on independent prompts.

    Attributes:
        loss: in squared states.
        loss_se: its standard error.
        accuracy: share of prompts whose prediction, rounded to the nearest state's value, is the label; None
            for regression.
        accuracy_se: its standard error.
        step: training steps taken before.
    """

    loss: float
    loss_se: float
    accuracy: float | None
    accuracy_se: float | None
    step: int = 0


def nearest_state(task: MarkovTask, values: Float[np.ndarray, "P"]) -> Int[np.ndarray, "P"]:
    """Return the index of the state whose value is nearest; of two equally near ones, the larger value's."""
    numbers = np.array(task.values, dtype=float)
    order = np.argsort(numbers)
    middles = (numbers[order][1:] + numbers[order][:-1]) / 2
    result: Int[np.ndarray, "P"] = order[np.searchsorted(middles, values, side="right")]
    return result


def score(task: Task, predicted: Float[np.ndarray, "P"], target: Float[np.ndarray, "P"]) -> Score:
    """Score values predicted for the labels ``target`` of at least two independent prompts."""
    root = np.sqrt(len(target))
    squared = (predicted - target) ** 2
    accuracy = accuracy_se = None
    if isinstance(task, MarkovTask):
        right = nearest_state(task, predicted) == nearest_state(task, target)
        accuracy, accuracy_se = float(right.mean()), float(right.std(ddof=1) / root)
    return Score(float(squared.mean()), float(squared.std(ddof=1) / root), accuracy, accuracy_se)
