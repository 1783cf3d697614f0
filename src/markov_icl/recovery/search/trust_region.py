"""Trust-region Newton over subspaces: from one start down to a stationary point of the reduced loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from markov_icl.features import Array
from markov_icl.recovery.search.projection import Projection, frame, project
from markov_icl.recovery.search.quadratic import Quadratic

__all__ = ["End", "Signature", "minimize_from", "signature", "trust_step"]

GRADIENT = 1e-12
"""A gradient is zero when its norm is at most this times what the fit explains (see :func:`minimize_from`)."""
CURVATURE = 1e-8
"""A curvature is zero when it is at most this times the largest one, ..."""
ROUNDING = 1e-11
"""... or this times what the fit explains, which covers its rounding where every curvature vanishes."""
_FIRST_RADIUS, _LARGEST_RADIUS = 0.5, 2.0
"""Radians. Over 168 starts (lengths 4 to 9, one and two heads) 2,054 evaluations; 0.25 or 1 at first: 5 percent more;
the largest is never reached there."""
_QUIET_STEPS = 60
"""Steps below the rounding of the loss; 10 were enough for all of those starts."""


@dataclass(frozen=True)
class Signature:
    """Signs of a Hessian's eigenvalues in ``(b, A)``, the flat scaling directions left out."""

    negative: int
    zero: int
    positive: int


@dataclass(frozen=True, eq=False)
class End:
    """Where one start ended.

    Attributes:
        point: the last accepted subspace.
        signature: of the Hessian there.
        relative_gradient: gradient norm (squared states a radian) over ``h^T X``.
        steps: evaluations of the reduced loss.
        status: ``minimum``, ``saddle`` or ``unconverged``.
    """

    point: Projection
    signature: Signature
    relative_gradient: float
    steps: int
    status: Literal["minimum", "saddle", "unconverged"]


def signature(point: Projection) -> Signature:
    """Return the inertia of the Hessian in ``(b, A)``: that of ``H_U`` plus its Schur complement's.

    Counted in coordinates without redundant directions, ``r (D - r)`` for the subspace and
    ``J (r (r+1)/2 + r (D-r))`` for ``A``; with one head only the scaling ``(c b, A/c)`` is left out.
    Source: Haynsworth's inertia additivity.
    """
    values = np.asarray(np.linalg.eigvalsh(point.hessian)) if point.gradient.size else np.zeros(0)
    threshold = _flat_curvature(values, point)
    negative, positive = int((values < -threshold).sum()), int((values > threshold).sum())
    zero = values.size - negative - positive
    return Signature(negative, zero + point.flat, positive + point.curved - point.flat)


def _flat_curvature(values: Array, point: Projection) -> float:
    return max(CURVATURE * float(np.abs(values).max(initial=0.0)), ROUNDING * abs(point.explained))


def trust_step(values: Array, vectors: Array, gradient: Array, radius: float) -> Array:
    """Minimize ``g^T s + s^T B s / 2`` over ``|s| <= radius``, ``B`` given by its eigenvectors.

    Args:
        values: eigenvalues of ``B``, ascending, ``[k]``.
        vectors: ``[k, k]``.
        gradient: ``[k]``.
        radius: positive.

    Source: Moré & Sorensen (1983), the hard case included.
    """
    # Inside the ball if B is positive definite and Newton's step fits.
    g = vectors.T @ gradient
    low = max(0.0, -float(values[0]))
    if values[0] > 0:
        newton = -g / values
        if np.linalg.norm(newton) <= radius:
            return np.asarray(vectors @ newton)
    # The hard case: no gradient along the least curvature, so the step is filled up along it.
    movable = values + low > 1e-14 * max(float(np.abs(values).max()), 1e-300)
    s = np.where(movable, -g / np.where(movable, values + low, 1.0), 0.0)
    if values[0] <= 0 and np.linalg.norm(g[~movable]) <= 1e-10 * radius * low:
        missing = radius**2 - float(s @ s)
        if missing >= 0:
            s[0] += np.copysign(np.sqrt(missing), -g[0])
            return np.asarray(vectors @ s)
    # Else |s| = radius, and bisection finds the shift of B.
    high = low + float(np.linalg.norm(g)) / radius
    for _ in range(100):
        shift = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            s = np.nan_to_num(-g / (values + shift), nan=0.0, posinf=1e150, neginf=-1e150)
        low, high = (shift, high) if np.linalg.norm(s) > radius else (low, shift)
        if high - low <= 1e-10 * high:
            break
    return np.asarray(vectors @ (-g / (values + high)))


def _short_step(values: Array, vectors: Array, gradient: Array, radius: float, flat: float) -> Array:
    """Return Newton's step with the curvatures' signs dropped and directions up to ``flat`` left out."""
    sizes = np.abs(values)
    inverse = np.where(sizes > flat, 1.0 / np.maximum(sizes, max(1e-12 * sizes.max(), 1e-300)), 0.0)
    step = -vectors @ (inverse * (vectors.T @ gradient))
    return np.asarray(step * min(1.0, radius / max(float(np.linalg.norm(step)), 1e-300)))


def minimize_from(quadratic: Quadratic, E: Array, subspace: Array, most_steps: int = 300) -> End:
    """Go from a start to a stationary point, leaving saddles along their negative curvature.

    Converged means: the gradient's norm, in squared states a radian, is at most ``1e-12 h^T X``, the
    amount by which the fit lowers the loss below ``y2``.

    Args:
        quadratic: the loss.
        E: :func:`~markov_icl.recovery.search.projection.forms` of its dimension.
        subspace: ``[D, r]``, its columns independent.
        most_steps: evaluations allowed.
    """
    r = subspace.shape[1]
    point = project(quadratic, E, frame(subspace), r)
    radius, steps, quiet, converged = _FIRST_RADIUS, 1, 0, False
    while True:
        # A saddle has a zero gradient too: its negative curvature leads on.
        size = float(np.linalg.norm(point.gradient))
        converged = size <= GRADIENT * abs(point.explained)
        if not point.gradient.size:
            break
        values, vectors = np.linalg.eigh(point.hessian)
        if (converged and values[0] >= -_flat_curvature(values, point)) or steps >= most_steps:
            break
        step = trust_step(values, vectors, point.gradient, radius)
        predicted = -float(step @ (point.gradient + point.hessian @ step / 2))
        trial = _moved(quadratic, E, point, step)
        steps += 1
        if predicted <= 1e-13 * abs(point.explained):
            # Below the rounding of the loss only the gradient can tell progress.
            flat = _flat_curvature(values, point) if quiet % 2 == 0 else 0.0
            trial = _moved(quadratic, E, point, _short_step(values, vectors, point.gradient, radius, flat))
            steps, quiet = steps + 1, quiet + 1
            if np.linalg.norm(trial.gradient) < size:
                point = trial
            elif radius < 1e-9 or quiet > _QUIET_STEPS:
                break
            elif flat == 0:
                radius /= 4
            continue
        # Radius by how well the model predicted (Nocedal & Wright 2006, algorithm 4.1).
        ratio = (point.loss - trial.loss) / predicted
        if ratio < 0.25:
            radius = float(np.linalg.norm(step)) / 4
        elif ratio > 0.75 and np.linalg.norm(step) > 0.9 * radius:
            radius = min(2 * radius, _LARGEST_RADIUS)
        if ratio > 1e-3:
            point = trial
        elif radius < 1e-12:
            break
    signs = signature(point)
    relative = float(np.linalg.norm(point.gradient)) / max(abs(point.explained), 1e-300)
    status: Literal["minimum", "saddle", "unconverged"] = "saddle" if signs.negative else "minimum"
    return End(point, signs, relative, steps, status if converged else "unconverged")


def _moved(quadratic: Quadratic, E: Array, point: Projection, step: Array) -> Projection:
    """Return the projection at ``span(U + N Theta)``."""
    r, V = point.heads, point.frame
    return project(quadratic, E, frame(V[:, :r] + V[:, r:] @ step.reshape(-1, r)), r)
