"""Baselines that know no prior: each is fitted on one prompt's context and asked about its query.

Features are the numeric columns without their label, a bias included; the classes are the states.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.choices import unknown
from markov_icl.models.counts import counts_after, last_tuple
from markov_icl.models.least_norm import least_norm
from markov_icl.models.protocol import chain_states, check_columns, markov
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import Prompts

__all__ = ["CLASSIFIERS", "Classifier", "EmpiricalCounts", "LinearRegression"]

CLASSIFIERS = ("logistic regression", "3-NN", "SVM")
"""Names of the classifiers of scikit-learn that serve as baselines."""
_NEIGHBOURS = 3
_LINEAR_CUTOFF = 1e-6
"""Singular values of the centred features up to this share of the largest are zero, as in scikit-learn 1.9."""


@dataclass(frozen=True)
class EmpiricalCounts:
    """Shares of the transitions that left the query's last tuple, in context and query, each count raised by ``beta``.

    ``beta = 1`` is Bayes under uniform rows. With ``beta = 0`` a tuple that was never left has uniform shares.

    Raises:
        ValueError: if ``beta`` is negative or not finite.
    """

    task: Task
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < np.inf:
            raise ValueError(f"expected beta to be a finite number >= 0; got {self.beta}")

    @property
    def name(self) -> str:
        """Return the name that tables show."""
        return f"transition counts + {self.beta:g}"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P S"]:
        """Return probabilities ``[P, S]``."""
        task = markov(self.task)
        context, query = chain_states(task, prompts)
        row = last_tuple(task, query)
        counts = counts_after(task, context, row) + counts_after(task, query[:, None, :-1], row)
        raised = counts + float(self.beta)
        raised[raised.sum(1) == 0] = 1.0
        result: Float[np.ndarray, "P S"] = raised / raised.sum(1, keepdims=True)
        return result


@dataclass(frozen=True)
class LinearRegression:
    """Least squares with an intercept, of least norm: ``sklearn.linear_model.LinearRegression`` on every context."""

    task: Task
    name: str = "linear regression"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P"]:
        """Return values ``[P]``."""
        check_columns(self.task, prompts)
        X, y = prompts.context[:, :, :-1], prompts.context[:, :, -1]
        middle, level = X.mean(1), y.mean(1)
        weight = least_norm(X - middle[:, None], y - level[:, None], _LINEAR_CUTOFF)
        result: Float[np.ndarray, "P"] = level + np.einsum("pj,pj->p", prompts.query - middle, weight)
        return result


@dataclass(frozen=True)
class Classifier:
    """A scikit-learn classifier, fitted afresh on every context.

    A context that shows a single class predicts it for certain; classes that it does not show have probability 0.
    With fewer than 3 columns 3-NN takes them all. The SVM (radial kernel, scikit-learn's defaults) has no
    probabilities: its class gets all.

    Attributes:
        task: Markov.
        name: one of :data:`CLASSIFIERS`.
    """

    task: Task
    name: str = CLASSIFIERS[0]

    def __post_init__(self) -> None:
        if self.name not in CLASSIFIERS:
            raise unknown("one of", self.name, CLASSIFIERS)

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P S"]:
        """Return probabilities ``[P, S]``."""
        import sklearn
        from threadpoolctl import threadpool_limits

        task = markov(self.task)
        check_columns(task, prompts)
        context, _ = chain_states(task, prompts)
        features, labels = prompts.context[:, :, :-1], context[:, :, -1].astype(np.int64)
        model = _estimator(self.name, features.shape[1])
        probabilities = np.zeros((len(labels), task.states))
        # thousands of tiny fits: checks of finite input and pools of threads would cost more than the fits
        quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
        with quick, threadpool_limits(1), _unscaled_values():
            for p, (X, y, query) in enumerate(zip(features, labels, prompts.query[:, None], strict=True)):
                if (y == y[0]).all():
                    probabilities[p, y[0]] = 1.0
                elif self.name == "SVM":
                    probabilities[p, model.fit(X, y).predict(query)[0]] = 1.0
                else:
                    fitted = model.fit(X, y)
                    probabilities[p, fitted.classes_] = fitted.predict_proba(query)[0]
        return probabilities


@contextmanager
def _unscaled_values() -> Iterator[None]:
    """Accept logistic fits that stop short of convergence, as happens for states worth millions."""
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, LinAlgWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _estimator(name: str, examples: int) -> Any:
    if name == "SVM":
        from sklearn.svm import SVC

        return SVC()
    if name == "3-NN":
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(min(_NEIGHBOURS, examples), algorithm="brute")
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver="newton-cholesky", max_iter=1000)
