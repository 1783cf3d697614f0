"""Fig. 10: the population loss along the first six coordinates of ``X``, length 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, curves, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.landscape.minimizer import minimizer
from markov_icl.landscape.slices import coordinate_slices
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT"]


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return the single run; nothing is random."""
    assert seeds >= 1
    settings = {"coordinates": 6, "radius": 1.0, "points": 81}
    return (Spec("fig10", "slices", MarkovTask(length=3, context=100), settings=settings, scale=scale),)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the loss along every slice, and the minimizer's place on it."""
    chosen = range(spec.settings["coordinates"])
    result = coordinate_slices(minimizer(spec.task), chosen, spec.settings["radius"], spec.settings["points"])
    points = []
    for c, label in enumerate(result.labels):
        lines = zip(result.values[c].tolist(), result.losses[c].tolist(), strict=True)
        points += [Point(label, "loss", x, loss) for x, loss in lines]
        points.append(Point(label, "minimizer", float(result.minimizer[c]), result.loss))
    return tuple(points)


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Is the minimizer the lowest point of every slice?"""
    names = curves(outcomes, "loss")
    lowest = []
    for name in names:
        line, mark = series(outcomes, name, "loss"), series(outcomes, name, "minimizer")
        place = int(np.abs(line.x - mark.x[0]).argmin())
        lowest.append(int(line.values[0].argmin()) == place and mark.values[0, 0] <= line.values[0].min() + 1e-12)
    return Finding(
        "holds" if all(lowest) else "differs",
        f"Length 3, n = 100: the minimizer, loss {mark.values[0, 0]:.8f}, is the lowest point of {sum(lowest)} of "
        f"{len(names)} slices. Each is a parabola whose curvature is a diagonal entry of H.",
        "1e-12 squared states",
    )


EXPERIMENT = Figure("fig10", "loss along six coordinates of X", compute, specs, read, 2)
