"""Pareto fronts of the objectives of one prompt, and the distance of iterates to them.

Most of the objectives are unbounded below (see :func:`~markov_icl.depth.objectives.unbounded_below`), so a front exists
only inside a box ``[-c, c]^J`` for ``w``; every front names its box. Distances are Euclidean between objective vectors,
each objective divided by its range over the front and ``w = 0``, where all iterates start. (The usual range over the
front alone, nadir minus ideal, is close to nothing where the front is a corner of the box, as for ``R2``.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from markov_icl.choices import FRONTS, unknown
from markov_icl.depth.objectives import GROUPS, group_values, unbounded_below

__all__ = [
    "CONVENTIONS",
    "Front",
    "GenerationalDistance",
    "distances",
    "front_of",
    "generational_distance",
    "line_front",
    "nondominated",
    "nsga2_front",
    "sampled_front",
]

CONVENTIONS = {
    "mean": "mean of the distances",
    "veldhuizen": "square root of the sum of squared distances, divided by their number (Van Veldhuizen 1999, p = 2)",
}
"""Names of the ways to average distances, and what they say."""
_BLOCK = 256
"""Points compared with all others at a time, which bounds memory."""
_CORNERS = 8  # coordinates whose signs vary over the corners that are looked at
_CLOUD = (0.02, 0.1, 0.4)
"""Standard deviations of a cloud, in half-widths of the box: near to far, a factor of five apart; not tuned."""


@dataclass(frozen=True, eq=False)
class Front:
    """The points, of all that were evaluated, that no other dominates.

    Attributes:
        w: where they are, ``[F, J]``.
        values: their objectives, ``[F, K]``.
        group: ``R1``, ``R2`` or ``both``.
        method: ``sampled``, ``nsga2``, or ``line`` where only ``w_J`` was free.
        box: ``c``, half the side of the cube ``[-c, c]^J`` that was searched.
        origin: the objectives at ``w = 0``, ``[K]``.
        looked_at: how many points.
        unbounded: objectives without a lower bound outside the box.
    """

    w: Float[np.ndarray, "F J"]
    values: Float[np.ndarray, "F K"]
    group: str
    method: str
    box: float
    origin: Float[np.ndarray, "K"]
    looked_at: int
    unbounded: tuple[str, ...]

    @cached_property
    def scale(self) -> Float[np.ndarray, "K"]:
        """Return what each objective is divided by, its range over the front and the origin, 1 where there is none."""
        everything = np.concatenate([self.values, self.origin[None]])
        span = everything.max(0) - everything.min(0)
        return np.where(span > 1e-12 * (1 + np.abs(everything).max(0)), span, 1.0)


def nondominated(values: Float[np.ndarray, "N K"]) -> Bool[np.ndarray, "N"]:
    """Mark the points that no other dominates: nowhere larger, somewhere smaller; smaller is better.

    A dominating point has no larger sum and comes first in dictionary order, so in the order of sums, ties broken that
    way, every point need be compared with survivors only.
    """
    order = np.lexsort((*values.T[::-1], values.sum(1)))
    kept = np.empty((0, values.shape[1]))
    mask = np.zeros(len(values), dtype=bool)
    for first in range(0, len(order), _BLOCK):
        index = order[first : first + _BLOCK]
        index = index[np.logical_not(_dominated(values[index], kept))]
        index = index[np.logical_not(_dominated(values[index], values[index]))]
        mask[index] = True
        kept = np.concatenate([kept, values[index]])
    return mask


def _dominated(values: Float[np.ndarray, "N K"], by: Float[np.ndarray, "M K"]) -> Bool[np.ndarray, "N"]:
    below = np.ones((len(values), len(by)), dtype=bool)
    strictly = np.zeros_like(below)
    for column, other in zip(values.T, by.T, strict=True):
        below &= other <= column[:, None]
        strictly |= other < column[:, None]
    result: Bool[np.ndarray, "N"] = np.any(below & strictly, axis=1)
    return result


def sampled_front(
    group: str,
    context: Float[np.ndarray, "n D"],
    near: Float[np.ndarray, "M J"] | None = None,
    box: float = 2.0,
    count: int = 2048,
    seed: int = 0,
) -> Front:
    """Return the points that no sampled point dominates.

    Samples are the box's corners, Sobol points inside and, half of their coordinates pushed there, on its faces, and
    a cloud around the least-squares solution and the points of ``near``, whose distances to the front are wanted; then
    two rounds of clouds around the front so far. A point of ``near`` inside the box has distance 0 exactly if no sample
    dominates it.

    Args:
        group: ``R1``, ``R2`` or ``both``.
        context: of one prompt.
        near: points that are sampled around; those outside the box do not become candidates themselves.
        box: half-width of the cube.
        count: a quarter of it, down to a power of two, is drawn inside, on faces, in the first and in each later cloud.
        seed: of the samples.

    Raises:
        ValueError: for an unknown group or a box or count that is not positive.
    """
    from scipy.stats import qmc

    _check(group, box, count)
    J = context.shape[1] - 1
    rng = np.random.default_rng(seed)
    quarter = 2 ** max(0, int(np.log2(count)) - 2)  # Sobol points are balanced in powers of two only
    # Samples inside, and near where an unconstrained optimum or a point that is judged would sit.
    spread = (2 * qmc.Sobol(J, rng=rng).random(quarter) - 1) * box
    fit = np.linalg.lstsq(context[:, :J], context[:, J], rcond=None)[0]
    centres = np.concatenate([fit[None], np.empty((0, J)) if near is None else near])
    inside = centres[np.abs(centres).max(1) <= box]
    # All objectives but one are unbounded below, so much of a front lies on faces and in corners of the box.
    faces = np.where(rng.random(spread.shape) < 0.5, np.copysign(box, spread), spread)
    corners = box * np.array(list(product((-1.0, 1.0), repeat=min(J, _CORNERS))))
    corners = np.pad(corners, ((0, 0), (0, J - corners.shape[1])), constant_values=box)
    w = np.concatenate([inside, corners, faces, spread, _cloud(centres, quarter, box, rng)])
    values = group_values(group, w, context)
    looked_at = len(w)
    # Two rounds of samples around the front so far: it is thin, and samples of the whole box are far from it.
    for _ in range(2):
        keep = nondominated(values)
        around = _cloud(w[keep], quarter, box, rng)
        w = np.concatenate([w[keep], around])
        values = np.concatenate([values[keep], group_values(group, around, context)])
        looked_at += quarter
    keep = nondominated(values)
    return _front(w[keep], values[keep], group, "sampled", box, looked_at, context)


def _cloud(
    centres: Float[np.ndarray, "M J"], count: int, box: float, rng: np.random.Generator
) -> Float[np.ndarray, "N J"]:
    """Return normal points around random centres, cut off at the box."""
    width = box * rng.choice(_CLOUD, size=(count, 1))
    chosen = centres[rng.integers(len(centres), size=count)]
    cloud: Float[np.ndarray, "N J"] = np.clip(
        np.clip(chosen, -box, box) + width * rng.standard_normal(chosen.shape), -box, box
    )
    return cloud


def line_front(
    context: Float[np.ndarray, "n D"], w: Float[np.ndarray, "J"], box: float = 2.0, count: int = 401
) -> Front:
    """Return the front of ``R2`` over ``w_J`` alone, the other entries kept at ``w``'s.

    That is how Theorem 4.1 differentiates ``R2``. With all of ``w`` free its front sits in a far corner of the box,
    since each ``R2_k`` falls without bound along some ``w_{:J-1}``.

    Args:
        context: of one prompt.
        w: the iterate; a candidate itself if ``|w_J| <= box``.
        box: half the length of the line.
        count: of points on the line.

    Raises:
        ValueError: for a box or count that is not positive.
    """
    _check("R2", box, count)
    last = np.linspace(-box, box, count)
    last = np.append(last, w[-1]) if abs(w[-1]) <= box else last
    candidates = np.repeat(w[None], len(last), axis=0)
    candidates[:, -1] = last
    values = group_values("R2", candidates, context)
    keep = nondominated(values)
    return _front(candidates[keep], values[keep], "R2", "line", box, len(candidates), context)


def nsga2_front(
    group: str,
    context: Float[np.ndarray, "n D"],
    near: Float[np.ndarray, "M J"] | None = None,
    box: float = 2.0,
    population: int = 200,
    generations: int = 100,
    seed: int = 0,
) -> Front:
    """Return the last nondominated population of NSGA-II: the reference front.

    Args:
        group: ``R1``, ``R2`` or ``both``.
        context: of one prompt.
        near: unused, so that a reference front owes nothing to the iterates; here for the common signature.
        box: half-width of the cube.
        population: points a generation.
        generations: how many.
        seed: of the search.

    Raises:
        ValueError: for an unknown group, a box that is not positive, or without pymoo.

    Source: Deb et al. (2002), as in pymoo (extra ``moo``).
    """
    del near
    _check(group, box, population)
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.optimize import minimize
    except ImportError:
        raise ValueError("expected pymoo for NSGA-II; install it with `pip install 'markov-icl[moo]'`") from None
    J = context.shape[1] - 1

    class Objectives(Problem):  # type: ignore[misc]
        def _evaluate(self, w: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = group_values(group, np.asarray(w, dtype=float), context)

    objectives = group_values(group, np.zeros((1, J)), context).shape[1]
    problem = Objectives(n_var=J, n_obj=objectives, xl=-box, xu=box)
    found = minimize(problem, NSGA2(pop_size=population), ("n_gen", generations), seed=seed, verbose=False)
    w, values = np.atleast_2d(found.X).astype(float), np.atleast_2d(found.F).astype(float)
    return _front(w, values, group, "nsga2", box, population * generations, context)


def front_of(method: str) -> Callable[..., Front]:
    """Return the function of a method's name, ``sampled`` or ``nsga2``.

    Raises:
        ValueError: for another name.
    """
    if method not in FRONTS:
        raise unknown("a front,", method, FRONTS)
    finders: tuple[Callable[..., Front], ...] = (sampled_front, nsga2_front)
    return dict(zip(FRONTS, finders, strict=True))[method]


def _check(group: str, box: float, count: int) -> None:
    if group not in GROUPS:
        raise unknown("a group of objectives,", group, GROUPS)
    if not (0 < box < np.inf) or count < 2:
        raise ValueError(f"expected a positive box and at least 2 points; got {box} and {count}")


def _front(
    w: Float[np.ndarray, "F J"],
    values: Float[np.ndarray, "F K"],
    group: str,
    method: str,
    box: float,
    looked_at: int,
    context: Float[np.ndarray, "n D"],
) -> Front:
    origin = group_values(group, np.zeros(w.shape[1]), context)
    unbounded = unbounded_below(group, context.T @ context / len(context))
    return Front(w, values, group, method, box, origin, looked_at, unbounded)


def distances(values: Float[np.ndarray, "M K"], front: Front) -> Float[np.ndarray, "M"]:
    """Return the normalized distance of objective vectors to the nearest point of a front."""
    from scipy.spatial import KDTree

    distance, _ = KDTree(front.values / front.scale).query(values / front.scale)
    return np.asarray(distance, dtype=float)


@dataclass(frozen=True)
class GenerationalDistance:
    """Generational Distance of a set of points.

    Attributes:
        value: the distance.
        convention: ``mean`` or ``veldhuizen``, see :data:`CONVENTIONS`; the same for a single point.
        points: how many.
    """

    value: float
    convention: str
    points: int


def generational_distance(found: Float[np.ndarray, "M"], convention: str = "mean") -> GenerationalDistance:
    """Sum up the distances of a set of points to the front: ``(sum d)/M`` or ``(sum d^2)^(1/2)/M``.

    Raises:
        ValueError: for an unknown convention or no point.

    Source: Van Veldhuizen (1999); pymoo and most later work use the mean.
    """
    if convention not in CONVENTIONS or len(found) == 0:
        raise ValueError(f"expected a convention, {' or '.join(CONVENTIONS)}, and a point; got {convention!r}")
    total = float(found.sum() if convention == "mean" else np.linalg.norm(found))
    return GenerationalDistance(total / len(found), convention, len(found))
