"""The enlarged parameter space: its coordinates, and the map from transformer parameters into it.

The only file that knows an index. A point ``X`` has ``J`` blocks; block ``j`` holds one
coefficient for each entry ``(i, k)``, ``i <= k``, of the ``D x D`` Gram matrix (upper triangle,
row-major), and the model predicts ``sum_j x_j <vech(G), X^(j)>`` [Eq. 8]. For a plain task
``J = d`` and ``D = d + 1``; a bias adds one to both.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any]  # float64, or exact objects such as Fraction

__all__ = [
    "Array",
    "Numbers",
    "block_labels",
    "from_symmetric",
    "gram_dimension",
    "phi",
    "position",
    "predict",
    "split_blocks",
    "to_symmetric",
    "vech",
    "vech_indices",
    "vech_size",
]


def vech_size(dimension: int) -> int:
    """Return ``m = D (D + 1) / 2``, the number of entries ``(i, k)`` with ``i <= k``."""
    return dimension * (dimension + 1) // 2


def gram_dimension(size: int) -> int:
    """Return ``D`` with ``D (D + 1) / 2 == size``.

    Raises:
        ValueError: if ``size`` is not a triangular number.
    """
    dimension = (isqrt(8 * size + 1) - 1) // 2
    if size < 1 or vech_size(dimension) != size:
        raise ValueError(f"expected a block of D(D+1)/2 entries (1, 3, 6, 10, 15, ...); got {size}")
    return dimension


def vech_indices(dimension: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns ``(i, k)`` of the ``m`` packed entries, zero-based."""
    return np.triu_indices(dimension)


def vech(matrices: Numbers) -> Numbers:
    """Pack symmetric matrices ``[..., D, D]`` into ``[..., m]``."""
    rows, columns = vech_indices(matrices.shape[-1])
    return matrices[..., rows, columns]


def position(j: int, i: int, k: int, dimension: int) -> int:
    """Return the one-based place in ``X`` of block ``j``, entry ``(i, k)``, all one-based, ``i <= k``.

    ``(j-1) m + sum_{t<i} (D+1-t) + k-i+1`` with ``D = d+1``. Source: Lemma 3.2, whose printed
    sum is too large by ``i - 1``.
    """
    if not 1 <= i <= k <= dimension or j < 1:
        raise ValueError(f"expected j >= 1 and 1 <= i <= k <= {dimension}; got j={j}, i={i}, k={k}")
    return (j - 1) * vech_size(dimension) + sum(dimension + 1 - t for t in range(1, i)) + k - i + 1


def block_labels(blocks: int, dimension: int) -> list[str]:
    """Return a name ``X[j](i,k)``, one-based, for every coordinate, in order."""
    rows, columns = vech_indices(dimension)
    return [f"X[{j + 1}]({i + 1},{k + 1})" for j in range(blocks) for i, k in zip(rows, columns, strict=True)]


def split_blocks(X: Numbers, blocks: int | None = None) -> Numbers:
    """Return ``X`` as ``[J, m]``.

    Args:
        X: flat ``[J m]`` or already ``[J, m]``.
        blocks: ``J``. If None and ``X`` is flat, the plain task's ``J = D - 1`` is assumed.

    Raises:
        ValueError: if no such shape exists.
    """
    if X.ndim == 2:
        if blocks not in (None, X.shape[0]):
            raise ValueError(f"expected {blocks} blocks; got {X.shape[0]} rows")
        gram_dimension(X.shape[1])
        return X
    if X.ndim != 1 or X.size == 0:
        raise ValueError(f"expected a vector or a [J, m] array; got shape {X.shape}")
    if blocks is None:
        blocks = next((d for d in range(1, X.size + 1) if d * vech_size(d + 1) >= X.size), 1)
        if blocks * vech_size(blocks + 1) != X.size:
            raise ValueError(
                f"expected d (d+1)(d+2)/2 numbers (3, 12, 30, 60, ...) or an explicit number of blocks; got {X.size}"
            )
    if blocks < 1 or X.size % blocks:
        raise ValueError(f"expected a length divisible by {blocks} blocks; got {X.size}")
    gram_dimension(X.size // blocks)
    return X.reshape(blocks, -1)


def phi(b: Numbers, A: Numbers) -> Numbers:
    """Map transformer parameters to the enlarged space, float or exact (object) alike.

    ``X^(j)_(i,k) = b_i A_kj + b_k A_ij`` for ``i < k`` and ``b_i A_ij`` for ``i = k``.

    Args:
        b: last row of the projection ``P``, ``[D]``.
        A: first columns of the key-query matrix ``Q``, ``[D, J]``.

    Returns:
        ``[J m]``. Source: Eq. 8.
    """
    if b.ndim != 1 or A.ndim != 2 or A.shape[0] != b.shape[0]:
        raise ValueError(f"expected b of shape [D] and A of shape [D, J]; got {b.shape} and {A.shape}")
    rows, columns = vech_indices(b.shape[0])
    X = b[rows, None] * A[columns] + b[columns, None] * A[rows]
    diagonal = rows == columns
    X[diagonal] = b[rows[diagonal], None] * A[rows[diagonal]]
    result: Numbers = X.T.reshape(-1)
    return result


def to_symmetric(X: Numbers, blocks: int | None = None) -> Numbers:
    """Return the symmetric matrices ``M_j`` ``[J, D, D]`` with ``v^T M_j v = sum_{i<=k} X^(j)_(i,k) v_i v_k``.

    For ``X = phi(b, A)``, ``M_j = (b a_j^T + a_j b^T) / 2``.
    """
    packed = split_blocks(X, blocks)
    dimension = gram_dimension(packed.shape[1])
    rows, columns = vech_indices(dimension)
    halved = np.where(rows == columns, packed, packed / 2)
    M = np.empty((packed.shape[0], dimension, dimension), dtype=halved.dtype)
    M[:, rows, columns] = halved
    M[:, columns, rows] = halved
    return M


def from_symmetric(M: Numbers) -> Numbers:
    """Invert :func:`to_symmetric`: ``[J, D, D]`` to ``[J m]``."""
    rows, columns = vech_indices(M.shape[-1])
    packed = M[:, rows, columns]
    return np.where(rows == columns, packed, 2 * packed).reshape(-1)


def predict(X: NDArray[np.float64], gram: NDArray[np.float64], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the enlarged model's predictions ``sum_j x_j <vech(G), X^(j)>`` [Eq. 9].

    Args:
        X: ``[J m]``.
        gram: Gram matrices ``[prompts, D, D]``.
        query: query columns without the label, ``[prompts, J]``.
    """
    blocks = split_blocks(X, query.shape[1])
    result: NDArray[np.float64] = np.einsum("pj,jm,pm->p", query, blocks, vech(gram), optimize=True)
    return result
