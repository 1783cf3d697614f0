"""One basis in which many symmetric matrices are as diagonal as they can be together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy.typing import NDArray

__all__ = ["joint_diagonal"]

_SWEEPS = 12
_ANGLE = 1e-3
"""A sweep whose largest rotation is below this ends the search: nobody needs the basis to more digits."""
_KEPT = 40


def joint_diagonal(
    matrices: Float[np.ndarray, "K J J"], weights: Float[np.ndarray, "K"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``W`` ``[J, J]`` with ``W^T (sum_k w_k S_k) W = I`` and the diagonals of ``W^T S_k W``, ``[K, J]``.

    The ``S_k`` are whitened by their average, compressed to their 40 leading combinations, and rotated.

    Args:
        matrices: ``S_k``, positive semidefinite with a positive definite average.
        weights: ``w_k``.

    Raises:
        numpy.linalg.LinAlgError: if the average is singular.

    Source: Cardoso & Souloumiac (1996), Jacobi angles for simultaneous diagonalization.
    """
    K, J, _ = matrices.shape
    root = np.linalg.cholesky(np.einsum("k,kij->ij", weights, matrices))
    inverse = np.linalg.inv(root)
    white = inverse @ matrices @ inverse.T
    flat = white.reshape(K, J * J) * np.sqrt(weights)[:, None]
    if K > J * J:
        values, vectors = np.linalg.eigh(flat.T @ flat)
        leading = vectors * np.sqrt(np.maximum(values, 0.0))
        leading = leading[:, ::-1][:, :_KEPT]
    else:
        vectors = np.linalg.eigh(flat @ flat.T)[1]
        leading = flat.T @ vectors[:, ::-1][:, :_KEPT]
    stack = np.ascontiguousarray(leading.reshape(J, J, -1))
    rotation = np.eye(J)
    for _ in range(_SWEEPS):
        if _sweep(stack, rotation) < _ANGLE:
            break
    basis = inverse.T @ rotation
    return basis, np.einsum("kjp,jp->kp", matrices @ basis, basis)


@njit(cache=True, nogil=True)
def _sweep(stack, rotation):  # type: ignore[no-untyped-def]
    """Rotate every pair of coordinates once; return the largest sine of an angle."""
    J, _, count = stack.shape
    largest = 0.0
    for p in range(J - 1):
        for q in range(p + 1, J):
            apart = 0.0
            cross = 0.0
            for k in range(count):
                difference = stack[p, p, k] - stack[q, q, k]
                beside = 2.0 * stack[p, q, k]
                apart += difference * difference - beside * beside
                cross += 2.0 * difference * beside
            angle = 0.25 * np.arctan2(cross, apart)
            cosine, sine = np.cos(angle), np.sin(angle)
            largest = max(largest, abs(sine))
            for r in range(J):
                for k in range(count):
                    x, y = stack[p, r, k], stack[q, r, k]
                    stack[p, r, k] = cosine * x + sine * y
                    stack[q, r, k] = cosine * y - sine * x
            for r in range(J):
                for k in range(count):
                    x, y = stack[r, p, k], stack[r, q, k]
                    stack[r, p, k] = cosine * x + sine * y
                    stack[r, q, k] = cosine * y - sine * x
                x, y = rotation[r, p], rotation[r, q]
                rotation[r, p] = cosine * x + sine * y
                rotation[r, q] = cosine * y - sine * x
    return largest
