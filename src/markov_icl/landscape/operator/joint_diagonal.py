"""One basis in which many symmetric matrices are as diagonal as they can be together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["joint_diagonal"]

_SWEEPS = 12
"""At most; convergence is quadratic (Cardoso & Souloumiac 1996)."""
_ANGLE = 1e-3
"""A sweep whose largest rotation is below this ends the search: nobody needs the basis to more digits."""
_KEPT = 40
"""Leading combinations of the matrices that the rotations look at: a basis is wanted, not its last digits."""


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
    from markov_icl.landscape.operator.rotation_kernels import sweep

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
        if sweep(stack, rotation) < _ANGLE:
            break
    basis = inverse.T @ rotation
    return basis, np.einsum("kjp,jp->kp", matrices @ basis, basis)
