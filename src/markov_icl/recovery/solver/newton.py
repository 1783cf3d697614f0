"""One Newton step of the barrier method, solved by preconditioned conjugate gradients.

The negated objective is ``q^T M^{-1} q - mu log det M - mu sum_c log det S_c`` with the movable part
``dM = X - sum_c C_c (x) Y_c``, ``Gamma X = -X``. With ``u = M^{-1} q``, ``v = M^{-1} dM u`` and
``R = v u^T + u v^T + mu M^{-1} dM M^{-1}`` its Hessian sends ``(X, Y_c)`` to
``(P(R), -<C_c, R> + mu S_c^{-1} Y_c S_c^{-1})``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray
from scipy.linalg import lapack

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import antisymmetric
from markov_icl.recovery.solver.mask import Mask

__all__ = ["Move", "Point", "assemble", "cholesky", "descent", "direction", "evaluate", "line_search"]

_SINGLE_PRECISION_FROM = 300
"""Order from which the Hessian's largest product runs in float32: an error there only turns the direction."""
_MOST_ITERATIONS = 300
# Newton steps on the nine quadratics of barrier.py, 192 as things are, 3.5 seconds:
_WINDOW, _ENERGY_LEFT = 6, 0.05
"""Conjugate gradients stop when so many iterations gave this share of the energy. Window 3: 193, 12: 185 and a fifth
more seconds; share 0.025: 187, 0.1: 190, 0.25: 197 and a fifth fewer seconds."""
_SHORTEST, _LONGEST = 0.1, 0.6
"""A step that is too long is cut to between these shares. 0.05 and 0.2, 0.3 and 0.9: 192 to 195."""
_BACK, _ON = 0.3, 2.0
"""A step that helps is changed by factors between these. 0.15 and 0.6: 192 and 195; 1.2 and 4: 194 and 197."""

Blocks = tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Point:
    """Everything a Newton step needs at one iterate, in its scaled coordinates.

    Attributes:
        M: ``[N, N]``, positive definite.
        factor: its lower Cholesky factor.
        inverse: its inverse.
        u: ``M^{-1} q``, ``[N]``.
        q: ``[N]``.
        cones: the ``C_c``, ``[D, D]`` each.
        S: the ``S_c``, ``[N/D, N/D]`` each.
        systems: eigenvalues and eigenvectors of every ``S_c``.
        mu: barrier weight.
        dimension: ``D``.
        mask: the face, if not the whole space; ``M`` and ``S`` are then padded.
        tilt: weight of a further term ``<tilt, S>`` in the last ``S_c``, to be driven to zero.
    """

    M: Array
    factor: Array
    inverse: Array
    u: Array
    q: Array
    cones: Blocks
    S: Blocks
    systems: tuple[tuple[Array, Array], ...]
    mu: float
    dimension: int
    mask: Mask | None = None
    tilt: Array | None = None

    def masked(self, blocks: list[Array]) -> list[Array]:
        """Return a direction or gradient with what may not move set to zero."""
        if self.mask is None:
            return blocks
        return [blocks[0] * self.mask.X, *(block * self.mask.Y for block in blocks[1:])]


@dataclass(frozen=True, eq=False)
class Move:
    """A direction: ``X`` antisymmetric under ``Gamma``, the ``Y_c``, and ``M = X - sum_c C_c (x) Y_c``."""

    X: Array
    S: Blocks
    M: Array


def cholesky(M: Array) -> Array:
    """Return the lower Cholesky factor, upper part zero.

    Raises:
        numpy.linalg.LinAlgError: if ``M`` is not positive definite to working precision.
    """
    factor, info = lapack.dpotrf(M.T, lower=1, clean=1)
    if info != 0 or not np.isfinite(np.diag(factor)).all():
        raise np.linalg.LinAlgError("expected a positive definite matrix; got none")
    return np.asarray(factor)


def evaluate(
    M: Array,
    inverse: Array,
    q: Array,
    cones: Blocks,
    S: Blocks,
    mu: float,
    dimension: int,
    mask: Mask | None = None,
) -> Point:
    """Factor ``M`` and the ``S_c``; ``inverse`` is ``M^{-1}``, carried over from other coordinates."""
    factor = cholesky(M)
    u = np.asarray(sla.cho_solve((factor, True), q, check_finite=False))
    systems = tuple((np.asarray(w), np.asarray(V)) for w, V in map(np.linalg.eigh, S))
    return Point(M, factor, inverse, u, q, cones, S, systems, mu, dimension, mask)


def direction(point: Point, check: Callable[[], None], most_iterations: int = _MOST_ITERATIONS) -> tuple[Move, float]:
    """Return the Newton direction and the Newton decrement of the objective divided by ``mu``.

    Conjugate gradients stop when the last few iterations added little to the energy ``g^T x``, which is
    the squared decrement; the preconditioned residual says nothing where ``M^{-1}`` is far from the
    identity. The decrement is infinite if they did not get there. ``check`` is called at every iteration
    and may raise.
    """
    # Textbook conjugate gradients (Hestenes & Stiefel 1952) on a tuple of blocks.
    hessian, precondition = _Hessian(point), _Preconditioner(point)
    residual = descent(point)
    solution = [np.zeros_like(r) for r in residual]
    scaled = precondition(residual)
    along = scaled
    rho = _dot(residual, scaled)
    gains: list[float] = []
    converged = False
    while len(gains) < most_iterations and rho > 0 and not converged:
        check()
        image = hessian(along)
        curvature = _dot(along, image)
        if not curvature > 0:
            break
        step = rho / curvature
        for x, p in zip(solution, along, strict=True):
            x += step * p
        # The energy gained adds up to the squared decrement: it tells when the direction is good enough.
        gains.append(step * rho)
        converged = len(gains) > _WINDOW and sum(gains[-_WINDOW:]) <= _ENERGY_LEFT * sum(gains)
        residual = [r - step * h for r, h in zip(residual, image, strict=True)]
        scaled = precondition(residual)
        new = _dot(residual, scaled)
        along = [z + (new / rho) * p for z, p in zip(scaled, along, strict=True)]
        rho = new
    blocks = tuple(solution[1:])
    decrement = float(np.sqrt(sum(gains) / point.mu)) if converged else np.inf
    return Move(solution[0], blocks, assemble(point.cones, solution[0], blocks)), decrement


def line_search(point: Point, move: Move, evaluations: int = 5) -> float:
    """Return a step length that nearly minimizes the objective; 0 if no length decreases it.

    The objective is convex along the line, so three points bracket and parabolas refine.
    """
    # Back from a full step until the objective falls; the parabola through value and slope says how far.
    here = _value(point, move, 0.0)
    slope = -_dot(descent(point), [move.X, *move.S])
    length, value = 1.0, _value(point, move, 1.0)
    while not value < here:
        bend = value - here - slope * length
        if np.isfinite(value) and bend > 0:
            length *= min(max(-slope * length / (2 * bend), _SHORTEST), _LONGEST)
        else:
            length *= 0.5
        if length < 1e-10:
            return 0.0
        value = _value(point, move, length)
    # On or back to the parabola's minimum, as long as that gains: far from the centre a full step is too short.
    for _ in range(evaluations):
        bend = value - here - slope * length
        best = -slope * length**2 / (2 * bend) if bend > 0 else 2 * length
        trial = min(max(best, _BACK * length), _ON * length)
        if abs(trial - length) <= 0.1 * length:
            break
        new = _value(point, move, trial)
        while not np.isfinite(new) and trial > 1.02 * length:
            trial = (trial + length) / 2
            new = _value(point, move, trial)
        if not new < value:
            break
        length, value = trial, new
    return length


def _value(point: Point, move: Move, length: float) -> float:
    """Return the objective at a step of ``length``; infinity outside the cone."""
    total = 0.0
    try:
        factor = cholesky(point.M + length * move.M)
        total -= 2 * point.mu * float(np.log(np.diag(factor)).sum())
        half = sla.solve_triangular(factor, point.q, lower=True, check_finite=False)
        total += float(half @ half)
        for S, Y in zip(point.S, move.S, strict=True):
            total -= 2 * point.mu * float(np.log(np.diag(cholesky(S + length * Y))).sum())
        if point.tilt is not None:
            total += float(np.vdot(point.tilt, point.S[-1] + length * move.S[-1]))
    except np.linalg.LinAlgError:
        return np.inf
    return total


def _dot(left: list[Array], right: list[Array]) -> float:
    return float(sum(np.vdot(x, y) for x, y in zip(left, right, strict=True)))


def _contract(C: Array, R: Array) -> Array:
    """Return ``<C, R>``, ``sum_{i,k} C[i, k] R[(i, s), (k, t)]``, symmetrized: ``[N/D, N/D]``."""
    D, m = C.shape[0], R.shape[0] // C.shape[0]
    out = np.tensordot(C, R.reshape(D, m, D, m), axes=((0, 1), (0, 2)))
    return np.asarray(out + out.T) / 2


def assemble(cones: Blocks, X: Array, Y: Blocks) -> Array:
    """Return ``X - sum_c C_c (x) Y_c``, ``[N, N]``."""
    for C, y in zip(cones, Y, strict=True):
        X = X - np.kron(C, y)
    return X


def descent(point: Point) -> list[Array]:
    """Return minus the gradient: ``P(u u^T + mu M^{-1})`` and ``mu S_c^{-1} - <C_c, u u^T + mu M^{-1}>``."""
    R = np.outer(point.u, point.u) + point.mu * point.inverse
    blocks = [point.mu * (V / w) @ V.T - _contract(C, R) for C, (w, V) in zip(point.cones, point.systems, strict=True)]
    if point.tilt is not None:
        blocks[-1] = blocks[-1] - point.tilt
    return point.masked([antisymmetric(R, point.dimension), *blocks])


class _Hessian:
    """The Hessian of the negated objective; its largest product runs in single precision."""

    def __init__(self, point: Point) -> None:
        self.point = point
        kind = np.float32 if point.u.size > _SINGLE_PRECISION_FROM else np.float64
        self.inverse: NDArray[np.floating] = point.inverse.astype(kind)
        self.S_inverse = [(V / w) @ V.T for w, V in point.systems]

    def __call__(self, along: list[Array]) -> list[Array]:
        point = self.point
        change = assemble(point.cones, along[0], tuple(along[1:]))
        v = point.inverse @ (change @ point.u)
        product = self.inverse @ change.astype(self.inverse.dtype) @ self.inverse
        R = point.mu * product.astype(np.float64)
        R += np.outer(v, point.u)
        R += np.outer(point.u, v)
        blocks = [
            point.mu * (W @ Y @ W) - _contract(C, R)
            for C, W, Y in zip(point.cones, self.S_inverse, along[1:], strict=True)
        ]
        X = antisymmetric(R, point.dimension)
        return point.masked([(X + X.T) / 2, *blocks])


class _Preconditioner:
    """The exact inverse of ``mu D + 2 B^T M^{-1} B``, ``B (X, Y) = (X - sum_c C_c (x) Y_c) u``, by Woodbury.

    ``D`` is the identity on ``X`` and multiplies ``Y_c`` by ``|C_c|^2 + 1/(s_i s_j)`` in the eigenbasis of
    ``S_c``: exact where ``M^{-1}`` is the identity, and close to it in the coordinates chosen.
    """

    def __init__(self, point: Point) -> None:
        self.point = point
        self.U = point.u.reshape(point.dimension, -1)
        self.weights = [
            1 / (float(np.vdot(C, C)) + 1 / np.outer(w, w))
            for C, (w, _) in zip(point.cones, point.systems, strict=True)
        ]
        inner = point.mu * point.M / 2 + self._product_shared()
        for C, omega, (_, V) in zip(point.cones, self.weights, point.systems, strict=True):
            inner += _product_cone(C @ self.U @ V, omega, V)
        self.factor = sla.cho_factor((inner + inner.T) / 2, lower=True, check_finite=False)

    def _product_shared(self) -> Array:
        """Return ``B B^T`` on ``X``: ``(|u|^2 I - U U^T (x) I - I (x) U^T U + u u^T) / 4``."""
        u, U = self.point.u, self.U
        D, m = U.shape
        out = np.outer(u, u)
        view = out.reshape(D, m, D, m)
        outer, inner, square = U @ U.T, U.T @ U, float(u @ u)
        diagonal = np.arange(m)
        view[:, diagonal, :, diagonal] -= outer
        for i in range(D):
            view[i, :, i, :] -= inner
        out[np.diag_indices(u.size)] += square
        return out / 4

    def __call__(self, residual: list[Array]) -> list[Array]:
        point, U, mu = self.point, self.U, self.point.mu
        D, m = U.shape
        scaled = [residual[0] / mu]
        for omega, (_, V), G in zip(self.weights, point.systems, residual[1:], strict=True):
            scaled.append(V @ (omega * (V.T @ G @ V)) @ V.T / mu)
        image = (mu * scaled[0]) @ point.u
        for C, Y in zip(point.cones, scaled[1:], strict=True):
            image -= mu * (C @ U @ Y).reshape(-1)
        w = np.asarray(sla.cho_solve(self.factor, image, check_finite=False)).reshape(D, m)
        sym = np.outer(w.reshape(-1), point.u)
        X = antisymmetric(sym + sym.T, D)
        X /= -2 * mu
        X += scaled[0]
        out = [X]
        for C, omega, (_, V), Y in zip(point.cones, self.weights, point.systems, scaled[1:], strict=True):
            back = U.T @ C @ w
            out.append(Y + V @ (omega * (V.T @ (back + back.T) @ V)) @ V.T / (2 * mu))
        return point.masked(out)


def _product_cone(G: Array, omega: Array, V: Array) -> Array:
    """Return ``B D^{-1} B^T`` on one ``Y``, ``G = C U V``, ``omega`` the weights in the basis ``V``."""
    D, m = G.shape
    diagonal = np.einsum("ip,ps,kp->sik", G, omega, G, optimize=True)
    out = np.einsum("ip,ps,ks->iskp", G, omega, G, optimize=True)
    index = np.arange(m)
    out[:, index, :, index] += diagonal
    out = np.einsum("tp,iskp->iskt", V, np.einsum("ts,iskp->itkp", V, out, optimize=True), optimize=True)
    return np.asarray(out).reshape(D * m, D * m) / 2
