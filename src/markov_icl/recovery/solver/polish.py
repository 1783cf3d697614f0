"""From a rough guess of ``(b, A)`` to the nearby local minimum of the one-layer loss.

Ten alternating least squares, then Newton steps in all unknowns. This serves the upper bound of a
certificate; the search for every local minimum is :mod:`markov_icl.recovery.search.fit`.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift

__all__ = ["polish", "rank_one"]


def rank_one(u: Array, dimension: int) -> tuple[Array, Array, float]:
    """Return the best ``b`` ``[D]``, ``a`` ``[J D]`` with ``b (x) a`` near ``u`` ``[N]``, and ``s2 / s1``."""
    left, values, right = np.linalg.svd(u.reshape(dimension, -1), full_matrices=False)
    ratio = float(values[1] / values[0]) if values[0] > 0 and values.size > 1 else 0.0
    return left[:, 0], values[0] * right[0], ratio


def polish(lifted: Lift, b: Array, a: Array, sweeps: int = 10, steps: int = 8) -> tuple[Array, Array, float]:
    """Return ``(b, a, loss)`` after alternating least squares and safeguarded Newton steps.

    Args:
        lifted: the loss.
        b: ``[D]``.
        a: ``vec(A)``, ``[J D]``.
        sweeps: alternating least-squares sweeps, at least one.
        steps: most Newton steps.
    """
    # Exact minimization in a, then in b: robust from anywhere, slow near the end.
    for _ in range(sweeps):
        b = b / (np.linalg.norm(b) or 1.0)
        a = _least_squares(*_given_b(lifted, b))
        scale = float(np.linalg.norm(a)) or 1.0
        b = _least_squares(*_given_a(lifted, a / scale))
        a = a / scale
    # Newton in all unknowns with |b| = |a|, where the scaling direction is best conditioned.
    b, a = _balance(b, a)
    loss = lifted.loss(b, a)
    for _ in range(steps):
        new_b, new_a, new_loss = _damped(lifted, b, a, loss)
        gain = loss - new_loss
        if gain > 0:
            b, a, loss = new_b, new_a, new_loss
        if gain <= 1e-15 * max(abs(lifted.y2), abs(loss)):
            break
    return b, a, loss


def _damped(lifted: Lift, b: Array, a: Array, loss: float) -> tuple[Array, Array, float]:
    """Return the first decrease along the Newton step, halving its length."""
    step_b, step_a = _newton_step(lifted, b, a)
    for halvings in range(12):
        length = 0.5**halvings
        new_b, new_a = _balance(b + length * step_b, a + length * step_a)
        new_loss = lifted.loss(new_b, new_a)
        if new_loss < loss:
            return new_b, new_a, new_loss
    return b, a, loss


def _balance(b: Array, a: Array) -> tuple[Array, Array]:
    nb, na = float(np.linalg.norm(b)), float(np.linalg.norm(a))
    if nb == 0 or na == 0:
        return b, a
    root = np.sqrt(na / nb)
    return b * root, a / root


def _given_b(lifted: Lift, b: Array) -> tuple[Array, Array]:
    """Return ``(b (x) I)^T Q (b (x) I)`` and ``(b (x) I)^T q``."""
    D, n = lifted.dimension, lifted.size
    m = n // D
    half = (b @ lifted.Q.reshape(D, m * n)).reshape(m, D, m)
    return np.tensordot(half, b, axes=(1, 0)), b @ lifted.q.reshape(D, m)


def _given_a(lifted: Lift, a: Array) -> tuple[Array, Array]:
    """Return ``(I (x) a)^T Q (I (x) a)`` and ``(I (x) a)^T q``."""
    D, n = lifted.dimension, lifted.size
    half = (lifted.Q.reshape(n * D, n // D) @ a).reshape(D, n // D, D)
    return np.tensordot(a, half, axes=(0, 1)), lifted.q.reshape(D, -1) @ a


def _least_squares(matrix: Array, right: Array) -> Array:
    """Solve a positive semidefinite system; the minimum-norm solution where it is singular."""
    try:
        factor = sla.cho_factor(matrix)
        if np.diag(factor[0]).min() ** 2 > 1e-12 * np.diag(matrix).max():
            return np.asarray(sla.cho_solve(factor, right))
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-12 * max(float(values[-1]), 0.0)
    inverse = np.where(keep, 1 / np.where(keep, values, 1.0), 0.0)
    return np.asarray(vectors @ (inverse * (vectors.T @ right)))


def _newton_step(lifted: Lift, b: Array, a: Array) -> tuple[Array, Array]:
    """Return the Newton step with the Hessian's eigenvalues replaced by their moduli."""
    D, n = lifted.dimension, lifted.size
    m = n // D
    residual = (lifted.Q @ np.multiply.outer(b, a).ravel() - lifted.q).reshape(D, m)
    Qb = (b @ lifted.Q.reshape(D, m * n)).reshape(m, n)
    hessian = np.zeros((D + m, D + m))
    hessian[:D, :D] = _given_a(lifted, a)[0]
    hessian[D:, D:] = np.tensordot(Qb.reshape(m, D, m), b, axes=(1, 0))
    cross = (Qb.reshape(m, D, m) @ a).T + residual
    hessian[:D, D:] = cross
    hessian[D:, :D] = cross.T
    gradient = np.concatenate([residual @ a, b @ residual])
    values, vectors = np.linalg.eigh(hessian)
    floor = 1e-11 * float(np.abs(values).max(initial=0.0))
    scaled = np.where(np.abs(values) > floor, 1 / np.maximum(np.abs(values), floor or 1.0), 0.0)
    step = -vectors @ (scaled * (vectors.T @ gradient))
    return step[:D], step[D:]
