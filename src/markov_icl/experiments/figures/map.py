"""Realizability map: where over ``(n, p)`` transformer parameters reach the enlarged optimum of length 2."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from markov_icl.analysis.realizability import RealizabilityMap, realizability_map
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point
from markov_icl.experiments.runs.spec import Spec
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "assemble"]

_SCALES = {"quick": {"starts": 40, "contexts": 30}, "paper": {"starts": 100, "contexts": 200}}
"""Start probabilities are the fractions ``i / starts`` inside (0, 1)."""
_CURVE = "X*"


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return the single run; nothing is random. The task's own start and context are those of no grid point."""
    assert seeds >= 1
    return (Spec("map", "map", MarkovTask(length=2), settings=_SCALES[scale], scale=scale),)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return discriminant, ``f~*`` and the formula's ``(b, A)`` at every point; ``x`` is n, ``y`` is p."""
    starts, most = spec.settings["starts"], spec.settings["contexts"]
    chart = realizability_map([Fraction(i, starts) for i in range(1, starts)], list(range(1, most + 1)))
    points = []
    for i, p in enumerate(chart.p):
        for k, n in enumerate(chart.n):
            values = {"discriminant": float(chart.discriminant[i, k]), "loss": float(chart.loss[i, k])}
            if np.isfinite(chart.b[i, k]).all():
                values |= {f"b{r + 1}": float(chart.b[i, k, r]) for r in range(2)}
                values |= {f"a{r + 1}": float(chart.A[i, k, r]) for r in range(2)}
            points += [Point(_CURVE, measure, float(n), value, None, float(p)) for measure, value in values.items()]
    return (*points, Point(_CURVE, "formula error", 0.0, chart.formula_error))


def assemble(outcomes: Sequence[FinishedRun]) -> RealizabilityMap:
    """Return the map that the rows make up; its discriminants have float64's digits and the exact signs."""
    settings = outcomes[0].spec.settings
    p = tuple(Fraction(i, settings["starts"]) for i in range(1, settings["starts"]))
    n = tuple(range(1, settings["contexts"] + 1))
    rows = {float(v): i for i, v in enumerate(p)}
    values = {m: np.full((len(p), len(n)), np.nan) for m in ("discriminant", "loss", "b1", "b2", "a1", "a2")}
    error = np.nan
    for point in outcomes[0].points:
        if point.y is None:
            error = point.value
        else:
            values[point.measure][rows[point.y], int(point.x) - 1] = point.value
    discriminant = np.array([[Fraction(float(v)) for v in row] for row in values["discriminant"]], dtype=object)
    b, A = (np.stack([values[f"{name}1"], values[f"{name}2"]], axis=2) for name in "ba")
    return RealizabilityMap(p, n, discriminant, values["loss"], b, A, error)


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Where is the optimum within reach, and from which context on?"""
    chart = assemble(outcomes)
    yes = chart.realizable
    middle = len(chart.p) // 2
    first = [int(row.argmax()) + 1 if row.any() else None for row in yes]
    stays = all(row[row.argmax() :].all() for row in yes if row.any())
    never = [float(p) for p, k in zip(chart.p, first, strict=True) if k is None]
    listed = ", ".join(f"{float(chart.p[i]):g}: {first[i] or 'nowhere'}" for i in _spread(len(chart.p)))
    none = f"; for no context up to {chart.n[-1]} at p = {', '.join(f'{v:g}' for v in never)}" if never else ""
    return Finding(
        f"reachable where X₂² ≥ 4X₁X₃: from n = {first[middle]} on at p = {float(chart.p[middle]):g}",
        f"Length 2, uniform prior, exact fractions at {yes.size:,} points: real parameters reach the enlarged optimum "
        f"at {yes.mean():.0%}. Smallest context at which they do, by p: {listed}{none}. "
        f"{'Once reached it stays reached' if stays else 'It is lost again at larger contexts somewhere'} up to "
        f"n = {chart.n[-1]}. Where Theorem 3.3's formula is real it reproduces X* to {chart.formula_error:.0e}.",
        "exact; formula in float64",
    )


def _spread(count: int) -> list[int]:
    """Return five indices from both ends and between."""
    return sorted({round(share * (count - 1)) for share in (0, 0.25, 0.5, 0.75, 1)})


EXPERIMENT = Figure("map", "where one layer reaches the enlarged optimum, length 2", compute, specs, read, 3)
