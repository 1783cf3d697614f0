"""The numbers that define the loss: ``f~(X) = E y^2 - 2 h^T X + X^T H X``."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import flint
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.rationals import fraction

__all__ = ["Moments", "RationalMoments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Dense moments of a task in the coordinates of :mod:`markov_icl.features`.

    Attributes:
        H: ``E[(x (x) g)(x (x) g)^T]``, ``[N, N]``, symmetric to the last bit.
        h: ``E[y (x (x) g)]``, ``[N]``.
        y2: ``E y^2``, in squared states.
        blocks: ``J``, the length of the query column without its label.
        dimension: ``D``, the size of the Gram matrix.
        method: how they were computed: ``quadrature``, ``sampled``, ``enumeration`` or ``regression``.
        nodes: number of kernels averaged over.
        error: what is known about their error, in words.
        replicates: independent estimates ``(H [R, N, N], h [R, N], y2 [R])`` of a sampled average.
        coarse: the same moments from half the nodes a variable, where the rule is not exact.
    """

    H: Float[np.ndarray, "N N"]
    h: Float[np.ndarray, "N"]
    y2: float
    blocks: int
    dimension: int
    method: str
    nodes: int = 1
    error: str = "exact up to rounding"
    replicates: tuple[Float[np.ndarray, "R N N"], Float[np.ndarray, "R N"], Float[np.ndarray, "R"]] | None = None
    coarse: Moments | None = None

    @property
    def size(self) -> int:
        """Return ``N = J m``, the number of unknowns."""
        return int(self.h.shape[0])

    def loss(self, X: NDArray[np.float64]) -> float:
        """Return ``f~(X)``, in squared states, for ``X`` of shape ``[N]``."""
        return float(self.y2 + X @ (self.H @ X - 2 * self.h))

    def to_float(self) -> Moments:
        """Return the moments themselves: they are floats."""
        return self

    def gradient(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``2 (H X - h)``, ``[N]``."""
        result: NDArray[np.float64] = 2 * (self.H @ X - self.h)
        return result

    def apply(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``H X`` for ``X`` of shape ``[N]`` or ``[N, c]``."""
        return np.asarray(self.H @ X)

    def diagonal(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return ``H[c, c]`` for the coordinates ``c``."""
        return np.asarray(self.H[index, index])

    def compressed(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(I_J (x) K)^T H (I_J (x) K)`` for ``K`` of shape ``[m, p]``, ``[J p, J p]``."""
        J, (m, p) = self.blocks, K.shape
        right = (self.H.reshape(-1, m) @ K).reshape(J, m, J * p)
        F = np.matmul(K.T, right).reshape(J * p, J * p)
        return np.asarray((F + F.T) / 2)

    def mean_block(self) -> NDArray[np.float64]:
        """Return the average of the diagonal blocks of ``H``, ``[m, m]``."""
        blocks = self.H.reshape(self.blocks, self.size // self.blocks, self.blocks, -1)
        return np.asarray(np.einsum("jajb->ab", blocks) / self.blocks)

    @property
    def is_estimate(self) -> bool:
        """Return whether the moments are sampled, or from a rule that is not exact."""
        return self.replicates is not None or self.coarse is not None

    @property
    def standard_errors(
        self,
    ) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "N"], float] | None:
        """Return one standard error for every entry of ``H``, ``h`` and ``y2``; None unless sampled."""
        if self.replicates is None:
            return None
        H, h, y2 = self.replicates
        root = np.sqrt(y2.shape[0])
        return H.std(0, ddof=1) / root, h.std(0, ddof=1) / root, float(y2.std(ddof=1) / root)


@dataclass(frozen=True, eq=False)
class RationalMoments:
    """The same moments as exact fractions: ``H`` ``[N, N]``, ``h`` ``[N, 1]``, ``y2``."""

    H: flint.fmpq_mat
    h: flint.fmpq_mat
    y2: flint.fmpq
    blocks: int
    dimension: int
    method: str
    nodes: int = 1
    is_estimate: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Return ``N = J m``, the number of unknowns."""
        return int(self.h.nrows())

    def loss(self, X: flint.fmpq_mat) -> Fraction:
        """Return ``f~(X)`` exactly, ``X`` of shape ``[N, 1]``."""
        return fraction(self.y2 + (X.transpose() * (self.H * X - 2 * self.h))[0, 0])

    def to_float(self) -> Moments:
        """Round every entry to the nearest double."""
        n = self.size
        H = np.array([float(fraction(e)) for e in self.H.entries()]).reshape(n, n)
        h = np.array([float(fraction(e)) for e in self.h.entries()])
        return Moments(H, h, float(fraction(self.y2)), self.blocks, self.dimension, self.method, self.nodes)
