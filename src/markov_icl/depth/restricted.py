"""The best restricted layers of a given depth: training on exact Gram statistics from several starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from markov_icl.depth.descent import descend
from markov_icl.progress import Progress, Tell, part, shown
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import sample_prompts

if TYPE_CHECKING:
    from markov_icl.models.lsa import LinearSelfAttention

__all__ = ["RestrictedFit", "best_restricted"]

_CHUNK = 2000  # prompts whose contexts are held at once
_SELECTION = 1  # streams of their own, so that no start is judged on prompts it was trained on
_JUDGEMENT = 3


@dataclass(frozen=True, eq=False)
class RestrictedFit:
    """A local search result, not a minimum with proof.

    Attributes:
        model: the best start's, float64.
        loss: its mean squared error on fresh prompts that had no say in the choice, in squared states.
        loss_se: the standard error of ``loss``.
        starts: loss of every start on the prompts that decided, infinite for one that diverged.
        training: training losses of the best start, ``[steps]``.
    """

    model: LinearSelfAttention
    loss: float
    loss_se: float
    starts: tuple[float, ...]
    training: Float[np.ndarray, "steps"]


def best_restricted(
    task: Task,
    depth: int,
    heads: int = 1,
    starts: int = 1,
    steps: int = 600,
    batch: int = 256,
    rate: float = 0.01,
    seed: int = 0,
    judged: int = 10_000,
    progress: Progress = False,
) -> RestrictedFit:
    """Train restricted layers from several starts and keep the best.

    Initial entries have variance ``1/(40 E tr G)``, so that the first forward pass moves ``w`` little whatever the
    states' values: a step is quadratic in the residuals, and large steps explode with depth.

    Args:
        task: the prompts' law.
        depth: layers.
        heads: a layer.
        starts: how many.
        steps: of Adam, a start.
        batch: fresh prompts a step.
        rate: learning rate.
        seed: of everything.
        judged: fresh prompts that decide between starts; as many again for the reported loss.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: if a number is below 1, or every start diverged.
    """
    from markov_icl.models.lsa import LinearSelfAttention

    if min(starts, steps, batch, judged) < 1:
        raise ValueError(f"expected starts, steps, batch, judged >= 1; got {starts}, {steps}, {batch}, {judged}")
    import torch

    # Starts are compared on prompts of their own, so that the reported loss is not the least of several noisy ones.
    decide = _statistics(task, judged, np.random.default_rng([seed, _SELECTION]))
    scale = float((40 * decide[0].trace(axis1=1, axis2=2).mean()) ** -0.5)
    found: list[_Start] = []
    failure: ValueError | None = None
    with shown(progress, "train") as tell:
        for start in range(starts):
            model = LinearSelfAttention(
                task.dimension, depth, heads, "restricted", scale=scale, seed=seed + start, dtype=torch.float64
            )
            told = part(tell, start / starts, (start + 1) / starts)
            try:
                losses = _train(model, task, steps, batch, rate, seed + start, told)
            except ValueError as error:  # a loss that is no longer finite
                failure = error
                found.append(_Start(np.inf, model, np.zeros(0)))
            else:
                loss = float(_errors(model, *decide).mean())
                found.append(_Start(loss if np.isfinite(loss) else np.inf, model, losses))
    # The winner is judged on prompts that did not choose it: its loss has no bias.
    best = min(found, key=lambda one: one.loss)
    if not np.isfinite(best.loss):
        raise failure or ValueError(f"expected a start that converges; got {starts} that diverged (lower the rate)")
    errors = _errors(best.model, *_statistics(task, judged, np.random.default_rng([seed, _JUDGEMENT])))
    with np.errstate(over="ignore"):
        deviation = float(errors.std())
    scores = tuple(one.loss for one in found)
    return RestrictedFit(best.model, float(errors.mean()), deviation / np.sqrt(judged), scores, best.training)


@dataclass(frozen=True, eq=False)
class _Start:
    loss: float
    model: LinearSelfAttention
    training: Float[np.ndarray, "steps"]


def _train(
    model: LinearSelfAttention,
    task: Task,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    tell: Tell,
) -> Float[np.ndarray, "steps"]:
    """Train in place; return the losses on the way."""
    from markov_icl.models.training import train

    with _one_thread(), np.errstate(over="ignore", invalid="ignore"):
        result = train(
            model,
            task,
            optimizer="adam",
            steps=steps,
            batch=batch,
            seed=seed,
            rate=rate,
            device="cpu",
            held_out=2,
            progress=tell,
        )
    return np.asarray(result.losses, dtype=float)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch on one thread: handing out products of tiny matrices costs more than they do."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _statistics(
    task: Task, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "P D D"], Float[np.ndarray, "P J"], Float[np.ndarray, "P"]]:
    """Return Gram matrices, queries and targets; the contexts are not kept."""
    parts = (sample_prompts(task, min(_CHUNK, count - first), rng) for first in range(0, count, _CHUNK))
    stacked = [np.concatenate(v) for v in zip(*((p.gram, p.query, p.target) for p in parts), strict=True)]
    return stacked[0], stacked[1], stacked[2]


def _errors(
    model: LinearSelfAttention,
    gram: Float[np.ndarray, "P D D"],
    query: Float[np.ndarray, "P J"],
    target: Float[np.ndarray, "P"],
) -> Float[np.ndarray, "P"]:
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged start is told by its infinite loss
        result: Float[np.ndarray, "P"] = (descend(model, gram).predictions(query)[-1] - target) ** 2
    return result
