"""Fig. 2: a trained ten-layer model, layer by layer, over several seeds; does it do what the figure is said to show?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.choices import unknown
from markov_icl.depth.profile import FRONTS, Profile, profile
from markov_icl.depth.restricted import best_restricted
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, measures, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "SCALES", "FigureTwo", "Scale", "assemble", "profile_points", "read_figure_two", "rises"]

TASK = MarkovTask(length=5, context=100)
_DEPTH, _BOX = 10, 2.0


@dataclass(frozen=True)
class Scale:
    """How much is spent.

    Attributes:
        steps: of Adam.
        batch: fresh prompts a step.
        rate: learning rate.
        prompts: scores and objectives are means over so many.
        fronts: prompts with Pareto fronts.
    """

    steps: int
    batch: int
    rate: float
    prompts: int
    fronts: int


SCALES = {
    "quick": Scale(steps=500, batch=256, rate=0.01, prompts=2000, fronts=12),
    "paper": Scale(steps=10_000, batch=1000, rate=0.003, prompts=20_000, fronts=100),
}
"""The paper gives the task (100 chains of length 5, Bernoulli(1/2) starts, 10 layers); the training is our choice."""


@dataclass(frozen=True, eq=False)
class FigureTwo:
    """The figure over several seeds, layer 0 being the input.

    Attributes:
        losses: mean squared error of every layer, ``[seeds, L1]``.
        accuracies: share of queries rounded to the right state, ``[seeds, L1]``.
        first: means of the objectives ``R1`` over prompts, ``[seeds, L1, D]``.
        second: the same of ``R2``.
        distances: Generational Distance (mean convention) to each front of ``FRONTS``, ``[seeds, L1]``.
        trained: loss of the trained models on the prompts that judged them, ``[seeds]``.
        bayes: loss and accuracy of the Bayes predictor on the first seed's prompts.
        box: of the fronts.
        front_prompts: how many prompts of a seed have fronts.
    """

    losses: Float[np.ndarray, "seeds L1"]
    accuracies: Float[np.ndarray, "seeds L1"]
    first: Float[np.ndarray, "seeds L1 D"]
    second: Float[np.ndarray, "seeds L1 D"]
    distances: dict[str, Float[np.ndarray, "seeds L1"]]
    trained: Float[np.ndarray, " seeds"]
    bayes: tuple[float, float]
    box: float
    front_prompts: int

    def closest(self, front: str) -> tuple[int, ...]:
        """Return the layer nearest to the front, for each seed."""
        return tuple(int(k) for k in self.distances[front].argmin(1))

    def rises(self, group: str) -> tuple[int | None, ...]:
        """Return the layer from which all objectives of ``R1``, ``R2`` or ``both`` rise to the end, for each seed."""
        parts = {"R1": (self.first,), "R2": (self.second,), "both": (self.first, self.second)}[group]
        return tuple(rises(values) for values in np.concatenate(parts, axis=2))

    @property
    def trades(self) -> tuple[bool, ...]:
        """Return, for each seed, whether after the least sum of R1's linear objectives they rise and the loss falls."""
        found = []
        for values in self.first:
            lowest = int(values[:, :-1].sum(1).argmin())
            found.append(bool(lowest < len(values) - 1 and values[-1, -1] < values[lowest, -1]))
        return tuple(found)


def rises(values: Float[np.ndarray, "L1 K"]) -> int | None:
    """Return the first layer after which every objective rises in every layer to the end; None if the last does not."""
    up = np.all(values[1:] > values[:-1], axis=1)
    if not up[-1]:
        return None
    down = np.flatnonzero(np.logical_not(up))
    return int(down[-1]) + 1 if len(down) else 0


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return one training a seed.

    Raises:
        ValueError: for an unknown scale.
    """
    if scale not in SCALES:
        raise unknown("a scale,", scale, SCALES)
    chosen = SCALES[scale]
    training = {"steps": chosen.steps, "batch": chosen.batch, "rate": chosen.rate}
    settings = {"prompts": chosen.prompts, "fronts": chosen.fronts, "box": _BOX}
    model = {"kind": "lsa", "form": "restricted", "depth": _DEPTH}
    return tuple(Spec("fig2", "restricted", TASK, model, training, settings, seed, scale) for seed in range(seeds))


def compute(spec: Spec) -> tuple[Point, ...]:
    """Train a restricted model and follow it through its layers."""
    fit = best_restricted(spec.task, spec.model["depth"], seed=spec.seed, **spec.training)
    found = profile(fit.model, spec.task, seed=spec.seed, **spec.settings)
    return (Point("trained", "loss", float(spec.model["depth"]), fit.loss, fit.loss_se), *profile_points(found))


def profile_points(found: Profile) -> tuple[Point, ...]:
    """Return a profile as rows; ``x`` is the layer."""
    points = []
    for row in found.layers:
        x = float(row.layer)
        points += [
            Point("layers", "loss", x, row.loss, row.loss_se),
            Point("layers", "accuracy", x, row.accuracy, row.accuracy_se),
        ]
        for name, values in (("R1", row.first), ("R2", row.second)):
            points += [Point("layers", f"{name}_{k}", x, float(v)) for k, v in enumerate(values, start=1)]
        points += [Point("layers", f"distance to {name}", x, d.mean, d.mean_se) for name, d in row.distance.items()]
    if found.bayes is not None:
        bayes = (("loss", found.bayes.loss), ("accuracy", found.bayes.accuracy))
        points += [Point("Bayes", measure, 0.0, value) for measure, value in bayes]
    return tuple(points)


def assemble(outcomes: Sequence[FinishedRun]) -> FigureTwo:
    """Return the figure that the runs of several seeds make up."""
    spec = outcomes[0].spec
    layers = {m: series(outcomes, "layers", m).values for m in measures(outcomes, "layers")}
    objectives = [
        np.stack([layers[f"{name}_{k}"] for k in range(1, spec.task.dimension + 1)], axis=2) for name in ("R1", "R2")
    ]
    bayes = [float(series(outcomes, "Bayes", measure).values[0, 0]) for measure in ("loss", "accuracy")]
    return FigureTwo(
        layers["loss"],
        layers["accuracy"],
        objectives[0],
        objectives[1],
        {name: layers[f"distance to {name}"] for name in FRONTS},
        series(outcomes, "trained", "loss").values[:, -1],
        (bayes[0], bayes[1]),
        spec.settings["box"],
        spec.settings["fronts"],
    )


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Do the first layers approach the front, and do all objectives rise together later?"""
    return read_figure_two(assemble(outcomes))


def read_figure_two(figure: FigureTwo) -> Finding:
    """Read the two statements off the figure, seed by seed.

    A seed approaches a front if some layer is at less than half the input's distance.
    """
    seeds, depth = len(figure.losses), figure.losses.shape[1] - 1
    said, approaches = [], []
    for name, front in (("R1", "R1"), ("R2 in w_d", "R2, w_J"), ("both groups", "both")):
        distance = figure.distances[front]
        approaches.append(distance.min(1) < distance[:, 0] / 2)
        start, least, last = (_listed(v, "{:.3f}") for v in (distance[:, 0], distance.min(1), distance[:, -1]))
        where = _listed(figure.closest(front), "{}")
        said.append(f"{name} {start} at the input, least {least} (layers {where}), {last} at the end")
    together = [k for k in figure.rises("both") if k is not None]
    approach = "holds" if np.all(approaches) else "holds for some seeds"
    rise = "not seen" if not together else f"seen in {len(together)} of {seeds} seeds"
    losses = _listed(figure.trained, "{:.4f}")
    corner = figure.distances["R2"]
    return Finding(
        f"{approach} for the approach; joint rise {rise}",
        f"{depth} layers, {seeds} seeds, Adam on fresh prompts, loss {losses} (Bayes {figure.bayes[0]:.4f}). "
        f"Generational Distance, |w_k| <= {figure.box:g}: {'; '.join(said)}. Seeds in which all "
        f"{2 * figure.first.shape[2]} objectives rise up to the last layer: {len(together)}. Instead, in "
        f"{sum(figure.trades)} of {seeds} the sum of R1's linear objectives rises late while its squared loss falls. "
        "All but that loss are unbounded below, so a front exists only in a box: R1's is every w at or above least "
        "squares, and w starts below it, at 0; R2's with all of w free is a corner of the box, to which the nearest "
        f"layer is at {(corner.min(1) / corner[:, 0]).min():.0%} of the input's distance.",
        f"{figure.front_prompts} prompts with fronts a seed",
    )


def _listed(values: Iterable[float | int], form: str) -> str:
    return ", ".join(form.format(v) for v in values)


EXPERIMENT = Figure("fig2", "ten restricted layers as descent on several objectives", compute, specs, read, 31)
