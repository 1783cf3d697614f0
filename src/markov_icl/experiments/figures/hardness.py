"""Hardness scaling: branching that global optimization needs, beside exact recovery, which needs none.

Nodes and not seconds: equal runs must have equal rows. ``markov-icl hardness scaling`` measures the seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from markov_icl.analysis.hardness_scaling import planted
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.features import vech_size
from markov_icl.hardness.global_nearest import nearest_globally
from markov_icl.hardness.instances import generate
from markov_icl.hardness.reduction import decide, reduce
from markov_icl.hardness.scip import require_scip
from markov_icl.recovery.factor import recover
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXACT", "EXPERIMENT", "GENERAL", "NEAREST"]

EXACT, NEAREST, GENERAL = "exact recovery", "nearest recovery", "general class"
_SCALES: dict[str, dict[str, Any]] = {
    "quick": {EXACT: [2, 4, 8, 15, 30], NEAREST: [1, 2, 3, 4], GENERAL: [1, 2, 3], "nodes": 2000},
    "paper": {EXACT: [2, 4, 8, 15, 30, 60], NEAREST: [1, 2, 3, 4, 5, 6], GENERAL: [1, 2, 3, 4], "nodes": 500_000},
}
"""Sizes: d, except for the general class, where they are the points' dimension n', with m' = k' = n' + 2 points."""


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return for each problem and size an instance a seed. There is no Markov task: the field holds the default."""
    numbers = _SCALES[scale]
    return tuple(
        Spec("hardness", what, MarkovTask(), settings={"size": size, "nodes": numbers["nodes"]}, seed=seed, scale=scale)
        for what in (EXACT, NEAREST, GENERAL)
        for size in reversed(numbers[what])
        for seed in range(seeds)
    )


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the nodes of one instance and whether it was solved to the end; ``x`` is d."""
    d, limit = spec.settings["size"], spec.settings["nodes"]
    if spec.part == EXACT:
        result = recover(planted(d, spec.seed)[2])
        nodes, solved = 0, result.recoverable and result.exact
    elif spec.part == NEAREST:
        X = np.random.default_rng([spec.seed, d]).standard_normal(d * vech_size(d + 1))
        found = nearest_globally(X, nodes=limit)
        nodes, solved = found.nodes, found.status == "optimal"
    else:
        reduction = reduce(generate("inseparable", d + 2, d + 2, d, seed=spec.seed))
        solution = decide(reduction, optimum=True, nodes=limit).solution
        d, nodes, solved = reduction.program.d, solution.nodes, solution.status == "optimal"
    return (Point(spec.part, "nodes", float(d), float(nodes)), Point(spec.part, "solved", float(d), float(solved)))


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Do nodes grow with size, and does exact recovery do without?"""
    limit = outcomes[0].spec.settings["nodes"]
    said, grows = [], []
    for name in (NEAREST, GENERAL):
        nodes, solved = series(outcomes, name, "nodes"), series(outcomes, name, "solved")
        middle = np.nanmedian(nodes.values, axis=0)
        grows.append(bool(middle[-1] > 10 * middle[0]))
        each = ", ".join(
            f"{m:,.0f} at d = {x:g}" + ("" if share == 1 else f" ({share:.0%} solved)")
            for x, m, share in zip(nodes.x, middle, solved.mean, strict=True)
        )
        said.append(f"{name}: {each}")
    exact = series(outcomes, EXACT, "solved")
    easy = bool((exact.values == 1).all())
    return Finding(
        "grows fast for nearest recovery and the general class; exact recovery never branches"
        if all(grows) and easy
        else "unclear at these sizes",
        f"Median nodes of SCIP's branch and bound over {len(exact.values)} instances, at most {limit:,}: "
        f"{'; '.join(said)}. Exact recovery in fractions solves all planted instances up to d = {exact.x[-1]:g} "
        "without branching. Growth on a few sizes illustrates hardness; the proofs are the reductions.",
        "SCIP 1e-6; exact recovery exact",
    )


EXPERIMENT = Figure(
    "hardness",
    "branching against size: exact and nearest recovery, general class",
    compute,
    specs,
    read,
    23,
    require_scip,
)
