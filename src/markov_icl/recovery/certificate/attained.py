"""The loss at given parameters, with its error: the upper end of what a certificate encloses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from markov_icl.features import Array, phi
from markov_icl.landscape.direct import solve_dense, solve_rational
from markov_icl.moments.problem import Posed
from markov_icl.rationals import exact_array, rational_matrix
from markov_icl.recovery.certificate.exact_bound import rounded_down, rounded_up
from markov_icl.recovery.certificate.floating_bound import TINY, UNIT, gamma, minimum_bound

__all__ = ["attained", "enlarged"]

_SLACK = 1 + 1e-6


def attained(posed: Posed, b: Array, A: Array, exactly: bool) -> float:
    """Return an upper bound on ``f(b, A)``, in the user's squared units.

    Args:
        posed: the quadratic.
        b: ``[D]``, in the user's coordinates.
        A: ``[D, J]``.
        exactly: in fractions, so that the bound is the loss itself, rounded up once.

    Raises:
        ValueError: if the numbers are too large for a bound.
    """
    X = phi(*posed.units.to_whole(exact_array(b), exact_array(A)))
    if exactly and posed.exact is not None:
        return rounded_up(posed.exact.loss(rational_matrix([[value] for value in X])) * posed.scale)
    try:
        rounded = X.astype(np.float64)
    except OverflowError:
        rounded = np.full(len(X), np.inf)
    return rounded_up(Fraction(_above(posed, rounded)) * posed.scale)


def enlarged(posed: Posed) -> tuple[float, float]:
    """Return proved ends of ``f~*``, the least loss in the enlarged space, in the user's squared units.

    The lower end is 0 for a task, -inf for a quadratic, where ``H`` is not proved positive definite.
    """
    if posed.given is not None:
        exact = solve_rational(posed.given).loss_exact
        assert exact is not None
        return rounded_down(exact * posed.scale), rounded_up(exact * posed.scale)
    moments = posed.moments
    upper = rounded_up(Fraction(_above(posed, solve_dense(moments).X)) * posed.scale)
    try:
        error = np.zeros_like(moments.H)
        lower = minimum_bound(moments.y2, moments.h, moments.H, error, posed.enclosure)
    except ValueError:
        return (-np.inf if posed.task is None else 0.0), upper
    return rounded_down(Fraction(lower) * posed.scale), upper


def _above(posed: Posed, x: Array) -> float:
    """Return ``f~`` at a point ``[N]`` in floats plus all that rounding and the moments' errors can hide.

    Every entry of ``x`` may have been rounded once; ``|df| <= e (s + r.|x|)^2`` for the moments.

    Raises:
        ValueError: if the numbers are too large for a bound.
    """
    moments, enclosure = posed.moments, posed.enclosure
    size, n = np.abs(x), len(x)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(moments.y2 + x @ (moments.H @ x - 2 * moments.h))
        terms = abs(moments.y2) + float(2 * np.abs(moments.h) @ size + size @ (np.abs(moments.H) @ size))
        rounding = (gamma(2 * n + 10) + 4 * UNIT) * terms
        reach = np.float64(enclosure.size + float(enclosure.roots @ size) * (1 + 2 * UNIT))
        data = enclosure.relative * reach * reach
        largest = max(1.0, float(np.abs(moments.H).max()), float(np.abs(moments.h).max()))
        lost = TINY * (n + 1) ** 2 * largest * (1 + float(size.max(initial=0.0)))
        loss = float(np.nextafter(value + (rounding + data + lost) * _SLACK, np.inf))
    if not np.isfinite(loss):
        raise ValueError("expected parameters whose loss is a finite number; got larger ones")
    return loss
