"""Certified gap: what real parameters of one layer cost, against length and context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "CertifiedGap", "assemble"]

_CONTEXTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
_SCALES: dict[str, dict[str, Any]] = {
    "quick": {"lengths": [2, 3, 4, 5, 6, 7], "contexts": _CONTEXTS},
    "paper": {"lengths": list(range(2, 12)), "contexts": _CONTEXTS},
}
_TOLERANCE = 1e-6
"""Of the certificates, in squared states."""


@dataclass(frozen=True, eq=False)
class CertifiedGap:
    """Certified losses over transformer parameters beside the enlarged optimum; uniform prior and starts.

    Attributes:
        lengths: ``[L]``.
        contexts: ``[C]``.
        floor: ``f~*``, squared states, ``[L, C]``.
        lower: verified lower bound on ``f*``, ``[L, C]``.
        upper: loss attained, ``[L, C]``.
        certified: whether the interval is within the tolerance, ``[L, C]``.
    """

    lengths: tuple[int, ...]
    contexts: tuple[int, ...]
    floor: Float[np.ndarray, "L C"]
    lower: Float[np.ndarray, "L C"]
    upper: Float[np.ndarray, "L C"]
    certified: np.ndarray


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return a run a point, longest first; nothing is random."""
    assert seeds >= 1
    numbers = _SCALES[scale]
    settings = {"tolerance": _TOLERANCE}
    return tuple(
        Spec("gap", f"length {L}, n = {n}", MarkovTask(length=L, context=n), settings=settings, scale=scale)
        for L in reversed(numbers["lengths"])
        for n in numbers["contexts"]
    )


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return ``f~*`` and the verified interval of ``f*``; ``x`` is n."""
    task = spec.task
    assert isinstance(task, MarkovTask)
    proof = certify(task, spec.settings["tolerance"])
    values = {
        "enlarged optimum": minimizer(task, "dense").loss,
        "lower bound": proof.lower,
        "loss attained": proof.upper,
        "certified": float(proof.status == "certified"),
    }
    return tuple(Point(f"length {task.length}", name, float(task.context), value) for name, value in values.items())


def assemble(outcomes: Sequence[FinishedRun]) -> CertifiedGap:
    """Return the grid that the runs make up."""
    lengths = sorted({o.spec.task.length for o in outcomes if isinstance(o.spec.task, MarkovTask)})
    columns = {
        measure: np.array([series(outcomes, f"length {L}", measure).values[0] for L in lengths])
        for measure in ("enlarged optimum", "lower bound", "loss attained", "certified")
    }
    contexts = tuple(int(x) for x in series(outcomes, f"length {lengths[0]}", "certified").x)
    floor, lower, upper, certified = columns.values()
    return CertifiedGap(tuple(lengths), contexts, floor, lower, upper, certified > 0)


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Where is there a gap, how large is it, and does it vanish as the context grows?"""
    gap = assemble(outcomes)
    proved = gap.lower > gap.floor
    largest = gap.upper - gap.floor
    n = np.array(gap.contexts)
    open_from = next((L for i, L in enumerate(gap.lengths) if proved[i:].all()), None)
    falls = [f"{L}: {largest[i, -2] / largest[i, -1]:.2f}" for i, L in enumerate(gap.lengths) if proved[i, -2:].all()]
    shown = "; ".join(
        f"length {L}: {', '.join(f'{largest[i, k]:.2g} (n = {n[k]})' for k in (0, len(n) // 2, -1))}"
        for i, L in enumerate(gap.lengths)
    )
    everywhere = f"positive at every context from length {open_from} on" if open_from else "not positive everywhere"
    return Finding(
        f"certified at {int(gap.certified.sum())} of {gap.certified.size} points; {everywhere}",
        f"f* - f~*, uniform prior and starts: {shown}. Proved positive (lower bound above f~*) at "
        f"{int(proved.sum())} points. From n = {n[-2]} to n = {n[-1]} it falls by a factor, by length, of "
        f"{', '.join(falls) or 'nothing'}, where 1/n would give {n[-1] / n[-2]:g}.",
        f"{outcomes[0].spec.settings['tolerance']:g} squared states",
    )


EXPERIMENT = Figure("gap", "certified gap of one layer against length and context", compute, specs, read, 24)
