"""The minimizer by conjugate gradients, ``H`` by its products alone."""

from __future__ import annotations

from math import floor, sqrt

import numpy as np

from markov_icl.features import vech_size
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.landscape.operator.conjugate_gradients import Solution, conjugate_gradients
from markov_icl.landscape.operator.operator import ChainOperator, chain_operator
from markov_icl.landscape.operator.preconditioner import (
    BlockPreconditioner,
    block_preconditioner,
    factor_gigabytes,
    wanted_groups,
    work_gigabytes,
)
from markov_icl.memory import require
from markov_icl.moments.compute import unknowns
from markov_icl.progress import Progress, part, shown
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["TOLERANCE", "iterative_minimizer", "least_gigabytes", "require_gigabytes", "solve_operator"]

TOLERANCE = 1e-11
"""On ``|R| / |h|``: the loss is then within rounding, its error being of second order in ``R``."""
_ACCEPTED = 1e-9
"""A relative residual above this is called not converged; the tolerance is only aimed at."""
_BUILDING = 0.25
"""Share of a bar that the preconditioner gets: it took 0.1 to 0.3 of the time at lengths 33 and 49."""
_VECTORS, _PROGRAM_GIGABYTES = 32, 0.25
"""Vectors of the iteration and of its products, and what Python with compiled kernels takes."""


def iterative_minimizer(
    task: MarkovTask,
    memory: float,
    points: int = 256,
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    progress: Progress = False,
) -> ClosedForm:
    """Build the operator of a task and minimize; the arguments of :func:`markov_icl.landscape.minimizer.minimizer`.

    Raises:
        ValueError: if it would take more than ``memory`` gigabytes.
    """
    require_gigabytes(task, memory)
    operator = chain_operator(task, points, seed, threads, device)
    groups = require_gigabytes(task, memory, operator.nodes)
    return solve_operator(operator, groups, progress=progress)


def solve_operator(
    operator: ChainOperator,
    groups: int,
    tolerance: float = TOLERANCE,
    progress: Progress = False,
) -> ClosedForm:
    """Minimize ``f~`` by preconditioned conjugate gradients.

    The loss ``y2 - h^T X - X^T R`` with ``R = h - H X`` has an error of second order in ``R``:
    ``f~(X) - f~* = R^T H^-1 R <= R^T M^-1 R / (smallest eigenvalue of M^-1 H)``, the latter taken from the smallest
    Ritz value.

    Args:
        operator: ``H``, ``h``, ``y2``.
        groups: blocks of the preconditioner.
        tolerance: on ``|R| / |h|`` in the 2-norm.
        progress: see :mod:`markov_icl.progress`.

    Source: long-chains.md, section 3.
    """
    with shown(progress, "minimizer") as tell:
        M = block_preconditioner(operator, groups, part(tell, 0.0, _BUILDING))
        found = conjugate_gradients(operator.apply, M.solve, operator.h, tolerance, progress=part(tell, _BUILDING, 1.0))
    bound = found.energy / found.ritz[0]
    loss_error, words = bound, f"{operator.error}; {_in_words(found, bound, M)}"
    if operator.average.replicates > 1:
        loss_error = float(np.hypot(_standard_error(operator, found.X), bound))
    scale = float(np.abs(operator.h).max()) or 1.0
    return ClosedForm(
        X=found.X,
        loss=float(operator.y2 - operator.h @ found.X - found.X @ found.residual),
        residual=float(np.abs(found.residual).max()) / scale,
        condition=np.inf if M.singular else found.ritz[1] / found.ritz[0],
        method="operator",
        moments=operator,
        error=words,
        loss_error=loss_error,
    )


def _in_words(found: Solution, bound: float, M: BlockPreconditioner) -> str:
    words = f"{found.iterations} conjugate-gradient products, loss at most {bound:.1e} above its infimum"
    if found.relative > _ACCEPTED:
        spread = found.ritz[1] / found.ritz[0]
        words += f"; not converged: relative residual {found.relative:.1e}, preconditioned condition {spread:.1e}"
    if M.singular:
        words += "; H is singular to working precision, X one of many"
    return words


def _standard_error(operator: ChainOperator, X: np.ndarray) -> float:
    """Return one standard error of the loss over the replicates, to first order that of ``f~(X)`` at fixed ``X``."""
    count = operator.average.replicates
    shares = (operator.average.weights * count * operator.node_losses(X)).reshape(count, -1).sum(1)
    return float(shares.std(ddof=1) / np.sqrt(count))


def least_gigabytes(task: MarkovTask, nodes: int | None = None) -> float:
    """Return what an iterative solution takes with a single block in its preconditioner, not yet built.

    Args:
        task: any Markov task.
        nodes: number of kernels; a low guess if None.
    """
    J, D, m = task.blocks, task.dimension, vech_size(task.dimension)
    kernels = 20 * sqrt(task.length) if nodes is None else nodes
    numbers = kernels * (2 * J * J + 2 * D + m) + _VECTORS * J * m
    return _PROGRAM_GIGABYTES + 8 * numbers / 1e9 + work_gigabytes(D) + factor_gigabytes(D)


def require_gigabytes(task: MarkovTask, memory: float, nodes: int | None = None) -> int:
    """Return how many blocks the preconditioner may have within ``memory`` gigabytes.

    Raises:
        ValueError: if not even one.
    """
    least = least_gigabytes(task, nodes)
    size = f"{unknowns(task):,} unknowns" + ("" if nodes is None else f" and {nodes:,} kernels")
    require(least, memory, f"an iterative solution for {size}")
    return min(1 + floor((memory - least) / factor_gigabytes(task.dimension)), wanted_groups(task.blocks))
