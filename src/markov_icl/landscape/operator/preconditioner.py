"""A block preconditioner of ``H``: in one basis of the query all blocks are nearly decoupled.

``W^T S_k W`` is nearly ``diag(s_kj)`` for all kernels at once, so ``(W (x) I)^T H (W (x) I)`` is nearly block
diagonal with blocks ``sum_k w_k s_kj Sgg_k``. Columns ``j`` with like ``s_kj`` share one Cholesky factor.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import vech_size
from markov_icl.landscape.operator.joint_diagonal import joint_diagonal
from markov_icl.landscape.operator.operator import ChainOperator
from markov_icl.progress import Progress, shown
from markov_icl.threads import one_blas_thread, thread_pool

__all__ = ["BlockPreconditioner", "block_preconditioner", "factor_gigabytes", "wanted_groups", "work_gigabytes"]

_ALL_GROUPS = 32
"""Columns up to which each has a factor of its own; see :func:`wanted_groups`."""
_WORKERS = 2
"""Factorizations at once: they overlap with the averages, and every further one holds another three matrices."""
_Part = tuple[NDArray[np.float64], NDArray[np.float64], bool]
_RIDGES = (0.0, 1e-10, 1e-8)
"""Tried in turn on the unit diagonal of a block that is singular to working precision."""


@dataclass(frozen=True, eq=False)
class BlockPreconditioner:
    """``M = (W (x) I)^-T blockdiag(B_g) (W (x) I)^-1``; only ``M^-1`` is ever applied.

    Attributes:
        basis: ``W``, ``[J, J]``.
        groups: which columns of ``W`` share a block.
        factors: Cholesky factors in rectangular full packed form, half the memory of a square.
        singular: whether a block is singular to working precision, or the query's average is: so is ``H`` then.
        scales: roots of the blocks' diagonals, ``[groups, m]``.
    """

    basis: Float[np.ndarray, "J J"]
    groups: tuple[NDArray[np.intp], ...]
    factors: tuple[NDArray[np.float64], ...]
    singular: bool
    scales: Float[np.ndarray, "groups m"]

    def solve(self, R: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``M^-1 R``, ``[N]``."""
        from scipy.linalg.lapack import dpftrs

        J, m = len(self.basis), self.scales.shape[1]
        turned = self.basis.T @ R.reshape(J, m)
        with one_blas_thread():  # few right-hand sides: bound by memory, and idle threads would only spin
            for columns, factor, scale in zip(self.groups, self.factors, self.scales, strict=True):
                solved, _ = dpftrs(m, factor, (turned[columns] / scale).T)
                turned[columns] = solved.T / scale
            return np.asarray((self.basis @ turned).reshape(-1))


def wanted_groups(blocks: int) -> int:
    """Return how many factors pay: one a column up to 32 columns, one in four beyond."""
    return blocks if blocks <= _ALL_GROUPS else max(_ALL_GROUPS // 2, blocks // 4)


def factor_gigabytes(dimension: int) -> float:
    """Return what one factor takes."""
    return 4 * vech_size(dimension) * (vech_size(dimension) + 1) / 1e9


def work_gigabytes(dimension: int) -> float:
    """Return what building the factors takes beside them: a few matrices of order ``m``."""
    return 8 * (2 + 3 * _WORKERS) * vech_size(dimension) ** 2 / 1e9


def block_preconditioner(operator: ChainOperator, groups: int, progress: Progress = False) -> BlockPreconditioner:
    """Build ``groups`` blocks, each ``sum_k w_k mean_j(s_kj) (T4_k / n + (1 - 1/n) mu_k mu_k^T)``.

    Args:
        operator: ``H``.
        groups: number of factors, at most ``J``.
        progress: see :mod:`markov_icl.progress`.

    Source: long-chains.md, section 3.
    """
    nodes, n = operator.average, operator.context
    basis, diagonals, degenerate = _basis(operator)
    members = _linked(diagonals, nodes.weights, groups)
    weights = np.stack([nodes.weights * diagonals[:, g].mean(1) for g in members], axis=1)
    mu, parts = nodes.mu, []

    def finish(block: NDArray[np.float64], column: NDArray[np.float64]) -> _Part:
        if n > 1:
            block += (mu * ((1 - 1 / n) * column)[:, None]).T @ mu
        return _factor(block)

    with one_blas_thread(), thread_pool(_WORKERS) as pool, shown(progress, "preconditioner") as tell:
        waiting: list[Future[_Part]] = []
        for g, block in enumerate(operator.fourth.averages(weights / n)):
            waiting.append(pool.submit(finish, block, weights[:, g]))
            if len(waiting) == _WORKERS:  # no more blocks at once than work_gigabytes allows for
                parts.append(waiting.pop(0).result())
            tell((g + 1) / len(members), f"block {g + 1} of {len(members)}")
        parts += [one.result() for one in waiting]
    factors, scales, singular = zip(*parts, strict=True)
    return BlockPreconditioner(basis, members, factors, degenerate or any(singular), np.array(scales))


def _basis(operator: ChainOperator) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Return the joint basis, diagonals, and whether the query's average is singular: the basis is ``I`` then."""
    query, weights = operator.average.query, operator.average.weights
    with one_blas_thread():
        try:
            return *joint_diagonal(query, weights), False
        except np.linalg.LinAlgError:
            diagonals = np.einsum("kjj->kj", query)
            return np.eye(operator.blocks), diagonals + 1e-12 * max(float(diagonals.max()), 1e-300), True


def _linked(diagonals: NDArray[np.float64], weights: NDArray[np.float64], groups: int) -> tuple[NDArray[np.intp], ...]:
    """Group columns by complete linkage on ``log s_kj``, kernels weighted as they are averaged."""
    from scipy.cluster.hierarchy import fcluster, linkage

    columns = diagonals.shape[1]
    if groups >= columns:
        return tuple(np.array([j]) for j in range(columns))
    features = np.log(np.maximum(diagonals, 1e-12 * diagonals.max())) * np.sqrt(weights)[:, None]
    labels = fcluster(linkage(features.T, "complete"), groups, "maxclust")
    return tuple(np.flatnonzero(labels == label) for label in np.unique(labels))


def _factor(block: NDArray[np.float64]) -> _Part:
    """Return the packed Cholesky factor of the equilibrated block, its scale and whether it is singular."""
    from scipy.linalg.lapack import dtrttf

    m = len(block)
    diagonal = block.diagonal().copy()
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    block /= scale
    block /= scale[:, None]
    for ridge in _RIDGES:
        block.reshape(-1)[:: m + 1] = 1.0 + ridge
        try:  # NumPy's Cholesky lets other threads run, LAPACK's packed one does not
            return dtrttf(np.linalg.cholesky(block).T)[0], scale, ridge > 0 or bool((diagonal <= 0).any())
        except np.linalg.LinAlgError:
            continue
    raise ValueError("expected positive semidefinite moments; got a block with a negative eigenvalue")
