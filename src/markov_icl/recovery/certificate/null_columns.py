"""Columns on which ``M`` and ``q`` vanish: what has to be checked, exactly, and what is left to prove.

If ``M V = 0`` and ``V`` has an invertible block in rows ``P``, every vector differs by a combination of the
columns of ``V`` from one that is zero on ``P``. So ``M >= 0`` iff ``M`` without the rows and columns ``P``
is, and ``q^T M^+ q`` does not change when they are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flint
import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from markov_icl.features import Array
from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import rational_matrix
from markov_icl.recovery.certificate.lift import lift_positions

__all__ = ["certificate_vanishes", "kept", "kept_of_S", "moments_vanish"]


def kept(null: Array) -> NDArray[np.bool_]:
    """Return the rows outside ``P``, ``[N]``.

    Raises:
        ValueError: if the columns are dependent.
    """
    n, k = null.shape
    R, pivots = sla.qr(null.T, mode="r", pivoting=True)
    if k > n or (k and not abs(R[k - 1, k - 1]) > 1e-6 * abs(R[0, 0])):
        raise ValueError("expected independent null directions; got dependent ones")
    keep = np.ones(n, dtype=bool)
    keep[pivots[:k]] = False
    if k and rational_matrix(null[~keep]).rank() != k:
        raise ValueError("expected independent null directions; got dependent ones")
    return keep


def certificate_vanishes(Z: Array, S: Sequence[Array], null: Array) -> bool:
    """Return whether ``Z`` and every ``C (x) S_c`` vanish on the columns, in exact arithmetic.

    ``(C (x) S) w = C W S`` for ``w`` reshaped to ``W`` ``[D, m]``: ``S W^T = 0`` is enough.
    """
    if not _product_vanishes(Z, null):
        return False
    return all(_product_vanishes(s, _factors(null, len(s)).T) for s in S if s.any())


def moments_vanish(moments: RationalMoments, null: Array) -> bool:
    """Return whether ``Q`` and ``q`` vanish on the columns, in exact arithmetic."""
    at = lift_positions(moments.blocks, moments.dimension)
    exact = rational_matrix(null)
    merged = flint.fmpq_mat(moments.size, null.shape[1])
    for row, place in enumerate(at):
        for column in np.nonzero(null[row])[0]:
            merged[int(place), int(column)] += exact[int(row), int(column)]
    return _zero(moments.H * merged) and _zero(moments.h.transpose() * merged)


def kept_of_S(S: Array, null: Array) -> NDArray[np.bool_]:  # noqa: N802
    """Return indices outside an invertible block of the part of ``ker S`` that the columns show, ``[m]``."""
    rows = [row for row in _factors(null, len(S)) if _product_vanishes(S, row[:, None])]
    keep = np.ones(len(S), dtype=bool)
    if rows:
        stacked = np.array(rows)
        R, pivots = sla.qr(stacked, mode="r", pivoting=True)
        diagonal = np.abs(np.diag(R))
        rank = int((diagonal > 1e-6 * diagonal[0]).sum())
        keep[pivots[:rank]] = False
        if rational_matrix(stacked[:, ~keep]).rank() != rank:
            raise ValueError("expected independent null directions; got dependent ones")
    return keep


def _factors(null: Array, m: int) -> Array:
    """Return the distinct nonzero rows of the columns reshaped ``[D, m]``."""
    rows = null.T.reshape(-1, m)
    return np.unique(rows[np.any(rows != 0, axis=1)], axis=0)


def _product_vanishes(X: Array, columns: Array) -> bool:
    used = np.any(columns != 0, axis=1)
    left = X[:, used]
    left = left[np.any(left != 0, axis=1)]
    if left.size == 0:
        return True
    return _zero(rational_matrix(left) * rational_matrix(columns[used]))


def _zero(matrix: Any) -> bool:
    return all(entry == 0 for entry in matrix.entries())
