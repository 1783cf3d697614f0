"""Every predictor on the same prompts, beside the Bayes ceiling."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray

from markov_icl.choices import PREDICTORS, unknown
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.models.predictors import (
    Bayes,
    Classifier,
    Constant,
    EmpiricalCounts,
    Enlarged,
    KernelKnown,
    LinearRegression,
    NotApplicable,
    PosteriorMean,
    Predictor,
    Realized,
)
from markov_icl.models.protocol import chain_states, check_columns
from markov_icl.models.scores import mean_and_error, nearest_state
from markov_icl.moments.label import label_law
from markov_icl.progress import Progress, shown
from markov_icl.recovery.search.fit import Fit
from markov_icl.tasks.data import SequenceData
from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.tasks.sampling import Prompts

__all__ = [
    "REGRESSION",
    "Evaluation",
    "Row",
    "evaluate",
    "evaluate_held_out",
    "floor",
    "standard_predictors",
]

REGRESSION = ("bayes", "linear", "optimum", "best", "constant")
"""Those that make sense without states."""


@dataclass(frozen=True)
class Row:
    """What one predictor scored.

    Attributes:
        predictor: its name.
        loss: mean squared error in squared states; probabilities predict their mean.
        loss_se: one standard error.
        accuracy: share of right states: the most probable one, or the one whose value is nearest; None for regression.
        accuracy_se: one standard error.
        excess: mean of the loss minus Bayes' on the same prompt; None without Bayes.
        excess_se: one standard error of that paired difference.
        seconds: time of ``predict``.
        note: what went wrong, if anything did.
    """

    predictor: str
    loss: float
    loss_se: float
    accuracy: float | None
    accuracy_se: float | None
    excess: float | None
    excess_se: float | None
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A table of predictors on the same prompts.

    Attributes:
        task: Markov or regression.
        prompts: how many.
        groups: groups of prompts that share chains, each one observation to the standard errors; None if all are
            independent.
        rows: one a predictor, in the order given.
        notes: predictors left out, and why.
    """

    task: Task
    prompts: int
    groups: int | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def row(self, name: str) -> Row:
        """Return the row of one predictor.

        Raises:
            ValueError: if it is not there.
        """
        found = next((row for row in self.rows if row.predictor == name), None)
        if found is None:
            raise unknown("one of", name, [row.predictor for row in self.rows])
        return found


@dataclass(frozen=True, eq=False)
class _Score:
    name: str
    losses: Float[np.ndarray, "P"]
    right: Bool[np.ndarray, "P"] | None
    seconds: float
    note: str


def evaluate(
    task: Task,
    predictors: Sequence[Predictor],
    prompts: Prompts,
    groups: Integer[np.ndarray, "P"] | None = None,
    progress: Progress = False,
) -> Evaluation:
    """Score every predictor on the same prompts.

    Args:
        task: whose values states have, and which Bayes row the others are paired with.
        predictors: with different names; one that does not apply to the task is left out with a note.
        prompts: of the task, seen by no predictor before.
        groups: a number for each prompt; prompts of one group share chains, and standard errors treat the group as
            one observation.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for prompts of another task, predictions of a wrong shape, or names that repeat.
    """
    check_columns(task, prompts)
    if isinstance(task, MarkovTask):
        chain_states(task, prompts)
    count = len(prompts.target)
    if groups is not None and len(groups) != count:
        raise ValueError(f"expected a group for each of {count} prompts; got {len(groups)}")
    names = [p.name for p in predictors]
    if len(set(names)) < len(names):
        raise ValueError(f"expected predictors with different names; got {max(names, key=names.count)!r} twice")
    # One predictor after another on the same prompts: differences from Bayes are paired, and their errors small.
    scores, notes, ceiling = [], [], None
    with shown(progress, "evaluate") as tell:
        for k, predictor in enumerate(predictors):
            tell(k / len(predictors), predictor.name)
            began = time.perf_counter()
            try:
                predicted = predictor.predict(prompts)
            except NotApplicable as reason:
                notes.append(f"{predictor.name} left out: {reason}")
            else:
                scores.append(_score(task, predictor.name, predicted, prompts, time.perf_counter() - began))
                if isinstance(predictor, Bayes):
                    ceiling = scores[-1].losses
    # Prompts that share chains are not independent: their group is the observation.
    cluster = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    rows = tuple(_row(score, ceiling, cluster) for score in scores)
    return Evaluation(task, count, None if groups is None else int(cluster.max()) + 1, rows, tuple(notes))


def evaluate_held_out(data: SequenceData, predictors: Sequence[Predictor], progress: Progress = False) -> Evaluation:
    """Score predictors on the held-out prompts of real sequences; each held-out group is one observation."""
    groups = np.repeat(np.arange(len(data.group_sizes)), data.group_sizes)
    return evaluate(data.task, predictors, data.held_out, groups, progress)


def _score(task: Task, name: str, predicted: NDArray[np.floating[Any]], prompts: Prompts, seconds: float) -> _Score:
    shape = prompts.target.shape
    shapes = [shape, (*shape, task.states)] if isinstance(task, MarkovTask) else [shape]
    if predicted.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"expected predictions of shape {wanted} from {name}; got {predicted.shape}")
    right = None
    if isinstance(task, MarkovTask):
        assert prompts.query_states is not None
        if predicted.ndim == 2:
            guess, predicted = predicted.argmax(1), predicted @ np.array(task.values, dtype=float)
        else:
            guess = nearest_state(task, predicted)
        right = (guess == prompts.query_states[:, -1]) & np.isfinite(predicted)
    broken = int((~np.isfinite(predicted)).sum())
    with np.errstate(over="ignore", invalid="ignore"):
        losses = (predicted - prompts.target) ** 2
    return _Score(name, losses, right, seconds, f"{broken} predictions are not finite" if broken else "")


def _row(score: _Score, ceiling: Float[np.ndarray, "P"] | None, cluster: NDArray[np.int64]) -> Row:
    with np.errstate(over="ignore", invalid="ignore"):
        loss, loss_se = mean_and_error(score.losses, cluster)
        accuracy, accuracy_se = (None, None) if score.right is None else mean_and_error(score.right, cluster)
        excess, excess_se = (None, None) if ceiling is None else mean_and_error(score.losses - ceiling, cluster)
    return Row(
        score.name, loss, loss_se, accuracy, accuracy_se, excess, excess_se, seconds=score.seconds, note=score.note
    )


def standard_predictors(
    task: Task,
    form: ClosedForm | None = None,
    fit: Fit | None = None,
    models: Sequence[Predictor] = (),
    constant: Constant | None = None,
    chosen: Sequence[str] | None = None,
) -> tuple[Predictor, ...]:
    """Return the predictors of the usual table, then ``models``.

    Args:
        task: Markov or regression.
        form: its minimizer ``X*``, if there is to be a row of it.
        fit: the best real parameters found, if there is to be a row of them.
        models: further predictors, for instance trained networks.
        constant: the floor; that of :func:`floor` if None.
        chosen: names from :data:`markov_icl.choices.PREDICTORS`; None takes all that apply to the task.

    Raises:
        ValueError: for an unknown name, or one whose ``form`` or ``fit`` is missing.
    """
    names = (PREDICTORS if isinstance(task, MarkovTask) else REGRESSION) if chosen is None else chosen
    for name in names:
        if name not in PREDICTORS:
            raise unknown("predictors among", name, PREDICTORS)
    made: dict[str, Callable[[], Predictor]] = {
        "bayes": lambda: Bayes(task),
        "rounded": lambda: PosteriorMean(task),
        "kernel": lambda: KernelKnown(task),
        "counts": lambda: EmpiricalCounts(task),
        "logistic": lambda: Classifier(task, "logistic regression"),
        "linear": lambda: LinearRegression(task),
        "3nn": lambda: Classifier(task, "3-NN"),
        "svm": lambda: Classifier(task, "SVM"),
        "constant": lambda: floor(task) if constant is None else constant,
    }
    if form is not None:
        made["optimum"] = lambda: Enlarged(form.X)
    if fit is not None:
        made["best"] = lambda: Realized(fit.b, fit.A)
    missing = [name for name in names if name not in made]
    if missing and chosen is not None:
        raise ValueError(f"expected a minimizer or a fit for predictor {missing[0]!r}; got none")
    return (*(made[name]() for name in PREDICTORS if name in names and name in made), *models)


def floor(task: Task) -> Constant:
    """Return the predictor that knows the law of the label and nothing of the prompt; for regression the mean is 0."""
    if not isinstance(task, MarkovTask):
        return Constant(0.0)
    return Constant(tuple(float(share) for share in label_law(task).shares))
