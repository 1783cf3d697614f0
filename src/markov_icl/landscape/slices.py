"""The loss along coordinates, lines and planes through a point, and the spectrum of its Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.moments.system import Moments

__all__ = ["PlaneSlice", "Slices", "coordinate_slices", "plane_slice", "spectrum"]


@dataclass(frozen=True, eq=False)
class Slices:
    """The population loss along coordinates of ``X``, all others at the minimizer (Fig. 10).

    Attributes:
        coordinates: zero-based coordinates, ``[C]``.
        labels: their names, ``[C]``.
        values: the coordinate's value at each point, ``[C, T]``.
        losses: ``f~`` there, in squared states, ``[C, T]``.
        minimizer: the coordinate's value at ``X*``, ``[C]``.
        loss: ``f~*``.
    """

    coordinates: tuple[int, ...]
    labels: tuple[str, ...]
    values: Float[np.ndarray, "C T"]
    losses: Float[np.ndarray, "C T"]
    minimizer: Float[np.ndarray, "C"]
    loss: float


def coordinate_slices(
    form: ClosedForm, coordinates: Sequence[int] | None = None, radius: float = 1.0, points: int = 81
) -> Slices:
    """Evaluate ``f~(X* + t e_c)`` for ``|t| <= radius``.

    Args:
        form: the minimizer and its moments.
        coordinates: zero-based; the first six when None.
        radius: half-width of each slice.
        points: number of points, at least 3.

    Raises:
        ValueError: for a coordinate outside ``0..N-1``, a radius <= 0 or fewer than 3 points.
    """
    size = form.moments.size
    chosen = tuple(range(min(6, size)) if coordinates is None else coordinates)
    outside = [c for c in chosen if not 0 <= c < size]
    if outside or not chosen:
        raise ValueError(f"expected coordinates in 0..{size - 1}; got {outside or 'none'}")
    if not (np.isfinite(radius) and radius > 0) or points < 3:
        raise ValueError(f"expected radius > 0 and at least 3 points; got {radius}, {points}")
    t = np.linspace(-radius, radius, points)
    index = np.array(chosen)
    gradient = form.moments.gradient(form.X)[index]
    curvature = form.moments.diagonal(index)
    losses = form.moments.loss(form.X) + gradient[:, None] * t + curvature[:, None] * t**2
    labels = form.labels
    return Slices(chosen, tuple(labels[c] for c in chosen), form.X[index, None] + t, losses, form.X[index], form.loss)


@dataclass(frozen=True, eq=False)
class PlaneSlice:
    """The loss on ``X + s u + t v``: offsets ``s`` ``[A]``, ``t`` ``[B]``, losses ``[A, B]``."""

    s: Float[np.ndarray, "A"]
    t: Float[np.ndarray, "B"]
    losses: Float[np.ndarray, "A B"]


def plane_slice(
    form: ClosedForm,
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    s: NDArray[np.float64],
    t: NDArray[np.float64],
) -> PlaneSlice:
    """Evaluate ``f~`` on the plane through the minimizer spanned by ``u`` and ``v``, each ``[N]``."""
    m = form.moments
    slope = m.gradient(form.X)
    linear = np.add.outer(s * (slope @ u), t * (slope @ v))
    Hu, Hv = m.apply(u), m.apply(v)
    curved = np.add.outer(s**2 * (u @ Hu), t**2 * (v @ Hv)) + 2 * np.outer(s, t) * (u @ Hv)
    return PlaneSlice(s, t, m.loss(form.X) + linear + curved)


def spectrum(form: ClosedForm) -> Float[np.ndarray, "N"]:
    """Return the eigenvalues of the Hessian ``2 H``, ascending, ``[N]``.

    Raises:
        ValueError: for a minimizer found without the matrix ``H``.
    """
    if not isinstance(form.moments, Moments):
        raise ValueError("expected a minimizer with its matrix H; got one found by the operator (use dense)")
    return np.asarray(2 * np.linalg.eigvalsh(form.moments.H))
