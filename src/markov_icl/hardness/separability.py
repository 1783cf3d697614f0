"""Bilinear separability: two planes with one point set on the near side of both, the other beyond at least one.

A plane ``(w, g)`` has its near side ``w.x >= g + 1`` and is passed by points with ``w.x <= g - 1``. Deciding
whether two planes suffice is NP-complete (Bennett & Mangasarian 1993; Megiddo 1988). The oracle here is
exponential in the number of outer points and exact: it ends with planes or with a proof that there are none, both
in fractions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.optimize import linprog

from markov_icl.rationals import fraction, rational_matrix
from markov_icl.tasks.kernels import as_fraction

__all__ = ["Instance", "Obstruction", "Planes", "Separability", "Verdict", "is_proof", "planes_along", "separate"]

Point = tuple[Fraction, ...]
Separability = Literal["separable", "inseparable", "undecided"]

MOST_OUTER = 20
"""Outer points up to which the oracle scans all ``2^(k'-1)`` assignments: half a million."""


@dataclass(frozen=True)
class Instance:
    """Two point sets.

    Attributes:
        inner: the points that must be near both planes, ``[m', n']`` (the paper's ``A'``).
        outer: the points that must lie beyond at least one plane, ``[k', n']`` (the paper's ``B``).

    Coordinates become fractions; a float means its shortest decimal.
    """

    inner: tuple[Point, ...]
    outer: tuple[Point, ...]

    def __post_init__(self) -> None:
        for name in ("inner", "outer"):
            rows = getattr(self, name)
            points = tuple(tuple(as_fraction(v, f"each coordinate of {name}") for v in row) for row in rows)
            object.__setattr__(self, name, points)
        lengths = {len(row) for row in (*self.inner, *self.outer)}
        if not self.inner or not self.outer or len(lengths) != 1 or 0 in lengths:
            got = f"{len(self.inner)} inner, {len(self.outer)} outer, with {sorted(lengths)} coordinates"
            raise ValueError(f"expected at least one inner and one outer point, all of one dimension >= 1; got {got}")

    @property
    def dimension(self) -> int:
        """Return ``n'``."""
        return len(self.inner[0])


@dataclass(frozen=True)
class Planes:
    """Two planes that separate an instance, in fractions.

    Attributes:
        w: normals, ``[2, n']``, scaled so that the nearest points on either side have ``w.x - g = +1, -1``.
        g: offsets, ``[2]``.
        beyond: the outer points beyond each plane; every outer point is in at least one of them.
    """

    w: tuple[Point, Point]
    g: tuple[Fraction, Fraction]
    beyond: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def margin(self) -> float:
        """Return the smaller of the planes' gaps ``2 / |w|_2``, in the points' unit of length."""
        lengths = [float(sum(v * v for v in w)) ** 0.5 for w in self.w if any(w)]
        return min((2 / length for length in lengths), default=float("inf"))


@dataclass(frozen=True)
class Obstruction:
    """Outer points that no one plane cuts off: a point of their hull lies in the hull of the inner points.

    Attributes:
        outer: weights of outer points, positive, sum 1.
        inner: weights of inner points, positive, sum 1; both averages are the same point.
    """

    outer: dict[int, Fraction]
    inner: dict[int, Fraction]


@dataclass(frozen=True)
class Verdict:
    """What the oracle found, with its proof.

    Attributes:
        status: ``undecided`` only when time ran out or a linear program was too close to call in floats.
        planes: that separate, if separable.
        obstructions: sets of outer points of which each plane must miss one; if inseparable, no assignment
            of outer points to planes does so.
        programs: linear programs solved.
        seconds: time spent.
        reason: in words.
    """

    status: Separability
    planes: Planes | None
    obstructions: tuple[Obstruction, ...]
    programs: int
    seconds: float
    reason: str


def separate(instance: Instance, time_limit: float | None = None) -> Verdict:
    """Decide bilinear separability exactly, in time exponential in the number of outer points.

    Outer points are assigned to planes in all ways that no known obstruction forbids. For each a linear
    program (HiGHS) finds either a plane or a new obstruction; both are verified in fractions.

    Args:
        instance: two point sets; at most 20 outer points.
        time_limit: seconds; None for none.

    Raises:
        ValueError: for more outer points.
    """
    count = len(instance.outer)
    if count > MOST_OUTER:
        raise ValueError(f"expected at most {MOST_OUTER} outer points for the exponential oracle; got {count}")
    began = time.monotonic()
    # Bit sets of outer points: what one plane cuts off. Both sides of each split are tried once, and kept.
    known = dict[int, tuple[Point, Fraction] | None]()
    obstructions = dict[int, Obstruction]()
    too_close = False
    for left in range(1 << (count - 1)):
        sides = (left, (1 << count) - 1 - left)
        if time_limit is not None and time.monotonic() - began > time_limit:
            return _verdict("undecided", None, obstructions, len(known), began, "time limit reached")
        if any(side & one == one for one in obstructions for side in sides):
            continue
        # A failed side leaves an obstruction, which rules out all later splits whose side holds it.
        for side in sides:
            if side not in known:
                found = _cut(instance, side)
                if isinstance(found, Obstruction):
                    obstructions[sum(1 << i for i in found.outer)] = found
                known[side] = found if isinstance(found, tuple) else None
                too_close |= found is None
            if known[side] is None:
                break
        cuts = [known.get(side) for side in sides]
        if cuts[0] is not None and cuts[1] is not None:
            planes = _planes(instance, (cuts[0], cuts[1]))
            assert planes is not None
            return _verdict("separable", planes, obstructions, len(known), began, "planes verified in fractions")
    if too_close:
        reason = "a linear program was too close to call in floating point"
        return _verdict("undecided", None, obstructions, len(known), began, reason)
    reason = f"{len(obstructions)} sets of outer points that no plane cuts off leave no assignment to two planes"
    return _verdict("inseparable", None, obstructions, len(known), began, reason)


def _verdict(
    status: Separability, planes: Planes | None, known: dict[int, Obstruction], programs: int, began: float, reason: str
) -> Verdict:
    return Verdict(status, planes, tuple(known.values()), programs, time.monotonic() - began, reason)


def _members(side: int) -> list[int]:
    return [i for i in range(side.bit_length()) if side >> i & 1]


def _cut(instance: Instance, side: int) -> tuple[Point, Fraction] | Obstruction | None:
    """Return a plane that cuts off the outer points of the bit set, or an obstruction; None if neither is certain."""
    chosen = _members(side)
    n = instance.dimension
    if not chosen:
        return (Fraction(0),) * n, Fraction(-1)
    inner, outer = np.array(instance.inner, dtype=float), np.array([instance.outer[i] for i in chosen], dtype=float)
    centre = inner.mean(axis=0)
    scale = max(float(np.abs(np.vstack([inner, outer]) - centre).max()), 1e-300)
    a, b = (inner - centre) / scale, (outer - centre) / scale
    ones_a, ones_b = np.ones((len(a), 1)), np.ones((len(b), 1))
    rows = np.block([[-a, ones_a, ones_a], [b, -ones_b, ones_b]])
    cost = np.r_[np.zeros(n + 1), -1.0]
    bounds = [(-1, 1)] * n + [(None, None)] * 2
    margin = linprog(cost, A_ub=rows, b_ub=np.zeros(len(rows)), bounds=bounds, method="highs-ds")
    if margin.status == 0 and margin.x is not None:
        exact = [Fraction(v) for v in margin.x[:n].tolist()]
        short = tuple(v.limit_denominator(1000) for v in exact)
        plane = _scaled(instance, short, chosen) or _scaled(instance, tuple(exact), chosen)
        if plane is not None:
            return plane
    return _obstruction(instance, chosen, a, b)


def _scaled(instance: Instance, w: Point, chosen: Sequence[int]) -> tuple[Point, Fraction] | None:
    """Return the plane with normal along ``w`` halfway between inner and chosen points; None if it is none."""
    near = min(_dot(w, a) for a in instance.inner)
    if not chosen:
        return (Fraction(0),) * len(w), Fraction(-1)
    far = max(_dot(w, instance.outer[i]) for i in chosen)
    if near <= far:
        return None
    factor = 2 / (near - far)
    return tuple(factor * v for v in w), factor * (near + far) / 2


def _dot(w: Point, x: Point) -> Fraction:
    return sum((u * v for u, v in zip(w, x, strict=True)), Fraction(0))


def _obstruction(instance: Instance, chosen: list[int], a: np.ndarray, b: np.ndarray) -> Obstruction | None:
    """Find a common point of the two hulls by a linear program and solve for its weights in fractions."""
    equations = np.block([[b.T, -a.T], [np.ones(len(b)), np.zeros(len(a))], [np.zeros(len(b)), np.ones(len(a))]])
    right = np.r_[np.zeros(a.shape[1]), 1.0, 1.0]
    for attempt in range(3):  # a degenerate vertex may name dependent points; another cost names others
        cost = np.random.default_rng(attempt).uniform(1, 2, (equations.shape[1],))
        found = linprog(cost, A_eq=equations, b_eq=right, bounds=(0, None), method="highs-ds")
        if found.status != 0 or found.x is None:
            continue
        support = np.flatnonzero(found.x > 1e-9)
        weights = _exact_weights(instance, chosen, support.tolist())
        if weights is not None:
            return weights
    return None


def _exact_weights(instance: Instance, chosen: list[int], support: list[int]) -> Obstruction | None:
    """Return nonnegative weights of the named points whose averages agree, or None if these points allow none."""
    k = len(chosen)
    one, zero = Fraction(1), Fraction(0)
    columns = [
        (*instance.outer[chosen[s]], one, zero) if s < k else (*(-v for v in instance.inner[s - k]), zero, one)
        for s in support
    ]
    right = (*(zero,) * instance.dimension, one, one)
    reduced, rank = rational_matrix(zip(*columns, right, strict=True)).rref()
    if rank != len(support) or any(reduced[i, i] != 1 for i in range(rank)):
        return None
    weights = [fraction(reduced[i, rank]) for i in range(rank)]
    if min(weights) < 0:
        return None
    named = [(s, weight) for s, weight in zip(support, weights, strict=True) if weight > 0]
    return Obstruction(
        {chosen[s]: weight for s, weight in named if s < k}, {s - k: weight for s, weight in named if s >= k}
    )


def _planes(instance: Instance, cuts: tuple[tuple[Point, Fraction], tuple[Point, Fraction]]) -> Planes | None:
    """Return the two planes with what lies beyond each; None unless they separate the instance."""
    for w, g in cuts:
        if any(_dot(w, a) < g + 1 for a in instance.inner):
            return None
    first, second = (tuple(i for i, x in enumerate(instance.outer) if _dot(w, x) <= g - 1) for w, g in cuts)
    if len({*first, *second}) < len(instance.outer):
        return None
    return Planes((cuts[0][0], cuts[1][0]), (cuts[0][1], cuts[1][1]), (first, second))


def planes_along(instance: Instance, normals: Sequence[Point], cut_off: Sequence[Sequence[int]]) -> Planes | None:
    """Return planes with these normals that cut off these outer points, verified in fractions; None if none do."""
    cuts = [_scaled(instance, w, chosen) for w, chosen in zip(normals, cut_off, strict=True)]
    return None if cuts[0] is None or cuts[1] is None else _planes(instance, (cuts[0], cuts[1]))


def is_proof(instance: Instance, verdict: Verdict) -> bool:
    """Return whether the verdict's planes, or its obstructions, prove it: nothing but fractions is used."""
    if verdict.status == "separable" and verdict.planes is not None:
        (u, v), (g, h) = verdict.planes.w, verdict.planes.g
        return _planes(instance, ((u, g), (v, h))) is not None
    if verdict.status != "inseparable" or not all(_holds(instance, one) for one in verdict.obstructions):
        return False
    sets = [set(one.outer) for one in verdict.obstructions]
    return not any(
        all(not one <= left and not one <= right for one in sets) for left, right in _assignments(len(instance.outer))
    )


def _holds(instance: Instance, one: Obstruction) -> bool:
    sides = ((one.outer, instance.outer), (one.inner, instance.inner))
    if any(sum(weights.values()) != 1 or min(weights.values()) < 0 for weights, _ in sides):
        return False
    points = [
        tuple(sum((w * points[i][axis] for i, w in weights.items()), Fraction(0)) for axis in range(instance.dimension))
        for weights, points in sides
    ]
    return points[0] == points[1]


def _assignments(count: int) -> Iterator[tuple[set[int], set[int]]]:
    for left in range(1 << (count - 1)):
        chosen = set(_members(left))
        yield chosen, set(range(count)) - chosen
