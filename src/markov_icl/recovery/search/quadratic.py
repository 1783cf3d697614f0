"""Quadratic losses as the local search sees them: a task's dense ``H``, or a weighted distance.

Both answer the same few questions, so one search serves the best loss and the nearest point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array, vech_size
from markov_icl.landscape.realizable import QuadraticLoss
from markov_icl.moments.system import Moments

__all__ = ["Dense", "Normal", "Quadratic", "Separable"]

_ZERO = 1e-13
"""Eigenvalues of ``H_U`` below this fraction of the largest count as zero."""


@dataclass(frozen=True, eq=False)
class Normal:
    """The symmetric matrix ``H_U``, one ``[s, s]`` diagonal block or several, ready for solves.

    Attributes:
        factors: a Cholesky factor for each diagonal block, or the minimum-norm inverse's square root.
        regular: whether the Cholesky factors were taken.
        zeros: number of zero eigenvalues over all blocks.
        size: number of rows over all blocks.
    """

    factors: tuple[Array, ...]
    regular: bool
    zeros: int
    size: int

    @classmethod
    def of(cls, matrices: tuple[Array, ...]) -> Normal:
        """Factor the diagonal blocks; singular ones are inverted on their range only."""
        size = sum(F.shape[0] for F in matrices)
        try:
            factors = tuple(sla.cholesky(F, lower=True, check_finite=False) for F in matrices)
        except np.linalg.LinAlgError:
            factors = ()
        if factors and all(np.diag(L).min() ** 2 > _ZERO * np.diag(L).max() ** 2 for L in factors):
            return cls(factors, True, 0, size)
        roots = [_range_root(F) for F in matrices]
        return cls(tuple(roots), False, size - sum(R.shape[1] for R in roots), size)

    def solve(self, right: Array) -> Array:
        """Return ``H_U^+ right`` for ``right`` of shape ``[size]`` or ``[size, k]``."""
        columns = right.reshape(len(self.factors), self.size // len(self.factors), *right.shape[1:])
        if self.regular:
            parts = [
                sla.cho_solve((L, True), c, check_finite=False) for L, c in zip(self.factors, columns, strict=True)
            ]
        else:
            parts = [R @ (R.T @ c) for R, c in zip(self.factors, columns, strict=True)]
        return np.concatenate(parts)


def _range_root(F: Array) -> Array:
    values, vectors = np.linalg.eigh(F)
    keep = values > _ZERO * max(values[-1], 0.0)
    return np.asarray(vectors[:, keep] / np.sqrt(values[keep]))


@runtime_checkable
class Quadratic(QuadraticLoss, Protocol):
    """What the search needs of ``y2 - 2 h^T X + X^T H X``."""

    def normal(self, K: Array) -> Normal:
        """Return ``(I_J (x) K)^T H (I_J (x) K)`` for ``K`` of shape ``[m, p]``."""
        ...

    def metric(self) -> Array:
        """Return the average of the diagonal blocks of ``H``, ``[m, m]``."""
        ...

    def minimizer(self) -> Array:
        """Return the unrestricted minimum-norm minimizer, ``[N]``."""
        ...

    def loss(self, X: Array) -> float:
        """Return the quadratic's value at ``X`` ``[N]``."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """The quadratic of a task: any ``H`` ``[N, N]``."""

    H: Array
    h: Array
    y2: float
    blocks: int
    dimension: int

    @classmethod
    def of(cls, moments: Moments) -> Dense:
        """Take the arrays of a task's moments."""
        H = np.asarray(moments.H, dtype=float)
        return cls(H, np.asarray(moments.h, dtype=float), moments.y2, moments.blocks, moments.dimension)

    def apply(self, points: Array) -> Array:
        """Return ``H X``."""
        return np.asarray(self.H @ points)

    def normal(self, K: Array) -> Normal:
        """Return the one dense block ``[J p, J p]``."""
        J, (m, p) = self.blocks, K.shape
        right = (self.H.reshape(-1, m) @ K).reshape(J, m, J * p)
        F = np.matmul(K.T, right).reshape(J * p, J * p)
        return Normal.of(((F + F.T) / 2,))

    def metric(self) -> Array:
        """Return the sum of the diagonal blocks of ``H`` over ``J``."""
        m = vech_size(self.dimension)
        blocks = self.H.reshape(self.blocks, m, self.blocks, m)
        return np.asarray(np.einsum("jajb->ab", blocks) / self.blocks)

    def minimizer(self) -> Array:
        """Return ``H^+ h``."""
        return self.normal(np.eye(vech_size(self.dimension))).solve(self.h)

    def loss(self, X: Array) -> float:
        """Return ``y2 - 2 h^T X + X^T H X``."""
        return float(self.y2 + X @ (self.apply(X) - 2 * self.h))


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

    def normal(self, K: Array) -> Normal:
        """Return ``J`` equal blocks ``K^T diag(weights) K``."""
        F = K.T @ (self.weights[:, None] * K)
        one = Normal.of(((F + F.T) / 2,))
        J = self.blocks
        return Normal(one.factors * J, one.regular, one.zeros * J, one.size * J)

    def metric(self) -> Array:
        """Return ``diag(weights)``."""
        return np.diag(self.weights)

    def minimizer(self) -> Array:
        """Return the target."""
        return self.target

    def loss(self, X: Array) -> float:
        """Return the squared distance from ``X`` to the target, without cancellation."""
        return float((X - self.target) @ self.apply(X - self.target))
