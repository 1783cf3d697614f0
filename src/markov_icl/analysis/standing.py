"""Where a trained model stands: beside the exact optimum, the local minima of one layer and the Bayes ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.analysis.evaluation import Row, evaluate
from markov_icl.landscape.direct import solve_dense
from markov_icl.models.bridge import to_point
from markov_icl.models.gram import EnlargedAttention
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.models.predictors import Bayes
from markov_icl.models.prompt_model import PromptModel
from markov_icl.moments.compute import compute_moments, unknowns
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import sample_prompts

__all__ = ["Standing", "place"]

_MOST_UNKNOWNS = 700
"""Length 11 has 660, where the search for minima takes 4 s; one who has trained a model waits no longer."""


@dataclass(frozen=True, eq=False)
class Standing:
    """The numbers a trained model is measured by.

    Attributes:
        population: the model's own loss over all prompts, exact up to the moments' error; None unless it is one
            layer of linear attention, or a point of the enlarged space.
        floor: ``f~*`` of the enlarged space; None where the dense system is too large.
        minima: losses of the local minima of one layer with the model's number of heads, ascending, from a
            local search; empty where the search is too large.
        nearest: index of the minimum whose loss is closest to ``population``.
        excess: ``population`` minus that minimum's loss.
        bayes: score of the Bayes predictor on fresh prompts; None where it has no closed form.
    """

    population: float | None
    floor: float | None
    minima: Float[np.ndarray, " minima"]
    nearest: int | None
    excess: float | None
    bayes: Row | None


def place(model: PromptModel, task: Task, prompts: int = 20_000, seed: int = 0, starts: int = 32) -> Standing:
    """Return where ``model`` stands on ``task``.

    Args:
        model: a torch model of this package.
        task: what it predicts.
        prompts: fresh prompts for the Bayes score.
        seed: of those prompts and of the local search.
        starts: random starts of the local search.
    """
    rows = evaluate(task, [Bayes(task)], sample_prompts(task, prompts, seed)).rows
    bayes = rows[0] if rows else None
    if unknowns(task) > _MOST_UNKNOWNS:
        return Standing(None, None, np.zeros(0), None, None, bayes)
    moments = compute_moments(task)
    floor = solve_dense(moments).loss
    if isinstance(model, EnlargedAttention):
        population = moments.loss(to_point(model))
        return Standing(population, floor, np.array([floor]), 0, population - floor, bayes)
    if not (isinstance(model, LinearSelfAttention) and model.reads_gram and model.depth == 1):
        return Standing(None, floor, np.zeros(0), None, None, bayes)
    population = moments.loss(to_point(model))
    heads = min(model.heads, moments.dimension)
    minima = np.array([one.loss for one in best(moments, heads, starts, seed).minima])
    if len(minima) == 0:
        return Standing(population, floor, minima, None, None, bayes)
    nearest = int(np.abs(minima - population).argmin())
    return Standing(population, floor, minima, nearest, population - float(minima[nearest]), bayes)
