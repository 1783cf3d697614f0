"""The one-layer loss as a quadratic in the product vector ``w = b (x) a``, and what vanishes there.

``a = vec(A)`` has index ``(j, k)``, ``a[(j, k)] = A[k, j]``, so ``w`` has index ``(i, (j, k))`` and length
``N = D J D``. In these coordinates ``f(b, A) = y2 - 2 q^T w + w^T Q w``. The partial transpose ``Gamma``
swaps the two ``b``-indices of an ``N x N`` matrix; a symmetric ``Z`` with ``Gamma Z = -Z`` has
``w^T Z w = 0`` at every product vector, which is all that a certificate uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import Array, vech_indices
from markov_icl.moments.system import Moments

__all__ = [
    "Lift",
    "antisymmetric",
    "lift",
    "lift_positions",
    "lift_vector",
    "pack",
    "packed_shape",
    "partial_transpose",
    "unpack",
    "unvec",
    "vec",
]


@dataclass(frozen=True, eq=False)
class Lift:
    """The loss in product coordinates.

    Attributes:
        Q: ``[N, N]``, symmetric to the last bit.
        q: ``[N]``.
        y2: the loss at zero, in squared states.
        blocks: ``J``.
        dimension: ``D``.
    """

    Q: Float[np.ndarray, "N N"]
    q: Float[np.ndarray, "N"]
    y2: float
    blocks: int
    dimension: int

    @property
    def size(self) -> int:
        """Return ``N = D J D``."""
        return int(self.q.shape[0])

    def loss(self, b: Array, a: Array) -> float:
        """Return ``f`` at ``b`` ``[D]`` and ``a`` ``[J D]``, in squared states."""
        w = np.multiply.outer(b, a).ravel()
        return float(self.y2 + w @ (self.Q @ w - 2 * self.q))


def lift_positions(blocks: int, dimension: int) -> NDArray[np.intp]:
    """Return, for every ``(i, (j, k))``, the place of ``(j, {i, k})`` in ``X``: ``[N]``, zero-based."""
    rows, columns = vech_indices(dimension)
    place = np.empty((dimension, dimension), dtype=np.intp)
    place[rows, columns] = place[columns, rows] = np.arange(rows.size)
    return (np.arange(blocks)[:, None] * rows.size + place[:, None, :]).reshape(-1)


def lift(moments: Moments) -> Lift:
    """Return the loss in product coordinates.

    ``Q[(i,j,k),(i',j',k')] = H[(j,{i,k}),(j',{i',k'})]`` and ``q`` likewise.

    Raises:
        ValueError: if the shapes do not belong together or a number is not finite.
    """
    expected = moments.blocks * moments.dimension * (moments.dimension + 1) // 2
    if moments.H.shape != (expected, expected) or moments.h.shape != (expected,):
        raise ValueError(
            f"expected H [{expected}, {expected}] and h [{expected}] for J={moments.blocks}, "
            f"D={moments.dimension}; got {moments.H.shape} and {moments.h.shape}"
        )
    if not (np.isfinite(moments.H).all() and np.isfinite(moments.h).all() and np.isfinite(moments.y2)):
        raise ValueError("expected finite moments; got nan or inf")
    H = moments.H
    if not np.array_equal(H, H.T):
        raise ValueError("expected a symmetric H; got another matrix")
    at = lift_positions(moments.blocks, moments.dimension)
    return Lift(H[np.ix_(at, at)], moments.h[at], float(moments.y2), moments.blocks, moments.dimension)


def lift_vector(values: Array, lifted: Lift) -> Array:
    """Return what stands at each product's coordinate of the enlarged space, ``[N]``, for values ``[J m]``."""
    return np.asarray(values[lift_positions(lifted.blocks, lifted.dimension)])


def vec(A: Array) -> Array:
    """Return the columns of ``A`` ``[D, J]`` one below the other, ``[J D]``."""
    return np.ascontiguousarray(A.T).reshape(-1)


def unvec(a: Array, dimension: int) -> Array:
    """Invert :func:`vec`: ``A`` ``[D, J]``."""
    return np.ascontiguousarray(a.reshape(-1, dimension).T)


def partial_transpose(X: Array, dimension: int) -> Array:
    """Return ``Gamma X``: entry ``((i, s), (i', s'))`` is ``X[(i', s), (i, s')]``, for ``X`` ``[N, N]``."""
    n = X.shape[0]
    return X.reshape(dimension, n // dimension, dimension, -1).transpose(2, 1, 0, 3).reshape(n, n)


def antisymmetric(X: Array, dimension: int) -> Array:
    """Return ``P(X) = (X - Gamma X) / 2``, antisymmetric under ``Gamma`` to the last bit."""
    return (X - partial_transpose(X, dimension)) / 2


def packed_shape(blocks: int, dimension: int) -> tuple[int, int]:
    """Return the shape of the independent entries of ``Z``: pairs ``i < i'`` by pairs ``s < s'``."""
    m = blocks * dimension
    return dimension * (dimension - 1) // 2, m * (m - 1) // 2


def pack(Z: Array, dimension: int) -> Array:
    """Return the independent entries ``Z[(i, s), (i', s')]``, ``i < i'``, ``s < s'``, of ``Z`` ``[N, N]``."""
    m = Z.shape[0] // dimension
    rows, columns = np.triu_indices(dimension, 1)
    s, t = np.triu_indices(m, 1)
    blocks = Z.reshape(dimension, m, dimension, m)[rows, :, columns, :]
    return np.ascontiguousarray(blocks[:, s, t])


def unpack(z: Array, blocks: int, dimension: int) -> Array:
    """Invert :func:`pack`: the symmetric ``Z`` ``[N, N]`` with ``Gamma Z = -Z`` to the last bit."""
    m = blocks * dimension
    half = np.zeros((z.shape[0], m, m))
    s, t = np.triu_indices(m, 1)
    half[:, s, t] = z
    half[:, t, s] = -z
    rows, columns = np.triu_indices(dimension, 1)
    Z = np.zeros((dimension, m, dimension, m))
    Z[rows, :, columns, :] = half
    Z[columns, :, rows, :] = -half
    return Z.reshape(dimension * m, -1)
