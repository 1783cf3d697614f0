"""Fig. 3: accuracy against layers for 2 to 4 states, under several priors, beside what any predictor can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from markov_icl.analysis.scoring import fresh_prompts
from markov_icl.experiments.claims.claim import AboveCeiling, Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, score_points, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.experiments.runs.sweep import trained
from markov_icl.models.predictors import Bayes, PosteriorMean, TorchModel
from markov_icl.tasks.kernels import symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["EXPERIMENT", "LAYERS", "PAPER", "PRIORS", "STATES", "above_ceiling", "curve_name"]

STATES, LAYERS = (2, 3, 4), (1, 2, 3)
PRIORS = ("1", "1/10", "1/100")
"""Concentration of the Dirichlet rows; the paper's text names none, 1 is uniform."""
PAPER = {1: 0.55, 3: 0.98}
"""What the paper reports for three states, layers to accuracy."""
_SCALES: dict[str, dict[str, Any]] = {
    "quick": {"steps": 800, "batch": 400},
    "paper": {"steps": 20_000, "batch": 1000},
}
_FRESH, _CEILING = 5000, 40_000
_RATES = (0.01, 0.003, 0.001)
_SCALE = 0.05


def _task(states: int, concentration: str) -> MarkovTask:
    return MarkovTask(states=states, length=6, context=10, prior=symmetric_dirichlet(states, 1, concentration))


def curve_name(states: int, concentration: str) -> str:
    """Return the curve's name in the rows."""
    return f"{states} states, Dirichlet({concentration})"


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return for each prior and number of states the ceilings, then one training a depth and seed."""
    found = []
    for concentration in PRIORS:
        for states in STATES:
            name, task = curve_name(states, concentration), _task(states, concentration)
            found.append(Spec("fig3", f"ceiling, {name}", task, settings={"prompts": _CEILING}, scale=scale))
            for depth in LAYERS:
                model = {"kind": "lsa", "form": "dense", "depth": depth, "scale": _SCALE}
                training = {"device": "cpu", "optimizer": "adam", **_SCALES[scale]}
                settings = {"prompts": _FRESH, "rates": list(_RATES)}
                found += [Spec("fig3", name, task, model, training, settings, seed, scale) for seed in range(seeds)]
    return tuple(found)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the accuracy of one trained model, or the ceilings."""
    fresh = fresh_prompts(spec.task, spec.settings["prompts"], spec.seed)
    name = spec.part.removeprefix("ceiling, ")
    if name != spec.part:
        scores = score_points(spec.task, [Bayes(spec.task), PosteriorMean(spec.task)], fresh, 0.0)
        return tuple(replace(p, curve=name, measure=f"{p.curve}, {p.measure}") for p in scores)
    model, rate = _train(spec)
    depth = float(spec.model["depth"])
    scores = score_points(spec.task, [TorchModel(model, name)], fresh, depth)
    return (*scores, Point(name, "learning rate", depth, rate))


def _train(spec: Spec) -> tuple[Any, float]:
    """Train at the largest rate at which the loss stays finite: deep products of cubic layers may explode."""
    for rate in spec.settings["rates"]:
        try:
            return trained(replace(spec, training={**spec.training, "rate": rate}), held_out=2).model, rate
        except ValueError as error:
            if "finite loss" not in str(error):
                raise
    raise ValueError(f"expected a finite loss at one of the rates {spec.settings['rates']}; got none")


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Does accuracy grow with depth; is one layer near guessing; and where could 0.98 come from?"""
    said, grows = [], []
    for concentration in PRIORS:
        for states in STATES:
            name = curve_name(states, concentration)
            line = series(outcomes, name, "accuracy")
            ceiling = series(outcomes, name, "Bayes, accuracy").values[0, 0]
            grows.append(bool(line.mean[-1] > line.mean[0] + line.deviation.max()))
            shown = ", ".join(f"{m:.2f} ± {s:.2f}" for m, s in zip(line.mean, line.deviation, strict=True))
            said.append(f"{name}: {shown} (ceiling {ceiling:.2f})")
    ceilings = {c: series(outcomes, curve_name(3, c), "Bayes, accuracy").values[0, 0] for c in PRIORS}
    over = [f"Dirichlet({c}) {v:.3f}" for c, v in ceilings.items() if PAPER[3] > v]
    reach = [f"Dirichlet({c}) {v:.3f}" for c, v in ceilings.items() if v >= PAPER[3]]
    return Finding(
        f"differs: {PAPER[3]:g} for 3 states is above the ceiling {ceilings['1']:.2f}",
        f"Accuracy with {', '.join(map(str, LAYERS))} layers, mean and deviation over {len(line.values)} seeds: "
        f"{'; '.join(said)}. Depth helps by more than the seeds' deviation in {sum(grows)} of {len(grows)} cases. The "
        f"paper's {PAPER[3]:g} for 3 states is above the ceiling of {', '.join(over)}"
        + (f" and within that of {', '.join(reach)}." if reach else ", of every prior tried."),
        f"ceilings ± {0.5 / _CEILING**0.5:.3f}",
        _marks(float(ceilings["1"])),
    )


def above_ceiling(prompts: int = 10_000) -> tuple[AboveCeiling, ...]:
    """Return what the paper reports above the ceiling of uniform rows, without any training.

    Args:
        prompts: the ceiling is a mean over so many fresh ones.
    """
    task = _task(3, "1")
    scores = score_points(task, [Bayes(task)], fresh_prompts(task, prompts, 0), 0.0)
    return _marks(next(point.value for point in scores if point.measure == "accuracy"))


def _marks(ceiling: float) -> tuple[AboveCeiling, ...]:
    return tuple(
        AboveCeiling(f"accuracy, 3 states, {layers} layer{'s' * (layers > 1)}, uniform rows", value, ceiling)
        for layers, value in PAPER.items()
        if value > ceiling
    )


EXPERIMENT = Figure("fig3", "accuracy against layers, 2 to 4 states", compute, specs, read, 250)
