"""The loss of real parameters ``f(b, A) = f~(sum_s phi(b_s, A_s))`` and its gradient, by one product with ``H``."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from markov_icl.features import Array, gram_dimension, split_blocks, vech_indices

__all__ = ["QuadraticLoss", "both_sides", "in_gauge", "loss_and_gradient"]

_NEGLIGIBLE = 1e-6
"""Smaller parts of a row of ``b``, relative to its largest entry, do not fix a sign: rounding may have made them."""


@runtime_checkable
class QuadraticLoss(Protocol):
    """``y2 - 2 h^T X + X^T H X``: a task's moments, with the matrix or without, or any other of this form."""

    @property
    def h(self) -> Array:
        """The linear term, ``[N]``."""
        ...

    @property
    def y2(self) -> float:
        """The constant."""
        ...

    @property
    def blocks(self) -> int:
        """``J``."""
        ...

    @property
    def dimension(self) -> int:
        """``D``."""
        ...

    def apply(self, points: Array, /) -> Array:
        """Return ``H X`` for ``X`` of shape ``[N]`` or ``[N, k]``."""
        ...


def loss_and_gradient(quadratic: QuadraticLoss, b: Array, A: Array) -> tuple[float, Array, Array]:
    """Return ``f(b, A)``, in squared states, and its gradients, shaped like ``b`` and ``A``.

    With ``G_j`` the symmetric matrix of ``df~/dX^(j)``, each entry ``(i, k)`` on both sides of the diagonal,
    ``df/db_s = sum_j G_j a_sj`` and ``df/da_sj = G_j b_s``.

    Args:
        quadratic: the loss over the enlarged space.
        b: ``[heads, D]``.
        A: ``[heads, D, J]``.

    Source: Eq. 8 by the chain rule.
    """
    rows, columns = vech_indices(quadratic.dimension)
    outer = np.einsum("si,skj->ikj", b, A)
    outer = outer + outer.transpose(1, 0, 2)
    outer[np.arange(len(outer)), np.arange(len(outer))] /= 2
    X = outer[rows, columns].T.reshape(-1)
    image = quadratic.apply(X)
    G = both_sides(2 * (image - quadratic.h), quadratic.blocks)
    loss = float(quadratic.y2 + X @ (image - 2 * quadratic.h))
    return loss, np.einsum("jik,skj->si", G, A), np.einsum("jik,sk->sij", G, b)


def in_gauge(b: Array, A: Array) -> tuple[Array, Array]:
    """Return the parameters ``[heads, D]``, ``[heads, D, J]`` of the same point that stand for all of them.

    For one head the first entry of ``b`` that is not negligible is positive; its length is kept. For orthonormal rows
    it is the rotation in echelon form with positive pivots, and ``a_s . b_t`` is symmetric in ``s`` and ``t``: the
    part that leaves ``sum_s phi(b_s, A_s)`` alone is gone.
    """
    rotation = np.zeros((len(b), 0))
    for column in b.T:
        rest = column
        for _ in range(2):  # once loses the digits that a small rest has lost
            rest = rest - rotation @ (rotation.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > _NEGLIGIBLE * float(np.abs(b).max()):
            rotation = np.column_stack([rotation, rest / size])
    b, A = rotation.T @ b, np.einsum("st,sdj->tdj", rotation, A)
    if len(b) > 1:
        mixed = np.einsum("sdj,td->stj", A, b)
        A = A + np.einsum("stj,td->sdj", (mixed.transpose(1, 0, 2) - mixed) / 2, b)
    return b, A


def both_sides(slope: Array, blocks: int) -> Array:
    """Return ``[J, D, D]`` with each entry of a gradient ``[J m]`` at ``(i, k)`` and ``(k, i)``, none halved."""
    packed = split_blocks(slope, blocks)
    dimension = gram_dimension(packed.shape[1])
    rows, columns = vech_indices(dimension)
    G = np.empty((blocks, dimension, dimension))
    G[:, rows, columns] = packed
    G[:, columns, rows] = packed
    return G
