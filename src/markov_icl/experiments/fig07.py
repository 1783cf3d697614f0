"""Fig. 7: does attention follow the kernels? Three blocks on prompts whose chains come from 1, 2 or 4 of them.

Chains of one kernel stand side by side, as published, and once more in random order: positions are learned, so only
the second shows what follows from the chains themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from markov_icl.experiments.claim import Finding
from markov_icl.experiments.experiment import Experiment
from markov_icl.experiments.points import Outcome, Point, series
from markov_icl.experiments.scoring import fresh_prompts
from markov_icl.experiments.spec import Spec
from markov_icl.experiments.sweep import trained
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import Prompts

__all__ = ["EXPERIMENT", "GROUPS", "ORDERS", "grouped", "similarity"]

GROUPS = (1, 2, 4)
ORDERS = ("side by side", "in random order")
_SCALES: dict[str, dict[str, Any]] = {
    "quick": {"context": 24, "steps": 500, "rate": 1e-3, "prompts": 200},
    "paper": {"context": 100, "steps": 50_000, "rate": 1e-4, "prompts": 1000},
}
_LENGTH = 10


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return one training a seed, on prompts with one kernel each."""
    numbers = _SCALES[scale]
    task = MarkovTask(length=_LENGTH, context=numbers["context"])
    model = {"kind": "gpt2", "size": "tiny", "max_context": numbers["context"]}
    training = {"device": "cpu", "batch": 64, "rate": numbers["rate"], "steps": numbers["steps"]}
    settings = {"prompts": numbers["prompts"]}
    return tuple(Spec("fig7", "tiny", task, model, training, settings, seed, scale) for seed in range(seeds))


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return for every number of kernels how much more attention goes to chains of the same one, and mean maps."""
    import torch

    task, count = spec.task, spec.settings["prompts"]
    assert isinstance(task, MarkovTask)
    model = trained(spec, held_out=2).model
    points = []
    for groups in GROUPS:
        for order in ORDERS:
            states, kernel = grouped(task, groups, count, spec.seed, shuffled=order == ORDERS[1])
            matrix = torch.from_numpy(states[:, :, : task.length].astype(np.float32)).transpose(1, 2)
            matrix = torch.nn.functional.pad(matrix, (0, 1))  # a query column that nothing attends to
            maps = [m.mean(1)[:, :-1, :-1].double().numpy() for m in model.chain_attention(matrix)]
            alike = similarity(states)
            name = f"{groups} kernels, {order}"
            for layer, weights in enumerate(maps, start=1):
                points += _contrast(name, float(layer), weights, kernel, alike)
                if spec.seed == 0 and order == ORDERS[0]:
                    points += _picture(name, f"attention, layer {layer}", weights.mean(0))
            if spec.seed == 0 and order == ORDERS[0]:
                points += _picture(name, "similarity", alike.mean(0))
    return tuple(points)


def grouped(
    task: MarkovTask, groups: int, count: int, seed: int, shuffled: bool
) -> tuple[Int[np.ndarray, "P n L"], Int[np.ndarray, "P n"]]:
    """Draw prompts whose context chains come from several kernels, equally many from each.

    Returns:
        States of the context chains, and the number of each chain's kernel.

    Raises:
        ValueError: unless the context divides into the groups.
    """
    if task.context % groups:
        raise ValueError(f"expected a context that {groups} kernels share equally; got {task.context}")
    part = replace(task, context=task.context // groups)
    drawn: Prompts = fresh_prompts(part, count * groups, seed)
    assert drawn.context_states is not None
    states = drawn.context_states.astype(np.int64).reshape(count, task.context, task.length)
    kernel = np.tile(np.repeat(np.arange(groups), part.context), (count, 1))
    if shuffled:
        order = np.argsort(np.random.default_rng([seed, groups]).random(kernel.shape), axis=1)
        states, kernel = np.take_along_axis(states, order[:, :, None], 1), np.take_along_axis(kernel, order, 1)
    return states, kernel


def similarity(states: Int[np.ndarray, "P n L"]) -> Float[np.ndarray, "P n n"]:
    """Return ``1 - Hamming distance / length`` of every pair of chains."""
    return np.asarray((states[:, :, None] == states[:, None, :]).mean(-1))


def _contrast(
    name: str,
    layer: float,
    weights: Float[np.ndarray, "P n n"],
    kernel: Int[np.ndarray, "P n"],
    alike: Float[np.ndarray, "P n n"],
) -> list[Point]:
    """Compare attention within and between kernels over earlier chains, each row divided by its mean."""
    n = weights.shape[1]
    earlier = np.tril(np.ones((n, n), dtype=bool), -1)
    earlier[0] = False
    total = np.where(earlier, weights, 0).sum(-1, keepdims=True)
    share = weights * np.arange(n)[None, :, None] / np.maximum(total, 1e-12)
    same = kernel[:, :, None] == kernel[:, None, :]
    both = np.broadcast_to(earlier, same.shape)
    even = share[both].std() < 1e-12 or alike[both].std() < 1e-12
    correlation = 0.0 if even else float(np.corrcoef(share[both], alike[both])[0, 1])
    points = [Point(name, "correlation with similarity", layer, correlation)]
    if not same.all():
        within, between = (
            np.where(both & chosen, share, 0).sum((1, 2)) / (both & chosen).sum((1, 2)) for chosen in (same, ~same)
        )
        difference = within - between
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        points.append(Point(name, "within minus between", layer, float(difference.mean()), error))
    return points


def _picture(name: str, measure: str, values: Float[np.ndarray, "n n"]) -> list[Point]:
    return [Point(name, measure, float(i), float(v), None, float(k)) for (i, k), v in np.ndenumerate(values)]


def read(outcomes: Sequence[Outcome]) -> Finding:
    """Does attention follow the kernels, and more clearly in deeper layers?"""
    said, follows, deeper = [], [], []
    for groups in GROUPS[1:]:
        for order in ORDERS:
            line = series(outcomes, f"{groups} kernels, {order}", "within minus between")
            shown = ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(line.mean, line.deviation, strict=True))
            said.append(f"{groups} kernels {order}: {shown}")
            if order == ORDERS[1]:
                follows.append(_clearly_positive(line.values[:, -1]))
                deeper.append(_clearly_positive(line.values[:, -1] - line.values[:, 0]))
    likeness = series(outcomes, f"4 kernels, {ORDERS[1]}", "correlation with similarity")
    steps = outcomes[0].spec.training["steps"]
    kind = "differs" if not all(follows) else "holds" if all(deeper) else "holds in part"
    return Finding(
        f"{kind} after {steps:,} steps: the last layer {'follows' if all(follows) else 'does not follow'} the kernels, "
        f"{'more' if all(deeper) else 'not clearly more'} than the first",
        f"Attention to earlier chains of the same kernel minus that to others, over the mean, by layer, "
        f"{len(likeness.values)} seeds: {'; '.join(said)}. Correlation with similarity (4 kernels, random order): "
        f"{', '.join(f'{v:.2f}' for v in likeness.mean)}. What is above three standard errors over seeds counts.",
        "± deviation over seeds",
    )


def _clearly_positive(values: Float[np.ndarray, " seeds"]) -> bool:
    return bool(values.mean() > 3 * values.std(ddof=1) / np.sqrt(len(values)))


EXPERIMENT = Experiment("fig7", "attention maps against sequence similarity", compute, specs, read, 170)
