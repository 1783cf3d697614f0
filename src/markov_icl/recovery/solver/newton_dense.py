"""The Newton step from the assembled Hessian: for small or badly conditioned nodes.

Directions are vectors in an orthonormal basis: the packed entries of ``X``, times two, then for every
cone the upper triangle of ``Y_c``, off-diagonal entries times ``sqrt 2``.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from markov_icl.features import Array
from markov_icl.recovery.solver.newton import Move, Point, assemble, descent

__all__ = ["dense_direction", "unknowns"]

_CHUNK = 1 << 22
"""Numbers in a batch of basis directions: 32 MB."""


def unknowns(point: Point) -> int:
    """Return the number of free parameters of a direction."""
    D, m = point.dimension, point.u.size // point.dimension
    return D * (D - 1) // 2 * (m * (m - 1) // 2) + len(point.cones) * (m * (m + 1) // 2)


def dense_direction(point: Point) -> tuple[Move, float]:
    """Return the Newton direction and the Newton decrement of the objective divided by ``mu``.

    Raises:
        numpy.linalg.LinAlgError: if the Hessian is not positive definite to working precision.
    """
    # Both sides in one orthonormal basis, without the coordinates that a face holds still.
    gradient = descent(point)
    blocks_right = [_flatten_cone(g[None])[0] for g in gradient[1:]]
    right = np.concatenate([_flatten_shared(gradient[0][None], point)[0], *blocks_right])
    hessian = _hessian(point)
    free = _movable(point)
    right, hessian = right[free], hessian[np.ix_(free, free)]
    # Unit diagonal: near the end entries differ by 1e12; the ridge is rounding's size.
    scale = 1 / np.sqrt(np.diag(hessian))
    hessian *= np.outer(scale, scale)
    hessian[np.diag_indices_from(hessian)] += 1e-14
    factor = sla.cho_factor(hessian, lower=True, check_finite=True)
    found = scale * np.asarray(sla.cho_solve(factor, scale * right))
    decrement = float(np.sqrt(max(float(right @ found), 0.0) / point.mu))
    # Back to X and the Y_c.
    solution = np.zeros(free.size)
    solution[free] = found
    count = solution.size - sum(_triangle(s) for s in point.S)
    X = _expand_shared(solution[None, :count], point)[0]
    blocks, at = [], count
    for S in point.S:
        blocks.append(_expand_cone(solution[None, at : at + _triangle(S)], len(S))[0])
        at += _triangle(S)
    return Move(X, tuple(blocks), assemble(point.cones, X, tuple(blocks))), decrement


def _movable(point: Point) -> NDArray[np.bool_]:
    """Return which coordinates may move: all, or those of the face."""
    if point.mask is None:
        return np.ones(unknowns(point), dtype=bool)
    D, m = point.dimension, len(point.mask.S)
    i, k = np.triu_indices(D, 1)
    s, t = np.triu_indices(m, 1)
    shared = point.mask.X.reshape(D, m, D, m)[i, :, k, :][:, s, t].ravel() > 0
    cone = point.mask.Y[np.triu_indices(m)] > 0
    return np.concatenate([shared, *(cone for _ in point.S)])


def _triangle(S: Array) -> int:
    return len(S) * (len(S) + 1) // 2


def _hessian(point: Point) -> Array:
    """Return the Hessian in the orthonormal basis, a batch of basis directions at a time."""
    D, n = point.dimension, point.u.size
    m = n // D
    on_X = D * (D - 1) // 2 * (m * (m - 1) // 2)
    size = unknowns(point)
    out = np.empty((size, size))
    batch = max(1, _CHUNK // n**2)
    for first in range(0, on_X, batch):
        rows = slice(first, min(first + batch, on_X))
        out[rows] = _image(point, _expand_shared(np.eye(on_X)[rows], point))
    at = on_X
    for C, (w, V) in zip(point.cones, point.systems, strict=True):
        Y = _expand_cone(np.eye(m * (m + 1) // 2), m)
        rows = slice(at, at + len(Y))
        out[rows] = _image(point, -np.einsum("ik,pst->piskt", C, Y).reshape(len(Y), n, n))
        inverse = (V / w) @ V.T
        out[rows, rows] += point.mu * _flatten_cone(inverse @ Y @ inverse)
        at += len(Y)
    return (out + out.T) / 2


def _image(point: Point, change: Array) -> Array:
    """Return the derivative of minus the gradient's ``M`` part along each ``change`` ``[p, N, N]``, flat."""
    W, u, D = point.inverse, point.u, point.dimension
    v = (change @ u) @ W
    cross = v[:, :, None] * u
    R = point.mu * (W @ change @ W) + cross + cross.transpose(0, 2, 1)
    grouped = R.reshape(len(R), D, u.size // D, D, -1)
    blocks = [_flatten_cone(-np.einsum("ik,piskt->pst", C, grouped)) for C in point.cones]
    return np.concatenate([_flatten_shared(R, point), *blocks], axis=1)


def _flatten_shared(R: Array, point: Point) -> Array:
    """Return the coordinates of ``P(R)`` for a batch ``[p, N, N]`` of symmetric matrices."""
    D, m = point.dimension, point.u.size // point.dimension
    i, k = np.triu_indices(D, 1)
    s, t = np.triu_indices(m, 1)
    blocks = R.reshape(len(R), D, m, D, m)[:, i, :, k, :]
    return np.asarray((blocks[:, :, s, t] - blocks[:, :, t, s]).transpose(1, 0, 2)).reshape(len(R), -1)


def _expand_shared(x: Array, point: Point) -> Array:
    D, m = point.dimension, point.u.size // point.dimension
    i, k = np.triu_indices(D, 1)
    s, t = np.triu_indices(m, 1)
    half = np.zeros((i.size, len(x), m, m))
    half[:, :, s, t] = x.reshape(len(x), i.size, s.size).transpose(1, 0, 2) / 2
    half -= half.transpose(0, 1, 3, 2)
    X = np.zeros((len(x), D, m, D, m))
    X[:, i, :, k, :] = half
    X[:, k, :, i, :] = -half
    return X.reshape(len(x), D * m, D * m)


def _flatten_cone(Y: Array) -> Array:
    """Return the coordinates of a batch ``[p, m, m]``, symmetrized."""
    s, t = np.triu_indices(Y.shape[-1])
    return (Y[:, s, t] + Y[:, t, s]) * np.where(s == t, 0.5, np.sqrt(0.5))


def _expand_cone(y: Array, m: int) -> Array:
    s, t = np.triu_indices(m)
    Y = np.zeros((len(y), m, m))
    Y[:, s, t] = y * np.where(s == t, 0.5, np.sqrt(0.5))
    return Y + Y.transpose(0, 2, 1)
