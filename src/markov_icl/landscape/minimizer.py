"""The global minimizer ``X* = H^{-1} h`` of one-layer linear self-attention in the enlarged space."""

from __future__ import annotations

from dataclasses import replace

from markov_icl.choices import METHODS, hint, unknown
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.landscape.direct import rounding_is_visible, solve_dense, solve_rational
from markov_icl.landscape.operator.iterative import iterative_minimizer
from markov_icl.landscape.symbolic import symbolic_minimizer
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.moments.compute import (
    compute_moments,
    dense_gigabytes,
    fractions_are_bearable,
    fractions_are_cheap,
    rational_moments,
)
from markov_icl.moments.long_nodes import is_binary
from markov_icl.progress import Progress, shown
from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["minimizer"]

_DENSE_LENGTH = 15
"""Longer binary chains of order 1 are solved faster by the operator."""
_SAMPLED_POINTS = 256
"""Sobol kernels an operator takes at most: each costs as much as a product with all of ``H``."""


def minimizer(
    task: Task,
    method: str = "auto",
    memory: float = DEFAULT_MEMORY_GB,
    points: int = 4096,
    seed: int = 0,
    progress: Progress = False,
    threads: int | None = None,
    device: str = "cpu",
) -> ClosedForm:
    """Minimize ``f~(X) = E y^2 - 2 h^T X + X^T H X`` over the enlarged space.

    ``auto`` works in fractions where that takes milliseconds, with the matrix ``H`` where that is faster than
    without and fits, and with products of ``H`` alone otherwise, also where rounding of the matrix would be seen.

    Args:
        task: Markov or regression.
        method: ``auto``, ``dense``, ``operator``, ``rational`` or ``symbolic`` (binary, length 2).
        memory: refuse a system that needs more, in gigabytes.
        points: Sobol kernels a replicate, where the exact grid is too large; ``operator`` takes at most 256.
        seed: of the Sobol scrambling.
        progress: see :mod:`markov_icl.progress`.
        threads: of ``operator``; None means all cores this process may use.
        device: ``cpu``, or ``cuda`` for ``operator`` on binary chains of order 1.

    Raises:
        ValueError: for an unknown method, or one that the task does not admit.

    Source: Lemmas 3.1 and 3.2; Theorems 3.3 and 3.4 for length 2.
    """
    if method not in METHODS:
        raise unknown("method to be one of", method, METHODS)
    chosen = _cheapest(task, memory) if method == "auto" else method
    if chosen == "operator":
        if not isinstance(task, MarkovTask):
            raise ValueError("expected a Markov task for method operator; got a regression task (use dense)")
        return iterative_minimizer(task, memory, min(points, _SAMPLED_POINTS), seed, threads, device, progress)
    if device != "cpu":
        near = hint(device, ("cpu",))
        raise ValueError(f"expected device cpu unless method is operator; got {device!r:.40} with {chosen}{near}")
    with shown(progress, "minimizer") as tell:
        if chosen == "dense":
            form = solve_dense(compute_moments(task, memory=memory, points=points, seed=seed, progress=tell))
            if method != "auto" or not (rounding_is_visible(form) or form.free is not None):
                return form
            # What rounding hides, or seems to make singular, fractions decide; else products without the matrix.
            if fractions_are_bearable(task):
                return solve_rational(rational_moments(task, tell))
            if isinstance(task, MarkovTask) and is_binary(task):
                return minimizer(task, "operator", memory, threads=threads, progress=tell)
            return form
        formula = symbolic_minimizer(task) if chosen == "symbolic" else None
        form = solve_rational(rational_moments(task, tell))
        return replace(form, method=chosen, formula=formula)


def _cheapest(task: Task, memory: float) -> str:
    if fractions_are_cheap(task):
        return "rational"
    if not isinstance(task, MarkovTask) or dense_gigabytes(task) <= memory:
        return "operator" if isinstance(task, MarkovTask) and _is_long(task) else "dense"
    return "operator"


def _is_long(task: MarkovTask) -> bool:
    return is_binary(task) and task.length > _DENSE_LENGTH
