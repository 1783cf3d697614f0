"""How far moments in float64 can be from the exact ones: proved by counting roundings.

Where all states have values of at least 0 every moment is a sum of products of nonnegative numbers, so each rounding is
a relative error of the result: ``k`` of them on any way from the input to an entry make at most
``gamma_k = k u / (1 - k u)``, ``u = 2^-53``. Where values have both signs the same holds relative to the moments of
the absolute values. Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.features import Array
from markov_icl.moments.assembly import accumulate, chunk_size
from markov_icl.moments.quadrature import Rule
from markov_icl.moments.regression import absolute_moments
from markov_icl.moments.system import Moments
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import MarkovTask, RegressionTask

__all__ = ["Enclosure", "enclose", "enclose_regression", "of_exact", "of_rounded", "roundings"]

_UNIT = 2.0**-53
_UNDERFLOW = 2.0**-1000
"""Far above what one product can lose by underflow, or one weight of a rule by being denormal: ``2^-1022``."""
_SLACK = 1 + 1e-9
"""For the roundings of the bounds themselves, of which there are far fewer than a million."""
_LARGEST_WHOLE = 2**53
"""Larger whole numbers may be rounded when they become doubles."""
_LAWS = 2
"""Correlated starts average over the query's first state: two passes over the nodes."""
_SHIFTED = 8
"""For what :mod:`markov_icl.moments.problem` does with moments whose answers have a shift: three roundings."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """``|dH_ij| <= e r_i r_j``, ``|dh_i| <= e r_i s``, ``|dy2| <= e s^2`` for the errors of moments.

    Attributes:
        relative: ``e``; 0 where the moments are the problem itself.
        roots: ``r``, roots of the diagonal of ``H`` for absolute values, ``[N]``.
        size: ``s``, root of ``E y^2`` for absolute values.
    """

    relative: float
    roots: Float[np.ndarray, "N"]
    size: float


def of_exact(moments: Moments) -> Enclosure:
    """Return the enclosure of moments that are the problem itself: no error."""
    return Enclosure(0.0, _roots(moments.H), float(np.sqrt(abs(moments.y2))))


def of_rounded(moments: Moments) -> Enclosure:
    """Return the enclosure of exact moments, each rounded once to the nearest double.

    For a task ``H_ij^2 <= H_ii H_jj`` and ``h_i^2 <= y2 H_ii``; a quadratic that is given may have a larger ``h``.

    Raises:
        ValueError: if ``H`` is not positive semidefinite, or ``h`` is not 0 where ``H`` is.
    """
    roots = _roots(moments.H)
    if not (np.abs(moments.H) <= np.outer(roots, roots) * _SLACK).all() or moments.h[roots == 0].any():
        raise ValueError("expected H positive semidefinite and h in its range; got others")
    shares = np.abs(moments.h[roots > 0]) / roots[roots > 0]
    size = max(float(np.sqrt(abs(moments.y2))), float(shares.max(initial=0.0)) * _SLACK)
    return Enclosure(2 * _UNIT, roots, size)


def enclose(task: MarkovTask, rule: Rule, moments: Moments) -> Enclosure:
    """Return the enclosure of the moments that :func:`~markov_icl.moments.assembly.accumulate` made by an exact rule.

    Args:
        task: values are whole numbers.
        rule: exact in theory, each stored number within half a unit in its last place.
        moments: of the task by that rule.
    """
    H, y2 = moments.H, moments.y2
    if min(task.values) < 0:
        H, _, y2 = accumulate(task, rule, absolute=True).dense(task)
    count = roundings(task, rule)
    relative = count * _UNIT / (1 - count * _UNIT) * _SLACK
    lost = _underflows(task, rule) * _UNDERFLOW / relative
    roots = np.sqrt(np.maximum(np.diag(H), 0.0) / (1 - relative) + lost) * _SLACK
    return Enclosure(relative, roots, float(np.sqrt(float(y2) / (1 - relative) + lost)) * _SLACK)


def enclose_regression(task: RegressionTask) -> Enclosure:
    """Return the enclosure of :func:`~markov_icl.moments.regression.regression_moments`.

    An entry is a sum of products of four covariances, some of them sums over ``d``; there are no differences.
    """
    count = 4 * (task.dim + 2) + 20
    relative = count * _UNIT / (1 - count * _UNIT) * _SLACK
    H, y2 = absolute_moments(task)
    roots = np.sqrt(np.diag(H) / (1 - relative) + _UNDERFLOW) * _SLACK
    return Enclosure(relative, roots, float(np.sqrt(y2 / (1 - relative))) * _SLACK)


def _roots(H: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(np.diag(H), 0.0)) * _SLACK)


def roundings(task: MarkovTask, rule: Rule) -> int:
    """Return how many relative roundings any entry of ``H``, ``h`` and ``E y^2`` can have, step by step."""
    S, R, transitions = task.states, task.rows, task.length - task.order
    sticks = 2 * S - 3 if isinstance(task.prior, DirichletPrior) else 1  # factors and products of a row's entry
    weight = R * sticks + R - 1 if isinstance(task.prior, DirichletPrior) else 1
    value = 0 if all(v.denominator == 1 and abs(v) <= _LARGEST_WHOLE for v in task.values) else 1

    def chain(degree: int) -> int:  # start, then a product and S - 1 sums a transition, the values, a sum over rows
        return 1 + transitions * (sticks + S) + degree * (1 + value) + R - 1

    chunk = min(chunk_size(task), rule.size)
    sums = chunk + _LAWS * -(-rule.size // chunk)
    pair = chain(2) + weight + 3  # the query's moment, times the node's weight, times that of its start law
    square = pair + 1 + 2 * chain(4) + sums + 4  # scaled; 1 - 1/n has two; the mean with the transpose
    return square + 1 + _SHIFTED  # the way through the fourth moment, pair + chain(4) + sums + 1, is shorter


def _underflows(task: MarkovTask, rule: Rule) -> float:
    """Return how much the products that may underflow are magnified at most, all in all."""
    products = _LAWS * rule.size * (3 * task.length * task.rows * task.states + 20)
    return products * max(1.0, float(max(abs(v) for v in task.values))) ** 6
