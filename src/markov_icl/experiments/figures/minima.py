"""Local minima of one layer: which share of random starts ends in each, and how many starts find the global one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point
from markov_icl.experiments.runs.spec import Spec
from markov_icl.recovery.search.fit import best
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "Basins", "basins"]

_SCALES: dict[str, dict[str, Any]] = {
    "quick": {"tasks": [(3, 1), (3, 10), (3, 100), (4, 10), (5, 10)], "starts": 100},
    "paper": {
        "tasks": [(L, n) for L in (3, 4, 5, 6) for n in (1, 10, 100, 1000)],
        "starts": 2000,
    },
}
_SAME = 1e-8
"""Minima of two seeds are one when their losses differ by at most this, in squared states."""


@dataclass(frozen=True, eq=False)
class Basins:
    """The minima of one task over seeds.

    Attributes:
        losses: of the distinct minima, ascending, squared states, ``[M]``.
        shares: of random starts that ended there, ``[seeds, M]``; what is missing to 1 ended elsewhere.
        lower: certified lower bound on the best loss.
        upper: loss that the certificate's parameters attain.
    """

    losses: Float[np.ndarray, " M"]
    shares: Float[np.ndarray, "seeds M"]
    lower: float
    upper: float

    @property
    def global_share(self) -> Float[np.ndarray, " seeds"]:
        """Return the share of starts whose end is within the certified interval or below its upper end."""
        reached = self.losses <= self.upper + _SAME
        return np.asarray(self.shares[:, reached].sum(1))


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return for each task the certificate and a search a seed."""
    numbers = _SCALES[scale]
    found = []
    for L, n in numbers["tasks"]:
        name, task = f"length {L}, n = {n}", MarkovTask(length=L, context=n)
        found.append(Spec("minima", f"certificate, {name}", task, scale=scale))
        settings = {"starts": numbers["starts"]}
        found += [Spec("minima", name, task, settings=settings, seed=seed, scale=scale) for seed in range(seeds)]
    return tuple(found)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the minima found from one seed's starts with the share of each; or the certificate of the best loss."""
    name = spec.part.removeprefix("certificate, ")
    assert isinstance(spec.task, MarkovTask)
    if name != spec.part:
        proof = certify(spec.task)
        return (Point(name, "lower bound", 0.0, proof.lower), Point(name, "loss attained", 0.0, proof.upper))
    starts = spec.settings["starts"]
    fit = best(spec.task, starts=starts, seed=spec.seed, informed=False)
    points = []
    for k, one in enumerate(fit.minima, start=1):
        share = one.random_starts / starts
        points.append(Point(name, "loss", float(k), one.loss))
        points.append(Point(name, "share", float(k), share, float(np.sqrt(share * (1 - share) / starts))))
    elsewhere = (fit.saddles + fit.unconverged) / starts
    return (*points, Point(name, "share, no minimum", 0.0, elsewhere))


def basins(outcomes: Sequence[FinishedRun]) -> dict[str, Basins]:
    """Return the minima of every task, those of different seeds matched by their losses."""
    found: dict[str, Basins] = {}
    for proof in (o for o in outcomes if o.spec.part.startswith("certificate, ")):
        name = proof.spec.part.removeprefix("certificate, ")
        bounds = {p.measure: p.value for p in proof.points}
        runs = [_pairs(o) for o in outcomes if o.spec.part == name]
        losses: list[float] = []
        for loss in sorted(loss for run in runs for loss, _ in run):
            if not losses or loss - losses[-1] > _SAME:
                losses.append(loss)
        shares = np.zeros((len(runs), len(losses)))
        for row, run in zip(shares, runs, strict=True):
            for loss, share in run:
                row[int(np.abs(np.array(losses) - loss).argmin())] += share
        found[name] = Basins(np.array(losses), shares, bounds["lower bound"], bounds["loss attained"])
    return found


def _pairs(outcome: FinishedRun) -> list[tuple[float, float]]:
    values = {m: {p.x: p.value for p in outcome.points if p.measure == m} for m in ("loss", "share")}
    return [(loss, values["share"][x]) for x, loss in values["loss"].items()]


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Do random starts find the global minimum?"""
    said, misses, trapped = [], 0, 0
    found = basins(outcomes)
    for name, one in found.items():
        mean, deviation = one.global_share.mean(), one.global_share.std(ddof=1) if len(one.shares) > 1 else 0.0
        trapped += len(one.losses) > 1
        misses += bool(mean < 0.5)
        ends = ", ".join(f"{loss:.7f} {share:.0%}" for loss, share in zip(one.losses, one.shares.mean(0), strict=True))
        said.append(f"{name}: global {mean:.0%} ± {deviation:.0%} ({ends})")
    starts = max(o.spec.settings.get("starts", 0) for o in outcomes)
    seeds = max(len(one.shares) for one in found.values())
    return Finding(
        f"minima that are not global in {trapped} of {len(found)} tasks; most starts miss the global one in {misses}",
        f"Share of {starts:,} random starts that end in each minimum (loss, share), mean and deviation over {seeds} "
        f"seeds: {'; '.join(said)}. Global means within the certified interval. Starts are Gaussian b, every second "
        "one in coordinates that balance the loss, with A eliminated and Newton steps to the end; another law of "
        "starts or another descent has other shares.",
        f"losses {_SAME:g}; global 1e-6",
    )


EXPERIMENT = Figure("minima", "local minima against random starts", compute, specs, read, 13)
