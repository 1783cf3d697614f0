"""The minimizer by conjugate gradients, ``H`` by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

import numpy as np

from markov_icl.landscape.conjugate_gradients import Solution, conjugate_gradients
from markov_icl.landscape.minimizer import ClosedForm
from markov_icl.landscape.operator import ChainOperator
from markov_icl.landscape.preconditioner import (
    BlockPreconditioner,
    block_preconditioner,
    factor_gigabytes,
    wanted_groups,
    work_gigabytes,
)

__all__ = ["TOLERANCE", "affordable_groups", "solve_operator"]

TOLERANCE = 1e-10
_VECTORS = 32
_PROGRAM_GIGABYTES = 0.25


def solve_operator(
    operator: ChainOperator,
    memory: float,
    tolerance: float = TOLERANCE,
    progress: Callable[[float], None] | None = None,
    residual: Callable[[int, float], None] | None = None,
) -> ClosedForm:
    """Minimize ``f~`` by preconditioned conjugate gradients.

    The loss ``y2 - h^T X - X^T R`` with ``R = h - H X`` has an error of second order in ``R``:
    ``f~(X) - f~* = R^T H^-1 R <= R^T M^-1 R / (smallest eigenvalue of M^-1 H)``, the latter taken from the smallest
    Ritz value.

    Args:
        operator: ``H``, ``h``, ``y2``.
        memory: gigabytes that all of this may take.
        tolerance: on ``|R| / |h|`` in the 2-norm.
        progress: called with the finished share of the preconditioner.
        residual: called with the iteration and ``|R| / |h|``.

    Raises:
        ValueError: if not even one block of the preconditioner fits in memory.

    Source: long-chains.md, section 3.
    """
    M = block_preconditioner(operator, affordable_groups(operator, memory), progress)
    found = conjugate_gradients(operator.apply, M.solve, operator.h, tolerance, progress=residual)
    bound = found.energy / found.ritz[0]
    loss_error, words = bound, f"{operator.error}; {_in_words(found, bound, M)}"
    if operator.nodes.replicates > 1:
        loss_error = float(np.hypot(_standard_error(operator, found.X), bound))
    scale = float(np.abs(operator.h).max()) or 1.0
    return ClosedForm(
        X=found.X,
        loss=float(operator.y2 - operator.h @ found.X - found.X @ found.residual),
        residual=float(np.abs(found.residual).max()) / scale,
        condition=np.inf if M.ridge else found.ritz[1] / found.ritz[0],
        method="operator",
        moments=operator,
        error=words,
        loss_error=loss_error,
    )


def _in_words(found: Solution, bound: float, M: BlockPreconditioner) -> str:
    words = f"{found.iterations} conjugate-gradient products, loss at most {bound:.1e} above its infimum"
    if not found.converged:
        spread = found.ritz[1] / found.ritz[0]
        words += f"; not converged: relative residual {found.relative:.1e}, preconditioned condition {spread:.1e}"
    if M.ridge:
        words += f"; H is singular to working precision (ridge {M.ridge:.0e} in the preconditioner), X one of many"
    return words


def _standard_error(operator: ChainOperator, X: np.ndarray) -> float:
    """Return one standard error of the loss over the replicates, to first order that of ``f~(X)`` at fixed ``X``."""
    count = operator.nodes.replicates
    shares = (operator.nodes.weights * count * operator.node_losses(X)).reshape(count, -1).sum(1)
    return float(shares.std(ddof=1) / np.sqrt(count))


def affordable_groups(operator: ChainOperator, memory: float) -> int:
    """Return how many factors the preconditioner may have within ``memory`` gigabytes.

    Raises:
        ValueError: if not even one.
    """
    K, J, D = operator.nodes.size, operator.blocks, operator.dimension
    numbers = K * (2 * J * J + 2 * D + operator.nodes.mu.shape[1]) + _VECTORS * operator.size
    fixed = _PROGRAM_GIGABYTES + 8 * numbers / 1e9 + work_gigabytes(D)
    groups = floor((memory - fixed) / factor_gigabytes(D))
    if groups < 1:
        raise ValueError(
            f"expected an iterative solution within {memory:g} GB; got {operator.size} unknowns and {K} kernels, "
            f"which need {fixed + factor_gigabytes(D):.3g} GB (use a shorter length, or allow more memory)"
        )
    return min(groups, wanted_groups(J))
