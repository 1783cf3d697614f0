"""How the exact optimum does on held-out prompts of real sequences, beside its ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from markov_icl.features import predict
from markov_icl.landscape.minimizer import ClosedForm
from markov_icl.models.predictors import posterior_mean
from markov_icl.tasks.data import SequenceData

__all__ = ["HeldOutScore", "score_held_out"]


@dataclass(frozen=True)
class HeldOutScore:
    """Mean squared errors on held-out prompts, in squared states, each with its standard error.

    Prompts of one group share chains, so the standard errors treat a group as one observation.

    Attributes:
        prompts: number of prompts.
        groups: number of held-out groups.
        optimum: of ``X*``.
        bayes: of the posterior mean under the fitted prior.
        constant: of the training groups' mean label, the no-skill floor.
        optimum_expected: ``f~*``, what ``optimum`` would be if the fitted task were the truth.
    """

    prompts: int
    groups: int
    optimum: float
    optimum_se: float
    bayes: float
    bayes_se: float
    constant: float
    constant_se: float
    optimum_expected: float


def score_held_out(data: SequenceData, form: ClosedForm) -> HeldOutScore:
    """Score the minimizer, the Bayes predictor and a constant on the held-out prompts."""
    prompts = data.held_out
    errors = {
        "optimum": (predict(form.X, prompts.gram, prompts.query) - prompts.target) ** 2,
        "bayes": (posterior_mean(data.task, prompts) - prompts.target) ** 2,
        "constant": (data.training_mean - prompts.target) ** 2,
    }
    group = np.repeat(np.arange(len(data.group_sizes)), data.group_sizes)
    numbers: dict[str, float] = {}
    for name, error in errors.items():
        means = np.array([error[group == g].mean() for g in range(len(data.group_sizes))])
        numbers[name] = float(error.mean())
        numbers[f"{name}_se"] = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else np.nan
    return HeldOutScore(
        prompts=len(prompts.target),
        groups=len(data.group_sizes),
        optimum_expected=form.loss,
        **numbers,
    )
