"""The realizable point closest to a given ``X``.

Deciding this distance is NP-hard, so the result is an upper bound from a local search. It is the search
of :mod:`markov_icl.recovery.search.fit` with a diagonal ``H``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from markov_icl.choices import NORMS, unknown
from markov_icl.features import Array, from_symmetric, to_symmetric, vech
from markov_icl.progress import Progress
from markov_icl.recovery.search.fit import Fit, Minimum, realize, search
from markov_icl.recovery.search.quadratic import Separable

__all__ = ["nearest", "squared_distance"]


def nearest(
    X: NDArray[np.float64],
    norm: str = "frobenius",
    blocks: int | None = None,
    heads: int = 1,
    starts: int = 64,
    seed: int | np.random.Generator = 0,
    progress: Progress = False,
) -> Fit:
    """Search for the point realizable by ``heads`` heads that is closest to ``X``.

    The result's ``loss`` is the squared distance: ``sum_j |M_j - M_j'|_F^2`` for ``frobenius``,
    ``|X - X'|^2`` for ``euclidean``. Coordinates that occur in no block cannot help; they are left out of
    the search and of the Hessian's signature.

    Args:
        X: ``[N]`` or ``[J, m]``.
        norm: on the symmetric blocks, or on ``X`` itself. They differ by the weight of the entries
            ``i < k``, which is ``1/2`` in the Frobenius norm and 1 in the Euclidean.
        blocks: ``J``, where ``X`` is flat and not a plain task's.
        heads: ``1 <= r <= D``.
        starts: number of random starts.
        seed: of the random starts.
        progress: see :mod:`markov_icl.progress`; tells the least distance after each start.

    Raises:
        ValueError: if ``X`` has no such shape or is not finite, or an option is out of range.

    Source: Remark C.15.
    """
    M = np.asarray(to_symmetric(np.asarray(X, dtype=float), blocks), dtype=float)
    if not np.isfinite(M).all():
        raise ValueError("expected finite numbers in X; got infinite or missing ones")
    if not 1 <= heads <= M.shape[1]:
        raise ValueError(f"expected 1 <= heads <= {M.shape[1]}; got {heads}")
    used = _used(M, heads)
    inner = M[:, used][:, :, used]
    target = np.asarray(from_symmetric(inner), dtype=float)
    quadratic = Separable(_weights(norm, used.size), target, M.shape[0], used.size)
    fit = search(quadratic, heads, starts, seed, informed=target, progress=progress)
    minima = tuple(_embed(one, used, M.shape[1]) for one in fit.minima)
    return _embed(replace(fit, minima=minima), used, M.shape[1])


def _used(M: Array, heads: int) -> NDArray[np.intp]:
    """Return the coordinates that occur in some block, and others only to make up ``heads`` of them."""
    occurs = np.abs(M).max(axis=(0, 2)) > 0
    order = np.argsort(~occurs, kind="stable")
    return np.sort(order[: max(int(occurs.sum()), heads)])


Found = TypeVar("Found", Fit, Minimum)


def _embed(found: Found, used: NDArray[np.intp], dimension: int) -> Found:
    """Put zeros where coordinates were left out."""
    if used.size == dimension:
        return found
    heads, _, J = found.A.shape
    b, A = np.zeros((heads, dimension)), np.zeros((heads, dimension, J))
    b[:, used], A[:, used] = found.b, found.A
    return replace(found, b=b, A=A, X=realize(b, A))


def _weights(norm: str, dimension: int) -> Array:
    ones = np.ones((dimension, dimension))
    if norm == "frobenius":
        return np.asarray(vech((ones + np.eye(dimension)) / 2), dtype=float)
    if norm == "euclidean":
        return np.asarray(vech(ones), dtype=float)
    raise unknown("norm", norm, NORMS)


def squared_distance(X: NDArray[np.float64], b: NDArray[np.float64], blocks: int | None = None) -> float:
    """Return ``min_A sum_j |M_j - sym(b a_j^T)|_F^2`` for one fixed ``b``.

    ``sum_j |(I - u u^T) M_j (I - u u^T)|_F^2`` with ``u = b / |b|``; the minimizing columns are
    ``a_j = 2 M_j u - (u^T M_j u) u``. The definition against which :func:`nearest` is tested.

    Args:
        X: ``[N]`` or ``[J, m]``.
        b: nonzero, ``[D]``.
        blocks: ``J``, where ``X`` is flat and not a plain task's.

    Raises:
        ValueError: if ``b`` is zero or of the wrong length.
    """
    M = np.asarray(to_symmetric(np.asarray(X, dtype=float), blocks), dtype=float)
    length = float(np.linalg.norm(b))
    if b.shape != (M.shape[1],) or length == 0:
        raise ValueError(f"expected a nonzero b of length {M.shape[1]}; got shape {b.shape}, norm {length}")
    complement = np.eye(b.size) - np.outer(b, b) / length**2
    return float(((complement @ M @ complement) ** 2).sum())
