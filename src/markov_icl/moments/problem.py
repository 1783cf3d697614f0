"""What a search or a proof is about: a task, or a quadratic given as moments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from markov_icl.features import position, vech_size
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.moments.compute import (
    cheapest_exact,
    compute_moments,
    dense_gigabytes,
    exact_rule,
    fractions_are_affordable,
    moments_by_rule,
    rational_moments,
    unknowns,
)
from markov_icl.moments.enclosure import Enclosure, enclose, enclose_regression, of_exact, of_rounded
from markov_icl.moments.regression import regression_moments
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import rational, rational_matrix
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, Task
from markov_icl.tasks.units import Units, whole_units

__all__ = ["Posed", "Problem", "float_moments", "moments_of", "pose"]

Problem = MarkovTask | RegressionTask | Moments | RationalMoments

_PLAIN = Units(Fraction(1), Fraction(0), None)
_MOST_AT_ONCE = 60
"""Unknowns up to which fractions take well under a second, so that they are always taken."""
_MOST_WORK = 3e11
"""Products of numbers in a sum over kernels: a few minutes."""
_MOST_EXACT = 140
"""Unknowns up to which doubles are turned into fractions, or moments computed in them, where a proof asks for it."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A quadratic as a proof sees it: in whole numbers, with all that is known about its errors.

    Losses are in units of :attr:`scale`.

    Attributes:
        moments: in float64.
        enclosure: proved errors of ``moments``.
        units: how the user's coordinates come from those of ``moments``.
        task: in the user's coordinates; None where the quadratic itself was given.
        whole: the task with whole values; None likewise.
        proved: False where the moments are estimates: then a bound is about the estimate, not about the task.
        given: the moments in fractions, where they are at hand.
    """

    moments: Moments
    enclosure: Enclosure
    units: Units
    task: Task | None
    whole: Task | None
    proved: bool
    given: RationalMoments | None = None

    @property
    def blocks(self) -> int:
        """Return ``J``."""
        return self.moments.blocks

    @property
    def dimension(self) -> int:
        """Return ``D``."""
        return self.moments.dimension

    @property
    def scale(self) -> Fraction:
        """Return what a loss is multiplied by to be in the user's squared units."""
        return self.units.unit**2

    @cached_property
    def exact(self) -> RationalMoments | None:
        """Return the moments in fractions, computed when first asked for; None where that takes too long."""
        if self.given is not None or not self.proved or self.moments.size > _MOST_EXACT:
            return self.given
        if self.whole is None:
            return _taken_exactly(self.moments)
        if not fractions_are_affordable(self.whole, _MOST_EXACT):
            return None
        return _with_answers(rational_moments(self.whole), self.units)


def pose(problem: Problem | Posed, memory: float = DEFAULT_MEMORY_GB) -> Posed:
    """Return the problem in whole numbers, with proved errors where they can be proved.

    Moments that are given are the problem themselves, without error, unless they say that they are estimates.

    Args:
        problem: a task, or moments.
        memory: refuse a system that needs more, in gigabytes.
    """
    if isinstance(problem, Posed):
        return problem
    if isinstance(problem, Moments | RationalMoments):
        return _pose_quadratic(problem)
    require(dense_gigabytes(problem), memory, f"the moments of {unknowns(problem):,} unknowns")
    whole, units = whole_units(problem)
    if fractions_are_affordable(whole, _MOST_AT_ONCE):
        exact = _with_answers(rational_moments(whole), units)
        rounded = _rounded(exact)
        return Posed(rounded, of_rounded(rounded), units, problem, whole, proved=True, given=exact)
    if isinstance(whole, RegressionTask):
        moments = regression_moments(whole)
        return Posed(moments, enclose_regression(whole), units, problem, whole, proved=True)
    rule = exact_rule(whole)
    if rule is None:
        moments = _with_float_answers(compute_moments(whole, memory), units)
        return Posed(moments, of_exact(moments), units, problem, whole, proved=False)
    work = rule.size * vech_size(whole.blocks) * vech_size(whole.dimension) ** 2
    if work > _MOST_WORK:
        raise ValueError(f"expected moments of at most {_MOST_WORK:.0e} products; got {work:.1e} (a shorter length)")
    plain = moments_by_rule(whole, rule)
    enclosure = enclose(whole, rule, plain)
    size = _shifted_size(plain, enclosure, units)
    return Posed(_with_float_answers(plain, units), replace(enclosure, size=size), units, problem, whole, proved=True)


def _pose_quadratic(problem: Moments | RationalMoments) -> Posed:
    """Return moments that are the problem themselves; what is no symmetric quadratic of finite numbers is refused."""
    if isinstance(problem, RationalMoments):
        if problem.H.transpose() != problem.H:
            raise ValueError("expected a symmetric H; got another matrix")
        rounded = _rounded(problem)
        return Posed(rounded, of_rounded(rounded), _PLAIN, None, None, proved=True, given=problem)
    finite = np.isfinite(problem.H).all() and np.isfinite(problem.h).all() and np.isfinite(problem.y2)
    if not finite or not np.array_equal(problem.H, problem.H.T):
        raise ValueError("expected a symmetric H and finite numbers; got another quadratic")
    return Posed(problem, of_exact(problem), _PLAIN, None, None, proved=not problem.is_estimate)


def _rounded(exact: RationalMoments) -> Moments:
    try:
        return exact.to_float()
    except OverflowError:
        raise ValueError("expected moments that fit in doubles; got larger ones") from None


def moments_of(problem: Problem) -> Moments | RationalMoments:
    """Return the problem's moments in the user's coordinates, in fractions where they are cheap."""
    return problem if isinstance(problem, Moments | RationalMoments) else cheapest_exact(problem)


def float_moments(problem: Problem) -> Moments:
    """Return the problem's moments in float64, in the user's coordinates."""
    return moments_of(problem).to_float()


def _constant(moments: Moments | RationalMoments, units: Units) -> int:
    """Return the coordinate of the enlarged space whose feature is the constant 1."""
    assert units.constant is not None
    place = units.constant + 1
    return position(place, place, place, moments.dimension) - 1


def _with_answers(exact: RationalMoments, units: Units) -> RationalMoments:
    """Return the moments for the answers ``ratio + k`` in place of ``k``."""
    if units.shift == 0:
        return exact
    c, ratio = _constant(exact, units), rational(units.ratio)
    column = [[exact.H[i, c]] for i in range(exact.size)]
    h = [[exact.h[i, 0] + ratio * column[i][0]] for i in range(exact.size)]
    y2 = exact.y2 + 2 * ratio * exact.h[c, 0] + ratio * ratio
    return replace(exact, h=type(exact.h)(h), y2=y2)


def _with_float_answers(moments: Moments, units: Units) -> Moments:
    """Return the same in float64; estimates keep what they say about their error."""
    if units.shift == 0:
        return moments
    c, ratio = _constant(moments, units), float(units.ratio)
    parts: dict[str, Any] = {}
    if moments.coarse is not None:
        parts["coarse"] = _with_float_answers(moments.coarse, units)
    if moments.replicates is not None:
        H, h, y2 = moments.replicates
        parts["replicates"] = (H, h + ratio * H[:, :, c], y2 + 2 * ratio * h[:, c] + ratio**2)
    h = moments.h + ratio * moments.H[:, c]
    return replace(moments, h=h, y2=moments.y2 + 2 * ratio * float(moments.h[c]) + ratio**2, **parts)


def _shifted_size(moments: Moments, enclosure: Enclosure, units: Units) -> float:
    """Return a bound on the root of ``E (|ratio| + k)^2``, ``k >= 0``."""
    if units.shift == 0:
        return enclosure.size
    ratio, mean = abs(float(units.ratio)), float(moments.h[_constant(moments, units)])
    return float(np.sqrt(enclosure.size**2 + 2 * ratio * mean + ratio**2)) * (1 + 1e-9)


def _taken_exactly(moments: Moments) -> RationalMoments:
    """Return the same numbers, every double exactly."""
    return RationalMoments(
        rational_matrix(moments.H.tolist()),
        rational_matrix([[value] for value in moments.h.tolist()]),
        rational(moments.y2),
        moments.blocks,
        moments.dimension,
        moments.method,
        moments.nodes,
    )
