"""Fig. 6: GPT-2 against baselines fitted on each prompt, accuracy against context, two laws of the first states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from markov_icl.analysis.scoring import bootstrap, first_chains, fresh_prompts, right
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.experiment import Figure
from markov_icl.experiments.runs.points import FinishedRun, Point, curves, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.experiments.runs.sweep import trained
from markov_icl.models.predictors import CLASSIFIERS, Bayes, Classifier, LinearRegression, Predictor, TorchModel
from markov_icl.tasks.prompts import CorrelatedStart, InitialLaw, MarkovTask, independent_start
from markov_icl.tasks.sampling import Prompts

__all__ = ["BASELINES", "EXPERIMENT", "LAWS", "curve_name"]

LAWS: dict[str, InitialLaw] = {
    "independent": independent_start(["1/2", "1/2"], 2, 1),
    "correlated": CorrelatedStart("3/10", ("9/100", "49/100")),  # type: ignore[arg-type]
}
"""Laws of the first states, Bernoulli(1/2) and Example C.5's ``g(x) = (x - p)^2`` with ``p = 3/10``."""
BASELINES = ("logistic regression", "linear regression", "3-NN", "SVM")
_SCALES: dict[str, dict[str, Any]] = {
    "quick": {
        "sizes": ["tiny"],
        "context": 40,
        "training": {"rate": 1e-3, "steps": 600, "curriculum": {"start": 10, "by": 10, "every": 80}},
        "contexts": [1, 2, 5, 10, 20, 40],
    },
    "paper": {
        "sizes": ["tiny", "small", "standard"],
        "context": 100,
        "training": {"rate": 1e-4, "steps": 50_000, "curriculum": {"start": 26, "by": 5, "every": 2000}},
        "contexts": [1, 2, 5, 10, 20, 40, 60, 80, 100],
    },
}
"""At the paper's scale a step takes 64 prompts with contexts growing from 26, Adam at 1e-4, 50,000 steps; the chains'
length is our choice. The quick scale trades these for a higher rate and shorter prompts."""
_LENGTH, _BATCH = 6, 64
_TEST = {"prompts": 1280, "prompt_seed": 10_000, "bootstraps": 1000}


def curve_name(law: str, predictor: str) -> str:
    """Return the curve's name in the rows."""
    return f"{predictor}, {law}"


def specs(scale: str, seeds: int) -> tuple[Spec, ...]:
    """Return for each law the baselines, then one training a size and seed."""
    numbers = _SCALES[scale]
    settings = {**_TEST, "contexts": numbers["contexts"]}
    found = []
    for law, initial in LAWS.items():
        task = MarkovTask(length=_LENGTH, context=numbers["context"], initial=initial)
        found.append(Spec("fig6", f"baselines, {law}", task, settings=settings, scale=scale))
        for size in numbers["sizes"]:
            model = {"kind": "gpt2", "size": size, "max_context": numbers["context"]}
            training = {"device": "cpu", "batch": _BATCH, **numbers["training"]}
            found += [
                Spec("fig6", f"{size}, {law}", task, model, training, settings, seed, scale) for seed in range(seeds)
            ]
    return tuple(found)


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the accuracy of one trained model, or of the baselines and Bayes, against context, on shared prompts."""
    task = spec.task
    assert isinstance(task, MarkovTask)
    what, _, law = spec.part.partition(", ")
    prompts = fresh_prompts(task, spec.settings["prompts"], spec.settings["prompt_seed"])
    predictors: list[Predictor]
    if what == "baselines":
        predictors = [Bayes(task), LinearRegression(task), *(Classifier(task, n) for n in CLASSIFIERS)]
    else:
        predictors = [TorchModel(trained(spec, held_out=2).model, f"GPT-2 {what}")]
    return tuple(
        point
        for predictor in predictors
        for count in spec.settings["contexts"]
        for point in _accuracy(spec, law, predictor, first_chains(prompts, count), count)
    )


def _accuracy(spec: Spec, law: str, predictor: Predictor, prompts: Prompts, count: int) -> list[Point]:
    assert isinstance(spec.task, MarkovTask)
    hits = right(spec.task, predictor, prompts)
    low, high = bootstrap(hits, spec.settings["bootstraps"], seed=count)
    name, x, mean = curve_name(law, predictor.name), float(count), float(hits.mean())
    error = float(np.sqrt(mean * (1 - mean) / len(hits)))
    return [
        Point(name, "accuracy", x, mean, error),
        Point(name, "accuracy, 5%", x, low),
        Point(name, "accuracy, 95%", x, high),
    ]


def read(outcomes: Sequence[FinishedRun]) -> Finding:
    """Do the models match SVM and logistic regression, and beat 3-NN, at the largest context?"""
    said, verdicts = [], []
    for law in LAWS:
        names = [n for n in curves(outcomes, "accuracy") if n.endswith(f", {law}")]
        last = {n.removesuffix(f", {law}"): series(outcomes, n, "accuracy") for n in names}
        at = last["Bayes"].x[-1]
        width = 2 * float(np.sqrt(2) * last["Bayes"].errors[0, -1])  # two standard errors of a difference
        models = {n: line for n, line in last.items() if n.startswith("GPT-2")}
        shown = ", ".join(f"{n} {line.mean[-1]:.3f}" for n, line in last.items() if n not in models)
        trained_ones = ", ".join(
            f"{n} {line.mean[-1]:.3f} ± {line.deviation[-1]:.3f} ({len(line.values)} seeds)"
            for n, line in models.items()
        )
        said.append(f"{law} starts, n = {at:g}: {trained_ones}; {shown}")
        rivals = max(last[name].mean[-1] for name in ("SVM", "logistic regression"))
        verdicts.append(
            all(line.mean[-1] >= rivals - width and line.mean[-1] > last["3-NN"].mean[-1] for line in models.values())
        )
    sizes = sorted({o.spec.model["size"] for o in outcomes if o.spec.model})
    steps = max(o.spec.training["steps"] for o in outcomes if o.spec.training)
    return Finding(
        f"{'holds' if all(verdicts) else 'differs'} for {' and '.join(sizes)} after {steps:,} steps",
        f"Accuracy on the same {_TEST['prompts']:,} prompts; {'; '.join(said)}. Each baseline is fitted on one prompt; "
        "Bayes knows the prior and bounds them all in expectation.",
        f"differences ± {width:.3f}",
    )


EXPERIMENT = Figure("fig6", "GPT-2 against baselines", compute, specs, read, 700)
