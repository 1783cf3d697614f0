"""Singular ``H``: there ``Q + Z`` has no strictly feasible ``Z``, and the null directions go first.

If a product vector ``w`` has ``w^T Q w = 0`` then ``w^T M w = 0``, so ``M`` must vanish on the span ``V``
of all such vectors. With ``U`` a basis of the complement, the problem is solved over the ``Z`` with
``Z V = 0`` and ``U^T (Q + Z) U`` positive definite, by Newton's method with the assembled Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift, packed_shape, unpack
from markov_icl.recovery.solver.newton import cholesky

__all__ = ["Face", "check_bounded", "face_bound", "reduced"]

_MOST_UNKNOWNS = 2500
_ZERO = 1e-11


@dataclass(frozen=True, eq=False)
class Face:
    """The smallest face found.

    Attributes:
        null: orthonormal basis of ``V``, ``[N, k]``.
        Q: ``U^T Q U``, ``[r, r]``.
        q: ``U^T q``.
        free: packed ``Z`` with ``Z V = 0``, one a row, ``[p, pairs]``.
        moves: ``U^T Z U`` for each, ``[p, r, r]``.
    """

    null: Array
    Q: Array
    q: Array
    free: Array
    moves: Array


def face_bound(
    lifted: Lift, upper: Callable[[], float], aim: float, check: Callable[[], None]
) -> tuple[Array, Array, float]:
    """Return the null basis ``[N, k]``, the packed ``Z`` and its ``gamma``.

    Where no strictly feasible point is found, ``Z = 0``: the bound ``f~*``.

    Raises:
        ValueError: if ``q`` is not orthogonal to the null directions, so that the loss has no lower bound.
    """
    kernel = _kernel(lifted.Q)
    check_bounded(lifted)
    shape = packed_shape(lifted.blocks, lifted.dimension)
    plain = lifted.y2 - float(lifted.q @ np.linalg.lstsq(lifted.Q, lifted.q, rcond=_ZERO)[0])
    best = (kernel, np.zeros(shape), plain)
    try:
        check()
        if shape[0] * shape[1] > _MOST_UNKNOWNS:
            return best
        face = reduced(lifted, kernel, check)
        weights = _feasible(face, check) if len(face.free) else None
        if weights is not None:
            lower, weights = _climb(lifted.y2, face, weights, upper, aim, check)
            if lower > plain:
                best = (face.null, (weights @ face.free).reshape(shape), lower)
    except (np.linalg.LinAlgError, KeyboardInterrupt):
        pass
    return best


def check_bounded(lifted: Lift) -> None:
    """Check that the quadratic has a minimum.

    Raises:
        ValueError: if ``q`` is not orthogonal to the null directions, so that the loss has no lower bound.
    """
    along = float(np.abs(_kernel(lifted.Q).T @ lifted.q).max(initial=0.0))
    if along > 1e-8 * float(np.linalg.norm(lifted.q)):
        raise ValueError("expected h orthogonal to the null directions of H; got a loss without lower bound")


def reduced(lifted: Lift, kernel: Array, check: Callable[[], None]) -> Face:
    """Return the face on which ``M`` vanishes on every product vector found in ``ker Q``."""
    null = _product_span(lifted, kernel, check)
    U = sla.null_space(null.T) if null.shape[1] else np.eye(lifted.size)
    count = int(np.prod(packed_shape(lifted.blocks, lifted.dimension)))
    shape = packed_shape(lifted.blocks, lifted.dimension)
    images = np.array(
        [(unpack(e.reshape(shape), lifted.blocks, lifted.dimension) @ null).ravel() for e in np.eye(count)]
    )
    values, vectors = np.linalg.eigh(images @ images.T)
    free = vectors[:, values < 1e-9].T
    moves = np.array([U.T @ unpack(z.reshape(shape), lifted.blocks, lifted.dimension) @ U for z in free])
    moves = moves.reshape(len(free), U.shape[1], U.shape[1])
    return Face(null, U.T @ lifted.Q @ U, U.T @ lifted.q, free, moves)


def _kernel(Q: Array) -> Array:
    values, vectors = np.linalg.eigh(Q)
    return np.asarray(vectors[:, values < _ZERO * values[-1]])


def _product_span(lifted: Lift, kernel: Array, check: Callable[[], None], patience: int = 30) -> Array:
    """Return an orthonormal basis of the span of the product vectors found in ``ker Q``."""
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(lifted.Q)
    keep = values >= _ZERO * values[-1]
    root = (vectors[:, keep] * np.sqrt(values[keep])).T
    span, failures = np.zeros((lifted.size, 0)), 0
    while failures < patience and span.shape[1] < kernel.shape[1]:
        check()
        w = _null_product(root, lifted.dimension, rng)
        rest = w - span @ (span.T @ w)
        if float(np.sum((root @ w) ** 2)) > 1e-24 * values[-1] or np.linalg.norm(rest) < 1e-6:
            failures += 1
            continue
        rest -= span @ (span.T @ rest)
        span, failures = np.column_stack([span, rest / np.linalg.norm(rest)]), 0
    return kernel if span.shape[1] == kernel.shape[1] else span


def _null_product(root: Array, D: int, rng: np.random.Generator) -> Array:
    """Return a unit product vector that locally minimizes ``|root w|``: alternating, then Gauss-Newton."""
    tensor = root.reshape(len(root), D, -1)
    b = rng.standard_normal(D)
    for _ in range(60):
        a = np.linalg.svd(np.tensordot(tensor, b, axes=(1, 0)))[2][-1]
        a /= np.linalg.norm(a)
        b = np.linalg.svd(tensor @ a)[2][-1]
    for _ in range(6):
        given_b, given_a = np.tensordot(tensor, b, axes=(1, 0)), tensor @ a
        step = np.linalg.lstsq(np.hstack([given_a, given_b]), given_b @ a, rcond=1e-9)[0]
        b, a = b - step[:D], a - step[D:]
        b, a = b / np.linalg.norm(b), a / np.linalg.norm(a)
    return np.asarray(np.outer(b, a)).ravel()


def _newton(face: Face, M: Array, q: Array, mu: float) -> tuple[Array, float, Array]:
    """Return the Newton step for ``q^T M^{-1} q - mu log det M``, its decrement, and ``u = M^{-1} q``."""
    W = sla.cho_solve((cholesky(M), True), np.eye(len(M)))
    u = W @ q
    gradient = np.einsum("pij,ij->p", face.moves, np.outer(u, u) + mu * W)
    half = W @ face.moves
    flat = half.reshape(len(half), -1)
    turned = half.transpose(0, 2, 1).reshape(len(half), -1)
    along = face.moves @ u
    hessian = mu * flat @ turned.T + 2 * along @ W @ along.T
    hessian[np.diag_indices_from(hessian)] *= 1 + 1e-12
    step = sla.cho_solve(sla.cho_factor(hessian), gradient)
    return np.asarray(step), float(np.sqrt(max(gradient @ step, 0.0) / mu)), u


def _feasible(face: Face, check: Callable[[], None]) -> Array | None:
    """Return weights with ``U^T (Q + Z) U`` positive definite, or None."""
    weights, eye = np.zeros(len(face.free)), np.eye(len(face.Q))
    scale = float(np.trace(face.Q)) / len(eye)
    shift = 0.1 * scale
    for _ in range(80):
        check()
        M = face.Q + np.tensordot(weights, face.moves, axes=1)
        smallest = float(np.linalg.eigvalsh(M)[0])
        if smallest > 1e-9 * scale:
            return weights
        if len(weights) == 0:
            return None
        shift = min(shift, -0.5 * smallest + 0.5 * shift) if smallest < 0 else shift / 2
        shift = max(shift, 1.2 * max(-smallest, 0.0), 1e-10 * scale)
        for _ in range(2):
            step, decrement, _ = _newton(face, M + shift * eye, np.zeros(len(eye)), 1.0)
            weights = weights + step / (1 + decrement)
            M = face.Q + np.tensordot(weights, face.moves, axes=1)
    return None


def _climb(
    y2: float, face: Face, weights: Array, upper: Callable[[], float], aim: float, check: Callable[[], None]
) -> tuple[float, Array]:
    """Return the best bound reached and its weights."""
    mu, best, kept = 3e-3 * abs(y2), -np.inf, weights
    for _ in range(150):
        try:
            check()
            M = face.Q + np.tensordot(weights, face.moves, axes=1)
            step, decrement, u = _newton(face, M, face.q, mu)
        except (np.linalg.LinAlgError, KeyboardInterrupt):
            break
        gamma = y2 - float(face.q @ u)
        if gamma > best:
            best, kept = gamma, weights
        if upper() - best <= aim or mu < 1e-12 * abs(y2):
            break
        length = 1.0 if decrement < 0.5 else 1 / (1 + decrement)
        weights = weights + length * step
        if decrement < 0.5:
            mu /= 10
    return best, kept
