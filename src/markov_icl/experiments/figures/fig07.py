"""Fig. 7: does attention follow the kernels? Three blocks on prompts whose chains come from 1, 2 or 4 of them.

Chains of one kernel stand side by side, as published, and once more in random order: positions are learned, so only
the second shows what follows from the chains themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.analysis.kernel_attention import kernel_attention
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.experiments.runs.sweep import trained
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "GROUPS", "ORDERS"]

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
    task, count = spec.task, spec.settings["prompts"]
    assert isinstance(task, MarkovTask)
    model = trained(spec, held_out=2).model
    points = []
    for groups in GROUPS:
        for order in ORDERS:
            found = kernel_attention(model, task, groups, count, spec.seed, shuffled=order == ORDERS[1])
            name = f"{groups} kernels, {order}"
            drawn = spec.seed == 0 and order == ORDERS[0]
            for layer, (weights, one) in enumerate(zip(found.weights, found.contrasts, strict=True), start=1):
                points.append(Point(name, "correlation with similarity", float(layer), one.correlation))
                if groups > 1:
                    points.append(Point(name, "within minus between", float(layer), one.difference, one.error))
                points += _picture(name, f"attention, layer {layer}", weights.mean(0)) if drawn else []
            points += _picture(name, "similarity", found.alike.mean(0)) if drawn else []
    return tuple(points)


def _picture(name: str, measure: str, values: Float[np.ndarray, "n n"]) -> list[Point]:
    return [Point(name, measure, float(i), float(v), None, float(k)) for (i, k), v in np.ndenumerate(values)]


def read(outcomes: Sequence[FinishedRun]) -> Finding:
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


EXPERIMENT = Figure("fig7", "attention maps against sequence similarity", compute, specs, read, 170)
