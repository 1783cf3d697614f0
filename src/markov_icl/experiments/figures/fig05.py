"""Fig. 5: accuracy against ``d`` of the enlarged model and of linear self-attention.

The paper fits the enlarged model by least squares to 1,000 prompts. On those prompts it scores far above any
predictor; on fresh ones below the exact ``X*``. All curves stand beside the Bayes ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.analysis.scoring import fresh_prompts
from markov_icl.experiments.claims.claim import AboveCeiling, Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, score_points, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.experiments.runs.sweep import trained
from markov_icl.features import vech_indices
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models.predictors import Bayes, Enlarged, Realized, TorchModel
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import Prompts, sample_prompts

__all__ = ["ADAM", "BAYES", "BEST", "EXPERIMENT", "FRESH", "OPTIMUM", "OWN", "above_ceiling", "least_squares"]

OWN, FRESH = "least squares, its own prompts (as published)", "least squares, fresh prompts"
OPTIMUM, BEST, ADAM, BAYES = "exact X*", "certified best layer", "layer trained by Adam, fresh prompts", "Bayes"
_FITTED = 1000
_SCALES = {
    "quick": {"steps": 1000, "fresh": 4000, "exact": 20_000},
    "paper": {"steps": 1000, "fresh": 50_000, "exact": 100_000},
}
"""The fits are the paper's at both scales; the paper's own scores are over the 1,000 fitted prompts."""
_LENGTHS = range(2, 12)


def _task(length: int) -> MarkovTask:
    return MarkovTask(length=length, context=100)


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return for each ``d``, longest first, the exact predictors, then the fits of every seed."""
    numbers = _SCALES[scale]
    training = {"device": "cpu", "rate": 0.01, "steps": numbers["steps"], "batch": _FITTED, "prompts": _FITTED}
    exact = [
        Spec("fig5", f"exact, d={L - 1}", _task(L), settings={"prompts": numbers["exact"]}, scale=scale)
        for L in reversed(_LENGTHS)
    ]
    model: dict[str, Any] = {"kind": "lsa", "form": "dense"}
    settings = {"fitted": _FITTED, "prompts": numbers["fresh"]}
    fits = [
        Spec("fig5", f"fits, d={L - 1}", _task(L), model, training, settings, seed, scale)
        for L in reversed(_LENGTHS)
        for seed in range(seeds)
    ]
    return (*exact, *fits)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the scores of the exact predictors, or of both fits of one seed."""
    assert isinstance(spec.task, MarkovTask)
    d = float(spec.task.length - 1)
    fresh = fresh_prompts(spec.task, spec.settings["prompts"], spec.seed)
    if spec.part.startswith("exact"):
        form, proof = minimizer(spec.task, "dense"), certify(spec.task)
        best = Realized(proof.b[None], proof.A[None], BEST)
        return (
            Point(OPTIMUM, "population loss", d, form.loss),
            Point(BEST, "population loss", d, proof.upper),
            Point(BEST, "lower bound", d, proof.lower),
            *score_points(spec.task, [Bayes(spec.task), Enlarged(form.X, OPTIMUM), best], fresh, d),
        )
    own = sample_prompts(spec.task, spec.settings["fitted"], np.random.default_rng([spec.seed, int(d)]))
    X = least_squares(own)
    adam = TorchModel(trained(spec, held_out=2).model, ADAM)
    return (
        *score_points(spec.task, [Enlarged(X, OWN)], own, float(d)),
        *score_points(spec.task, [Enlarged(X, FRESH), adam], fresh, d),
    )


def least_squares(prompts: Prompts) -> Float[np.ndarray, " N"]:
    """Return the point of the enlarged space that fits these prompts best, the shortest one if there are several."""
    rows, columns = vech_indices(prompts.gram.shape[1])
    g = prompts.gram[:, rows, columns]
    design = (prompts.query[:, :, None] * g[:, None, :]).reshape(len(g), -1)
    return np.asarray(np.linalg.lstsq(design, prompts.target, rcond=None)[0])


@dataclass(frozen=True)
class _Ends:
    """Mean accuracies at the largest ``d``."""

    own: float
    fresh: float
    adam: float
    optimum: float
    best: float
    bayes: float


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Is the enlarged model better, with a gap that grows in ``d``; and which curves lie above the ceiling?"""
    names = {"own": OWN, "fresh": FRESH, "adam": ADAM, "optimum": OPTIMUM, "best": BEST, "bayes": BAYES}
    lines = {key: series(outcomes, name, "accuracy") for key, name in names.items()}
    end = _Ends(**{key: float(line.mean[-1]) for key, line in lines.items()})
    seeds, d = len(lines["own"].values), lines["own"].x
    above = d[(lines["own"].values - lines["bayes"].values).min(0) > 4 * lines["bayes"].errors[0]]
    gap = series(outcomes, BEST, "population loss").values[0] - series(outcomes, OPTIMUM, "population loss").values[0]
    published = lines["own"].mean - lines["adam"].mean
    grows, seems_to = (bool(v[-1] > v[len(v) // 2] > v[0]) for v in (gap, published))
    better = bool((gap > -1e-9).all())
    deviation = lines["fresh"].deviation[-1]
    where = "with d" if grows else "only on the fitted prompts" if seems_to else "nowhere"
    kind, is_better = "holds" if better and grows else "differs", "better" if better else "not better"
    return Finding(
        f"{kind}: the enlarged model is {is_better}, and its lead grows {where}",
        f"d = {d[-1]:g}, {seeds} seeds: least squares scores {end.own:.3f} on its own 1,000 prompts, above the Bayes "
        f"ceiling {end.bayes:.3f} (so for all seeds at d = {', '.join(f'{v:g}' for v in above)}), and {end.fresh:.3f} "
        f"(deviation {deviation:.3f}) on fresh ones, against {end.adam:.3f} of the trained layer. The exact X* scores "
        f"{end.optimum:.3f}, the certified best layer {end.best:.3f}; the gap of their losses over all prompts for "
        f"d = {d[0]:g}..{d[-1]:g}: {', '.join(f'{v:.4f}' for v in gap)}.",
        f"accuracies ± {lines['bayes'].errors[0, -1]:.3f}",
        _marks(float(d[-1]), end.own, end.bayes),
    )


def above_ceiling(d: int = 10, prompts: int = 10_000) -> tuple[AboveCeiling, ...]:
    """Return the score on its own prompts, as published, if it is above the ceiling; one seed, without any training.

    Args:
        d: which point of the figure.
        prompts: the ceiling is a mean over so many fresh ones.
    """
    task = _task(d + 1)
    own = sample_prompts(task, _FITTED, np.random.default_rng([0, d]))
    flattered = score_points(task, [Enlarged(least_squares(own), OWN)], own, float(d))
    honest = score_points(task, [Bayes(task)], fresh_prompts(task, prompts, 0), float(d))
    value, ceiling = (next(p.value for p in scores if p.measure == "accuracy") for scores in (flattered, honest))
    return _marks(float(d), value, ceiling)


def _marks(d: float, own: float, ceiling: float) -> tuple[AboveCeiling, ...]:
    what = f"accuracy at d = {d:g} of {OWN}"
    return (AboveCeiling(what, own, ceiling, "recomputed"),) if own > ceiling else ()


EXPERIMENT = Figure("fig5", "accuracy against d: enlarged space and one layer", compute, specs, read, 225)
