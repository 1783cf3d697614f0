"""Proof that quadratic forms share a real zero near an approximate one, in exact arithmetic.

``D - 1`` heads realize ``X`` iff the forms ``M_j`` have a common real zero. It is irrational as a rule, so
it cannot be written down, but its existence can be proved from an approximation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from markov_icl.features import Array
from markov_icl.rationals import Exact, exact_array

__all__ = ["common_zero_exists"]

_NEWTON_STEPS = 8
"""Each doubles the digits of a guess that has one."""


def common_zero_exists(M: Exact, guess: Array) -> bool:
    """Return True only if ``v^T M_j v = 0`` for all ``j`` has a real solution ``v != 0`` near ``guess``.

    With all but ``J`` coordinates fixed this is a square system ``F(z) = 0``. For any matrix ``C``,
    ``T(z) = z - C F(z)`` maps the ball of radius ``rho`` (maximum norm) into itself, and contracts, if
    ``eta + kappa rho + lambda rho^2 <= rho`` and ``kappa + 2 lambda rho < 1``, where
    ``eta = |C F(z0)|``, ``kappa = |I - C DF(z0)|``, ``lambda = |sum C M|``. False proves nothing.

    Args:
        M: symmetric blocks of fractions, ``[J, D, D]``.
        guess: approximate zero, ``[D]``.

    Source: Banach's fixed-point theorem for the simplified Newton map (Newton and Kantorovich).
    """
    J, D, _ = M.shape
    if J >= D:
        return False
    blocks = np.asarray(M, dtype=float)
    blocks = blocks / np.maximum(np.abs(blocks).max(axis=(1, 2)), 1e-300)[:, None, None]
    v = guess / np.abs(guess).max()
    try:
        free = _movable(blocks, v)
        for _ in range(_NEWTON_STEPS):
            v[free] -= np.linalg.solve(2 * (blocks @ v)[:, free], blocks @ v @ v)
        derivative = 2 * (np.asarray(M, dtype=float) @ v)[:, free]
        C = exact_array(np.linalg.inv(derivative))
    except (np.linalg.LinAlgError, ValueError, OverflowError):
        return False
    return bool(np.any(np.delete(v, free))) and _contracts(M, exact_array(v), free, C)


def _movable(blocks: Array, v: Array) -> NDArray[np.integer[Any]]:
    """Choose ``J`` coordinates in which the derivative is best conditioned, not the largest of ``v``."""
    derivative = 2 * (blocks @ v)
    derivative[:, int(np.abs(v).argmax())] = 0.0
    return np.asarray(sla.qr(derivative, pivoting=True, mode="r")[1][: blocks.shape[0]])


def _contracts(M: Exact, v: Exact, free: NDArray[np.integer[Any]], C: Exact) -> bool:
    """Check the two inequalities for ``rho = 2 eta``, in fractions; the fixed entries keep ``v`` nonzero."""
    half = np.array([block @ v for block in M], dtype=object)
    eta = max(abs(entry) for entry in C @ (half @ v))
    rest = np.eye(len(free), dtype=int).astype(object) - C @ (2 * half[:, free])
    kappa = max(sum(abs(entry) for entry in row) for row in rest)
    curved = np.tensordot(C, M[:, free][:, :, free], axes=1)
    bound = max(sum(abs(entry) for entry in face.ravel()) for face in curved)
    rho = 2 * eta
    return bool(eta + kappa * rho + bound * rho**2 <= rho and kappa + 2 * bound * rho < 1)
