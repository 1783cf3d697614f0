"""How good predictions are, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from numpy.typing import NDArray

from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["Score", "mean_and_error", "nearest_state", "score"]


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


def nearest_state(task: MarkovTask, predicted: Float[np.ndarray, "P"]) -> NDArray[np.int64]:
    """Return the state whose value is nearest; half-way, to rounding, the one of even index.

    For values ``0..S-1`` that is ``rint``. The rule shows: with three states a posterior mean is half-way in one
    prompt of fifty, and always taking the lower or the higher state costs half a percent of accuracy.
    """
    values = np.array(task.values, dtype=float)
    odd = np.arange(len(values)) % 2 * 1e-12 * float(np.ptp(values))
    result: NDArray[np.int64] = (np.abs(predicted[:, None] - values) + odd).argmin(1)
    return result


def mean_and_error(values: NDArray[Any], cluster: Integer[np.ndarray, "P"]) -> tuple[float, float]:
    """Return the mean and its standard error when only the ``G`` clusters ``0..G-1`` are independent.

    ``se^2 = G / (G - 1) sum_g (sum_{p in g} (v_p - mean))^2 / P^2``; nan for a single cluster. Clusters of one
    prompt each give the usual ``s / sqrt(P)``.
    """
    mean = float(values.mean())
    sums = np.bincount(cluster, weights=values - mean)
    if len(sums) < 2:
        return mean, float("nan")
    return mean, float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)) / len(values))


def score(task: Task, predicted: Float[np.ndarray, "P"], target: Float[np.ndarray, "P"]) -> Score:
    """Score values predicted for the labels ``target`` of at least two independent prompts."""
    alone = np.arange(len(target))
    loss, loss_se = mean_and_error((predicted - target) ** 2, alone)
    if not isinstance(task, MarkovTask):
        return Score(loss, loss_se, None, None)
    return Score(loss, loss_se, *mean_and_error(nearest_state(task, predicted) == nearest_state(task, target), alone))
