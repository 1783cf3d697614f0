"""Quadratic losses as the local search sees them: moments, an operator on long chains, or a weighted distance.

All answer the same few questions, so one search serves the best loss and the nearest point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.landscape.realizable import QuadraticLoss

__all__ = ["Normal", "Quadratic", "Separable", "normal"]

_ZERO = 1e-13
"""Eigenvalues of ``H_U`` below this fraction of the largest count as zero: rounding of ``K^T H K`` reaches about
``1e-15`` times its order. From 1e-14 to 1e-11 nothing changed over 168 starts."""


@dataclass(frozen=True, eq=False)
class Normal:
    """The symmetric matrix ``H_U``, one block or several equal ones on its diagonal, ready for solves.

    Attributes:
        factor: the block's Cholesky factor ``[s, s]``, or the square root ``[s, rank]`` of its minimum-norm inverse.
        regular: whether the Cholesky factor was taken.
        copies: number of equal blocks.
    """

    factor: Array
    regular: bool
    copies: int

    @classmethod
    def of(cls, F: Array, copies: int = 1) -> Normal:
        """Factor the block; a singular one is inverted on its range only."""
        try:
            L = sla.cholesky(F, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            L = None
        if L is not None and np.diag(L).min() ** 2 > _ZERO * np.diag(L).max() ** 2:
            return cls(np.asarray(L), True, copies)
        values, vectors = np.linalg.eigh(F)
        keep = values > _ZERO * max(values[-1], 0.0)
        return cls(np.asarray(vectors[:, keep] / np.sqrt(values[keep])), False, copies)

    @property
    def size(self) -> int:
        """Return the number of rows over all blocks."""
        return self.copies * len(self.factor)

    @property
    def zeros(self) -> int:
        """Return the number of zero eigenvalues over all blocks."""
        return self.size - self.copies * int(self.factor.shape[1])

    def solve(self, right: Array) -> Array:
        """Return ``H_U^+ right`` for ``right`` of shape ``[size]`` or ``[size, k]``."""
        s = len(self.factor)
        columns = right.reshape(self.copies, s, -1).transpose(1, 0, 2).reshape(s, -1)
        if self.regular:
            solved = sla.cho_solve((self.factor, True), columns, check_finite=False)
        else:
            solved = self.factor @ (self.factor.T @ columns)
        return np.asarray(solved).reshape(s, self.copies, -1).transpose(1, 0, 2).reshape(right.shape)


@runtime_checkable
class Quadratic(QuadraticLoss, Protocol):
    """What the search needs of ``y2 - 2 h^T X + X^T H X``."""

    def compressed(self, K: Array, /) -> Array:
        """Return ``(I_J (x) K)^T H (I_J (x) K)`` for ``K`` of shape ``[m, p]``; of equal diagonal blocks only one."""
        ...

    def mean_block(self) -> Array:
        """Return the average of the diagonal blocks of ``H``, ``[m, m]``."""
        ...

    def loss(self, X: Array, /) -> float:
        """Return the quadratic's value at ``X`` ``[N]``."""
        ...


def normal(quadratic: Quadratic, K: Array) -> Normal:
    """Return ``(I_J (x) K)^T H (I_J (x) K)`` factored, for ``K`` of shape ``[m, p]``."""
    F = quadratic.compressed(K)
    return Normal.of(F, quadratic.blocks * K.shape[1] // len(F))


@dataclass(frozen=True, eq=False)
class Separable:
    """A weighted distance ``sum_j sum_e weights_e (X^(j)_e - target^(j)_e)^2``; never forms ``H``.

    Attributes:
        weights: positive, ``[m]``.
        target: ``[N]``.
        blocks: ``J``.
        dimension: ``D``.
    """

    weights: Array
    target: Array
    blocks: int
    dimension: int

    @property
    def h(self) -> Array:
        """Return ``H target``."""
        return self.apply(self.target)

    @property
    def y2(self) -> float:
        """Return ``target^T H target``."""
        return float(self.target @ self.h)

    def apply(self, points: Array) -> Array:
        """Return ``H X``."""
        shaped = points.reshape(self.blocks, self.weights.size, -1)
        return (shaped * self.weights[:, None]).reshape(points.shape)

    def compressed(self, K: Array) -> Array:
        """Return ``K^T diag(weights) K``, of which there are ``J`` equal blocks."""
        F = K.T @ (self.weights[:, None] * K)
        return np.asarray((F + F.T) / 2)

    def mean_block(self) -> Array:
        """Return ``diag(weights)``."""
        return np.diag(self.weights)

    def loss(self, X: Array) -> float:
        """Return the squared distance from ``X`` to the target, without cancellation."""
        return float((X - self.target) @ self.apply(X - self.target))
