"""The one-layer loss ``f(b, A) = f~(phi(b, A))`` on a plane through two parameter points, and its gradient flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.features import Array, phi
from markov_icl.landscape.realizable import loss_and_gradient
from markov_icl.recovery.search.quadratic import Quadratic

__all__ = ["Flow", "Plane", "balanced", "gradient_flow", "layer_gradient", "layer_loss", "plane_through"]

_STATIONARY = 1e-9
"""A flow has arrived when its gradient is this small, relative to that at its start."""
_LONGEST_TIME = 1e6


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane ``origin + s u + t v`` in the space of ``theta = (b, A)``, flattened, ``[D + D J]``.

    Attributes:
        quadratic: the loss over the enlarged space.
        origin: at ``(0, 0)``.
        u: to the second point, at ``(1, 0)``.
        v: orthogonal to ``u`` and as long.
    """

    quadratic: Quadratic
    origin: Float[np.ndarray, " K"]
    u: Float[np.ndarray, " K"]
    v: Float[np.ndarray, " K"]

    def point(self, s: float, t: float) -> Float[np.ndarray, " K"]:
        """Return ``theta`` at ``(s, t)``."""
        return self.origin + s * self.u + t * self.v

    def coordinates(self, theta: Float[np.ndarray, "*points K"]) -> Float[np.ndarray, "*points 2"]:
        """Return ``(s, t)`` of the orthogonal projection of each point."""
        offset = theta - self.origin
        return np.stack([offset @ self.u / (self.u @ self.u), offset @ self.v / (self.v @ self.v)], axis=-1)

    def losses(self, s: Float[np.ndarray, " S"], t: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T S"]:
        """Return the loss on a grid, rows in ``t``.

        ``phi`` is bilinear, so on the plane ``X`` is a polynomial of degree 2 in ``(s, t)`` with six coefficients,
        and the loss is a quadratic form of six monomials.
        """
        D, J = self.quadratic.dimension, self.quadratic.blocks
        (b0, A0), (b1, A1), (b2, A2) = (_unflattened(x, D, J) for x in (self.origin, self.u, self.v))
        coefficients = np.stack(
            [
                phi(b0, A0),
                phi(b0, A1) + phi(b1, A0),
                phi(b0, A2) + phi(b2, A0),
                phi(b1, A1),
                phi(b1, A2) + phi(b2, A1),
                phi(b2, A2),
            ],
            axis=1,
        )
        form = coefficients.T @ self.quadratic.apply(coefficients)
        slope = coefficients.T @ self.quadratic.h
        x, y = np.meshgrid(s, t)
        monomials = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
        bent = np.einsum("aij,ab,bij->ij", monomials, form, monomials, optimize=True)
        losses: Array = self.quadratic.y2 - 2 * np.tensordot(slope, monomials, 1) + bent
        return losses


@dataclass(frozen=True, eq=False)
class Flow:
    """The path ``d theta / d time = -grad f`` from a start.

    Attributes:
        time: ``[T]``.
        path: ``theta``, ``[T, K]``.
        losses: ``[T]``, falling.
        stationary: whether the gradient has become small at the end.
    """

    time: Float[np.ndarray, " T"]
    path: Float[np.ndarray, "T K"]
    losses: Float[np.ndarray, " T"]
    stationary: bool


def balanced(b: Float[np.ndarray, " D"], A: Float[np.ndarray, "D J"]) -> Float[np.ndarray, " K"]:
    """Return ``theta`` with the same product and ``|b| = |A|``: the scaling that gradient flow keeps from small starts.

    ``(c b, A / c)`` is the same layer for every ``c != 0``.
    """
    size_b, size_A = float(np.linalg.norm(b)), float(np.linalg.norm(A))
    scale = np.sqrt(size_A / size_b) if size_A > 0 and size_b > 0 else 1.0
    return np.concatenate([scale * b, (A / scale).ravel()])


def plane_through(
    quadratic: Quadratic,
    first: Float[np.ndarray, " K"],
    second: Float[np.ndarray, " K"],
    third: Float[np.ndarray, " K"],
) -> Plane:
    """Return the plane through ``first`` and ``second`` that leans towards ``third``.

    ``-theta`` is the same layer as ``theta``, so of both signs of ``second`` the nearer one is taken; the same for
    ``third``.

    Raises:
        ValueError: if the three points lie on a line.
    """
    second = second if first @ second >= 0 else -second
    third = third if first @ third >= 0 else -third
    u, w = second - first, third - first
    length = float(np.linalg.norm(u))
    if length < 1e-9 * max(float(np.linalg.norm(first)), 1e-300):
        raise ValueError("expected two different points; got the same layer twice")
    v = w - (w @ u) / (u @ u) * u
    size = float(np.linalg.norm(v))
    if size < 1e-6 * length:
        raise ValueError("expected a third point beside the line through the first two; got one on it")
    return Plane(quadratic, first, u, v * (length / size))


def layer_loss(quadratic: Quadratic, theta: Float[np.ndarray, " K"]) -> float:
    """Return ``f(b, A)``, in squared states."""
    return quadratic.loss(phi(*_unflattened(theta, quadratic.dimension, quadratic.blocks)))


def layer_gradient(quadratic: Quadratic, theta: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Return the gradient of :func:`layer_loss`, ``[K]``."""
    b, A = _unflattened(theta, quadratic.dimension, quadratic.blocks)
    _, in_b, in_A = loss_and_gradient(quadratic, b[None], A[None])
    return np.concatenate([in_b[0], in_A[0].ravel()])


def gradient_flow(quadratic: Quadratic, start: Float[np.ndarray, " K"], within: Plane | None = None) -> Flow:
    """Follow the gradient flow of the one-layer loss from ``start``.

    Args:
        quadratic: the loss over the enlarged space.
        start: ``theta``.
        within: a plane that contains the start; the flow then stays in it.
    """
    from scipy.integrate import solve_ivp

    if within is None:
        frame = np.eye(len(start))
    else:
        frame = np.stack([within.u / np.linalg.norm(within.u), within.v / np.linalg.norm(within.v)])
    first = float(np.linalg.norm(frame @ layer_gradient(quadratic, start)))

    def slope(_time: float, z: Array) -> Array:
        return np.asarray(-frame @ layer_gradient(quadratic, start + z @ frame))

    def arrived(time: float, z: Array) -> float:
        return float(np.linalg.norm(slope(time, z))) - max(_STATIONARY * first, 1e-13)

    arrived.terminal = True  # type: ignore[attr-defined]
    solved = solve_ivp(slope, (0.0, _LONGEST_TIME), np.zeros(len(frame)), "LSODA", events=arrived, rtol=1e-6, atol=1e-9)
    path = start + solved.y.T @ frame
    losses = np.array([layer_loss(quadratic, theta) for theta in path])
    return Flow(solved.t, path, losses, bool(solved.status == 1 or first <= 1e-13))


def _unflattened(theta: Array, D: int, J: int) -> tuple[Array, Array]:
    return theta[:D], theta[D:].reshape(D, J)
