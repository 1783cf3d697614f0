"""One call from a task to its moments: which method runs, and what it costs."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import flint

from markov_icl.features import vech_size
from markov_icl.moments.assembly import accumulate
from markov_icl.moments.quadrature import kernel_rule, nodes_per_variable
from markov_icl.moments.regression import rational_regression_moments, regression_moments
from markov_icl.moments.sampled import sampled_moments
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.progress import Progress, Tell, part, shown
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import IndependentStart, MarkovTask, RegressionTask, StationaryStart, Task
from markov_icl.threads import blas_threads

__all__ = [
    "DEFAULT_MEMORY_GB",
    "NODE_BUDGET",
    "cheapest_exact",
    "compute_moments",
    "dense_gigabytes",
    "fractions_are_cheap",
    "grid_size",
    "is_polynomial",
    "rational_moments",
    "unknowns",
]

NODE_BUDGET = 600_000
DEFAULT_MEMORY_GB = 8.0
_STATIONARY_NODES = 64
_RATIONAL_WORK = 30_000_000


def unknowns(task: Task) -> int:
    """Return ``N = J m``, the number of coordinates of the enlarged space."""
    return task.blocks * vech_size(task.dimension)


def is_polynomial(task: Task) -> bool:
    """Return whether conditional moments are polynomials in the kernel, so that a grid is exact."""
    if isinstance(task, RegressionTask):
        return True
    return not (isinstance(task.initial, StationaryStart) and isinstance(task.prior, DirichletPrior))


def grid_size(task: MarkovTask, exact: bool = False) -> int:
    """Return how many kernels the exact grid has."""
    if not isinstance(task.prior, DirichletPrior):
        return len(task.prior.kernels)
    return int(nodes_per_variable(task, exact) ** _variables(task))


def _variables(task: MarkovTask) -> int:
    return task.rows * (task.states - 1)


def compute_moments(
    task: Task,
    memory: float = DEFAULT_MEMORY_GB,
    node_budget: int = NODE_BUDGET,
    points: int = 4096,
    seed: int = 0,
    progress: Progress = False,
) -> Moments:
    """Return ``H``, ``h``, ``E y^2`` in float64: the exact grid where it fits, scrambled Sobol where not.

    Stationary starts under a Dirichlet prior make the integrands rational functions: the rule is then
    not exact, and the result carries the same moments from half the nodes a variable.

    Args:
        task: Markov or regression.
        memory: refuse a dense system that needs more, in gigabytes.
        node_budget: largest grid of kernels.
        points: Sobol kernels a replicate, where sampling runs.
        seed: of the Sobol scrambling.
        progress: see :mod:`markov_icl.progress`.

    Raises:
        ValueError: if the dense system is too large.
    """
    _require_memory(task, memory)
    if isinstance(task, RegressionTask):
        return regression_moments(task)
    with blas_threads(unknowns(task)), shown(progress, "moments") as tell:
        return _markov_moments(task, memory, node_budget, points, seed, tell)


def _markov_moments(
    task: MarkovTask,
    memory: float,
    node_budget: int,
    points: int,
    seed: int,
    tell: Tell,
) -> Moments:
    if is_polynomial(task):
        if grid_size(task) <= node_budget:
            return _on_grid(task, nodes_per_variable(task), "exact up to rounding", tell)
    else:
        nodes = min(_STATIONARY_NODES, floor(node_budget ** (1 / _variables(task)) + 1e-9))
        if nodes >= 8:
            split = 0.5 ** _variables(task)  # the coarse grid has this share of the fine one's kernels
            coarse = _on_grid(task, nodes // 2, "estimate", part(tell, 0.0, split / (1 + split)))
            fine = _on_grid(task, nodes, "estimate: node doubling", part(tell, split / (1 + split), 1.0))
            return Moments(**{**fine.__dict__, "coarse": coarse})
    _require_memory(task, memory, copies=11)
    return sampled_moments(task, points, seed=seed, progress=tell)


def _on_grid(task: MarkovTask, nodes: int, error: str, tell: Tell) -> Moments:
    rule = kernel_rule(task.prior, nodes)
    H, h, y2 = accumulate(task, rule, tell=tell).dense(task)
    return Moments(H, h, float(y2), task.blocks, task.dimension, "quadrature", rule.size, error)


def dense_gigabytes(task: Task, node_budget: int = NODE_BUDGET) -> float:
    """Return what the dense system takes, copies for its solution and replicates of a sampled one included."""
    sampled = isinstance(task, MarkovTask) and is_polynomial(task) and grid_size(task) > node_budget
    return _gigabytes(task, 11 if sampled else 4)


def _gigabytes(task: Task, copies: int) -> float:
    return copies * 8 * unknowns(task) ** 2 / 1e9


def _require_memory(task: Task, memory: float, copies: int = 4) -> None:
    needed = _gigabytes(task, copies)
    if not needed <= memory:
        raise ValueError(
            f"expected a dense system within {memory:g} GB; got {unknowns(task)} unknowns, which need {needed:.3g} GB "
            "(use a shorter length, or allow more memory)"
        )


def rational_moments(task: Task, progress: Progress = False) -> RationalMoments:
    """Return ``H``, ``h``, ``E y^2`` as exact fractions.

    Args:
        task: Markov or regression.
        progress: see :mod:`markov_icl.progress`.

    Raises:
        ValueError: if the moments are not rational, or if exact arithmetic would take hours.
    """
    if not is_polynomial(task):
        raise ValueError(
            "expected a task with rational moments; got stationary starts under a Dirichlet prior (use dense)"
        )
    N = unknowns(task)
    nodes = 1 if isinstance(task, RegressionTask) else grid_size(task, exact=True)
    if nodes * N > _RATIONAL_WORK or N > 1000:
        raise ValueError(
            f"expected a task small enough for fractions; got {N} unknowns and {nodes} kernels (use dense)"
        )
    if isinstance(task, RegressionTask):
        return rational_regression_moments(task)
    rule = kernel_rule(task.prior, nodes_per_variable(task, exact=True), exact=True)
    with shown(progress, "moments") as tell:
        H, h, y2 = accumulate(task, rule, exact=True, tell=tell).dense(task)
    return RationalMoments(
        flint.fmpq_mat(H.tolist()),
        flint.fmpq_mat([[v] for v in h]),
        y2,
        task.blocks,
        task.dimension,
        "quadrature",
        nodes,
    )


def fractions_are_cheap(task: Task) -> bool:
    """Return whether exact arithmetic takes well under a second, so that nobody need ask for it."""
    small = unknowns(task) <= 60 and is_polynomial(task) and _digits(task) <= 4
    return small and (isinstance(task, RegressionTask) or grid_size(task, exact=True) <= 1000)


def _digits(task: Task) -> int:
    """Return the length of the longest numerator or denominator in a task's parameters."""
    numbers: list[Fraction] = []
    if isinstance(task, RegressionTask):
        numbers += [v for row in task.covariance for v in row]
    else:
        numbers += task.values
        numbers += _flat(task.prior.alpha if isinstance(task.prior, DirichletPrior) else task.prior.kernels)
        if isinstance(task.initial, IndependentStart):
            numbers += task.initial.pmf
    return max(len(str(part)) for v in numbers for part in (abs(v.numerator), v.denominator))


def _flat(nested: Any) -> list[Fraction]:
    return [nested] if isinstance(nested, Fraction) else [v for part in nested for v in _flat(part)]


def cheapest_exact(task: Task, **options: Any) -> Moments | RationalMoments:
    """Return fractions where they are cheap, else what :func:`compute_moments` gives with ``options``."""
    return rational_moments(task) if fractions_are_cheap(task) else compute_moments(task, **options)
