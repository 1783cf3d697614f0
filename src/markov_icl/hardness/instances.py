"""Instances of bilinear separability on a grid: planted, random and degenerate."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markov_icl.choices import KINDS, unknown
from markov_icl.hardness.separability import Instance

__all__ = ["generate"]

Points = NDArray[np.int64]
_TRIES = 2000
"""Random pairs of planes that are tried before the arguments are refused."""


def generate(kind: str, inner: int = 6, outer: int = 6, dimension: int = 2, spread: int = 6, seed: int = 0) -> Instance:
    """Draw an instance with whole coordinates between ``-spread`` and ``spread``.

    Args:
        kind: ``separable`` (two planes are drawn first), ``inseparable`` (three outer points, the middle of
            each two of which is an inner point), ``random``, or ``degenerate`` (collinear points, outer points
            on the boundary of the inner hull or equal to inner points).
        inner: ``m'``; at least 3 for ``inseparable``.
        outer: ``k'``; at least 3 for ``inseparable``.
        dimension: ``n'``.
        spread: half-width of the grid; at least 2.
        seed: of the random choices.

    Raises:
        ValueError: if an argument is out of range or the grid is too small for the kind.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    least = 3 if kind == "inseparable" else 1
    if min(inner, outer) < least or dimension < 1 or spread < 2:
        raise ValueError(
            f"expected at least {least} inner and outer points, dimension >= 1 and spread >= 2; "
            f"got {inner}, {outer}, {dimension}, {spread}"
        )
    points = _BY_KIND[kind](np.random.default_rng(seed), inner, outer, dimension, spread)
    near, far = (tuple(tuple(Fraction(v) for v in row) for row in rows.tolist()) for rows in points)
    return Instance(near, far)


def _grid(rng: np.random.Generator, count: int, dimension: int, spread: int) -> Points:
    return rng.integers(-spread, spread + 1, (count, dimension))


def _random(rng: np.random.Generator, inner: int, outer: int, dimension: int, spread: int) -> tuple[Points, Points]:
    return _grid(rng, inner, dimension, spread), _grid(rng, outer, dimension, spread)


def _separable(rng: np.random.Generator, inner: int, outer: int, dimension: int, spread: int) -> tuple[Points, Points]:
    """Draw planes with integer normals until the grid has points on every side, then pick points among these.

    Two or more outer points include one beyond each plane alone.
    """
    for _ in range(_TRIES):
        first = rng.integers(-3, 4, dimension)
        w = np.array([first, rng.integers(-1, 2, dimension) - first])  # nearly opposite: one plane seldom suffices
        g = rng.integers(-spread, 1, 2)
        drawn = _grid(rng, 40 * (inner + outer), dimension, spread)
        heights = drawn @ w.T - g
        near, below = drawn[(heights >= 1).all(axis=1)], heights <= -1
        only = [np.flatnonzero(below[:, plane] & ~below[:, 1 - plane]) for plane in (0, 1)]
        if len(near) >= inner and below.any(axis=1).sum() >= outer and min(map(len, only)) > 0:
            order = np.array([only[0][0], only[1][0], *np.flatnonzero(below.any(axis=1))])
            beyond = drawn[order[np.sort(np.unique(order, return_index=True)[1])]]
            return near[:inner], rng.permutation(beyond[:outer])
    raise ValueError("expected a grid with room for a separable instance; got none (raise the spread)")


def _inseparable(
    rng: np.random.Generator, inner: int, outer: int, dimension: int, spread: int
) -> tuple[Points, Points]:
    """Two of three outer points share a plane, and the middle of any two is an inner point."""
    near, far = _random(rng, inner, outer, dimension, spread)
    corners = 2 * _grid(rng, 3, dimension, spread // 2)
    near[:3] = [(corners[i] + corners[i - 1]) // 2 for i in range(3)]
    far[:3] = corners
    return rng.permutation(near), rng.permutation(far)


def _degenerate(rng: np.random.Generator, inner: int, outer: int, dimension: int, spread: int) -> tuple[Points, Points]:
    """Mix what makes linear programs degenerate: few directions, touching hulls, repeated points.

    Half of the instances have outer points on the inner hull or equal to inner points.
    """
    line = rng.integers(-2, 3, dimension)
    near = _grid(rng, inner, dimension, spread)
    if rng.random() < 0.5:
        near = rng.integers(-2, 3, (inner, 1)) * line
    far = rng.integers(-2, 3, (outer, 1)) * line
    touching = rng.random() < 0.5
    for i in range(outer):
        a, b = near[rng.integers(inner)], near[rng.integers(inner)]
        far[i] = [2 * a - b, far[i], a, (a + b) // 2][rng.integers(4 if touching else 2)]
    return near, np.clip(far, -spread, spread)


_Draw = Callable[[np.random.Generator, int, int, int, int], tuple[Any, Any]]
_DRAWS: tuple[_Draw, ...] = (_separable, _inseparable, _random, _degenerate)
_BY_KIND = dict(zip(KINDS, _DRAWS, strict=True))
