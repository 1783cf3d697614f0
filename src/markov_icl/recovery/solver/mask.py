"""The face of one null direction of ``b``: which entries of ``M`` and the ``S_c`` vanish there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markov_icl.features import Array

__all__ = ["Mask"]


@dataclass(frozen=True, eq=False)
class Mask:
    """A face: coordinates in which ``M`` and the ``S_c`` vanish and are padded with ones on the diagonal.

    The null products are ``e_i (x) e_s`` with ``i`` the last index and ``s`` among the last ``k``.

    Attributes:
        M: kept coordinates of ``M``, ``[N]``.
        S: kept coordinates of every ``S_c``, ``[N/D]``.
        X: entries of ``X`` that may move, zeros and ones, ``[N, N]``.
        Y: entries of the ``Y_c`` that may move, ``[N/D, N/D]``.
    """

    M: NDArray[np.bool_]
    S: NDArray[np.bool_]
    X: Array
    Y: Array

    @classmethod
    def last(cls, dimension: int, m: int, k: int) -> Mask:
        """Return the mask for the last ``b``-index and the last ``k`` of ``m`` ``a``-indices."""
        S = np.arange(m) < m - k
        touched = np.zeros((dimension, m), dtype=bool)
        touched[-1] = ~S
        one = np.arange(dimension) == dimension - 1
        either_b = one[:, None, None, None] | one[None, None, :, None]
        either_a = ~S[None, :, None, None] | ~S[None, None, None, :]
        X = (~(either_b & either_a)).reshape(dimension * m, -1).astype(np.float64)
        return cls(~touched.ravel(), S, X, np.outer(S, S).astype(np.float64))

    def pad_M(self, M: Array) -> Array:  # noqa: N802
        """Return ``M`` with the null coordinates replaced by those of the identity."""
        return np.where(np.outer(self.M, self.M), M, 0.0) + np.diag((~self.M).astype(np.float64))

    def pad_S(self, S: Array) -> Array:  # noqa: N802
        """Return ``S`` with the null coordinates replaced by those of the identity."""
        return S * self.Y + np.diag((~self.S).astype(np.float64))

    def bare_M(self, M: Array) -> Array:  # noqa: N802
        """Return ``M`` with zeros in the null coordinates."""
        return np.where(np.outer(self.M, self.M), M, 0.0)
