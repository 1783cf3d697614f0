"""One call from a task to its moments: which method runs, and what it costs."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import flint

from markov_icl.features import vech_size
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.moments.assembly import accumulate
from markov_icl.moments.pooled import MOST_CHAINS, pooled_moments
from markov_icl.moments.quadrature import KernelRule, Rule, kernel_rule, nodes_per_variable
from markov_icl.moments.regression import rational_regression_moments, regression_moments
from markov_icl.moments.sampled import sampled_moments
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.progress import Progress, Tell, part, shown
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import IndependentStart, MarkovTask, RegressionTask, StationaryStart, Task
from markov_icl.threads import blas_threads

__all__ = [
    "NODE_BUDGET",
    "cheapest_exact",
    "compute_moments",
    "dense_gigabytes",
    "exact_rule",
    "fractions_are_affordable",
    "fractions_are_bearable",
    "fractions_are_cheap",
    "grid_size",
    "is_polynomial",
    "moments_by_rule",
    "rational_moments",
    "unknowns",
]

NODE_BUDGET = 600_000
_STATIONARY_NODES = 64
_RATIONAL_WORK = 30_000_000
_FEW, _MANY, _MOST = 30, 60, 120
"""Unknowns for which a system is solved in fractions in 0.8 s with parameters of ten digits; in 0.1 s, and in 2 s, with
parameters of four digits at most."""
_SHORT = 4
_MOST_BITS = 20_000
_CHEAP_NODES = 1000
"""Kernels up to which a grid in fractions takes some tenths of a second."""


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
    rule = exact_rule(task, node_budget)
    if rule is not None:
        return moments_by_rule(task, rule, tell=tell)
    if not is_polynomial(task):
        nodes = min(_STATIONARY_NODES, floor(node_budget ** (1 / _variables(task)) + 1e-9))
        if nodes >= 8:
            share = 0.5 ** _variables(task)  # the coarse grid has this share of the fine one's kernels
            first, second = part(tell, 0.0, share / (1 + share)), part(tell, share / (1 + share), 1.0)
            coarse = moments_by_rule(task, kernel_rule(task.prior, nodes // 2), "half the nodes", first)
            fine = moments_by_rule(task, kernel_rule(task.prior, nodes), "estimate: node doubling", second)
            return Moments(**{**fine.__dict__, "coarse": coarse})
    _require_memory(task, memory, copies=11)
    return sampled_moments(task, points, seed=seed, progress=tell)


def exact_rule(task: MarkovTask, node_budget: int = NODE_BUDGET) -> KernelRule | None:
    """Return a rule over kernels that is exact for every moment; None where there is none, or none small enough."""
    if not is_polynomial(task) or grid_size(task) > node_budget:
        return None
    return kernel_rule(task.prior, nodes_per_variable(task))


def moments_by_rule(
    task: MarkovTask, rule: Rule, error: str = "exact up to rounding", tell: Tell | None = None
) -> Moments:
    """Return the averages over a rule's kernels in float64."""
    with blas_threads(unknowns(task)):
        H, h, y2 = accumulate(task, rule, tell=tell).dense(task)
    return Moments(H, h, float(y2), task.blocks, task.dimension, "quadrature", rule.size, error)


def dense_gigabytes(task: Task, node_budget: int = NODE_BUDGET) -> float:
    """Return what the dense system takes, copies for its solution and replicates of a sampled one included."""
    sampled = isinstance(task, MarkovTask) and is_polynomial(task) and grid_size(task) > node_budget
    return _gigabytes(task, 11 if sampled else 4)


def _gigabytes(task: Task, copies: int) -> float:
    return copies * 8 * unknowns(task) ** 2 / 1e9


def _require_memory(task: Task, memory: float, copies: int = 4) -> None:
    require(_gigabytes(task, copies), memory, f"a dense system of {unknowns(task):,} unknowns")


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
    if pooling_is_cheaper(task):
        assert isinstance(task, MarkovTask)
        return pooled_moments(task)
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
    """Return whether moments and minimizer take well under a second in fractions, so that nobody need ask for them."""
    return fractions_are_affordable(task, _FEW if _digits(task) > _SHORT else _MANY)


def fractions_are_bearable(task: Task) -> bool:
    """Return whether they take some seconds: what floats cannot answer is asked again in fractions then."""
    return fractions_are_affordable(task, _FEW if _digits(task) > _SHORT else _MOST)


def fractions_are_affordable(task: Task, most: int) -> bool:
    """Return whether moments of at most ``most`` unknowns take a few tenths of a second in fractions."""
    if unknowns(task) > most or not is_polynomial(task) or _bits(task) > _MOST_BITS:
        return False
    return isinstance(task, RegressionTask) or grid_size(task, exact=True) <= _CHEAP_NODES or pooling_is_cheaper(task)


def pooling_is_cheaper(task: Task) -> bool:
    """Return whether chains are so few, and kernels so many, that counts are pooled rather than kernels averaged."""
    if not isinstance(task, MarkovTask) or not isinstance(task.prior, DirichletPrior) or not is_polynomial(task):
        return False
    return task.states**task.length <= MOST_CHAINS and grid_size(task, exact=True) > _CHEAP_NODES


def _digits(task: Task) -> int:
    """Return the length of the longest numerator or denominator in a task's parameters."""
    return max(len(str(part)) for v in _parameters(task) for part in (abs(v.numerator), v.denominator))


def _bits(task: Task) -> int:
    """Return how long a fraction can grow in which every parameter's denominator comes once for each transition."""
    transitions = 3 * (task.length - task.order) if isinstance(task, MarkovTask) else 4
    return transitions * sum(v.denominator.bit_length() for v in set(_parameters(task)))


def _parameters(task: Task) -> list[Fraction]:
    numbers: list[Fraction] = []
    if isinstance(task, RegressionTask):
        numbers += [v for row in task.covariance for v in row]
    else:
        numbers += task.values
        numbers += _flat(task.prior.alpha if isinstance(task.prior, DirichletPrior) else task.prior.kernels)
        if isinstance(task.initial, IndependentStart):
            numbers += task.initial.pmf
    return numbers


def _flat(nested: Any) -> list[Fraction]:
    return [nested] if isinstance(nested, Fraction) else [v for part in nested for v in _flat(part)]


def cheapest_exact(task: Task, **options: Any) -> Moments | RationalMoments:
    """Return fractions where they are cheap, else what :func:`compute_moments` gives with ``options``."""
    return rational_moments(task) if fractions_are_cheap(task) else compute_moments(task, **options)
