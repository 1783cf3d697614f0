"""Heads curve: the best loss found with ``r`` heads, from the one-layer optimum down to the enlarged one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, curves, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.landscape.minimizer import minimizer
from markov_icl.moments.compute import compute_moments
from markov_icl.recovery.heads.heads import heads
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT"]

_SCALES: dict[str, dict[str, Any]] = {
    "quick": {"lengths": [2, 3, 4, 5], "contexts": [1, 10, 100], "starts": 16},
    "paper": {"lengths": [2, 3, 4, 5, 6, 7, 8], "contexts": [1, 10, 100, 1000], "starts": 64},
}
_EXACT_UP_TO = 5
"""Longer tasks have no exact ``X*`` in reasonable time: their bounds on the number of heads are numerical."""


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return a run a task, longest first; the searches' starts are seeded by 0."""
    assert seeds >= 1
    numbers = _SCALES[scale]
    settings = {"starts": numbers["starts"], "tolerance": 1e-10}
    return tuple(
        Spec("heads", f"length {L}, n = {n}", MarkovTask(length=L, context=n), settings=settings, scale=scale)
        for L in reversed(numbers["lengths"])
        for n in numbers["contexts"]
    )


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the best losses by number of heads, ``f~*``, and the bounds on the fewest heads without a gap."""
    task = spec.task
    assert isinstance(task, MarkovTask)
    exact = minimizer(task, "rational").X_exact if task.length <= _EXACT_UP_TO else None
    curve = heads(
        compute_moments(task), starts=spec.settings["starts"], minimizer=exact, tolerance=spec.settings["tolerance"]
    )
    proved = float(curve.at_least.kind == curve.at_most.kind == "exact")
    return (
        *(Point(spec.part, "loss", float(r), float(loss)) for r, loss in enumerate(curve.losses, start=1)),
        *(Point(spec.part, "gap", float(r), float(gap)) for r, gap in enumerate(curve.gaps, start=1)),
        Point(spec.part, "enlarged optimum", 0.0, curve.floor),
        Point(spec.part, "heads needed, at least", 0.0, float(curve.at_least.heads)),
        Point(spec.part, "heads needed, at most", 0.0, float(curve.at_most.heads)),
        Point(spec.part, "bounds exact", 0.0, proved),
    )


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """How many heads leave no gap, and how much does each one close?"""
    said, proved, fewer = [], 0, 0
    names = curves(outcomes, "loss")
    for name in names:
        gaps = series(outcomes, name, "gap")
        low, high, exact = (
            series(outcomes, name, measure).values[0, 0]
            for measure in ("heads needed, at least", "heads needed, at most", "bounds exact")
        )
        proved += bool(exact and low == high)
        fewer += bool(high < len(gaps.x))
        needed = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        shown = ", ".join(f"{v:.2g}" if v > outcomes[0].spec.settings["tolerance"] else "0" for v in gaps.values[0])
        said.append(f"{name}: {needed} (gaps {shown})")
    return Finding(
        f"heads needed proved in {proved} of {len(names)} tasks; in {fewer} of them fewer than d + 1",
        f"Fewest heads whose best loss is f~*, with the gaps of 1, 2, ... heads: {'; '.join(said)}. Losses are upper "
        "bounds from local search; with one head `gap` certifies them.",
        f"{outcomes[0].spec.settings['tolerance']:g} squared states",
    )


EXPERIMENT = Figure("heads", "best loss against the number of heads", compute, specs, read, 6)
