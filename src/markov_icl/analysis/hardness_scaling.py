"""What is easy beside what is hard: exact recovery, nearest recovery and the general class against ``d``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from markov_icl.features import Numbers, phi, vech_size
from markov_icl.hardness.global_nearest import nearest_globally
from markov_icl.hardness.instances import generate
from markov_icl.hardness.reduction import decide, reduce
from markov_icl.hardness.scip import require_scip
from markov_icl.progress import Progress, Tell, shown
from markov_icl.recovery.factor import recover

__all__ = ["Scaling", "Timing", "hardness_scaling", "planted"]

EASY = (2, 4, 8, 15, 30, 60)
"""Sizes of exact recovery, each about twice the one before: its growth is a line on logarithmic axes."""
_REPEATS, _MOST = 3, 6
"""Instances a size, and the largest size of the hard problems where SCIP does not meet the time limit before."""


@dataclass(frozen=True)
class Timing:
    """Time for one size.

    Attributes:
        d: number of blocks, or of columns of ``A``.
        seconds: median over instances; at least the time limit where ``solved`` is False.
        solved: whether at least half of the instances were solved to the end.
        nodes: median number of branch and bound nodes; 0 for exact recovery.
    """

    d: int
    seconds: float
    solved: bool
    nodes: float


@dataclass(frozen=True)
class Scaling:
    """Three problems, one machine.

    Attributes:
        exact: exact recovery (Problem C.9) of planted fractions: polynomial.
        nearest: nearest recovery of a Gaussian ``X``, to global optimality by SCIP.
        general: Problem C.11 on reduced inseparable instances, to global optimality by SCIP.
        time_limit: of each SCIP run, in seconds.
    """

    exact: tuple[Timing, ...]
    nearest: tuple[Timing, ...]
    general: tuple[Timing, ...]
    time_limit: float


def hardness_scaling(
    most: int = EASY[-1],
    time_limit: float = 10.0,
    seed: int = 0,
    progress: Progress = False,
) -> Scaling:
    """Time all three problems; each of the two hard ones grows until SCIP meets the time limit.

    Args:
        most: largest ``d`` of exact recovery.
        time_limit: seconds for each SCIP run.
        seed: of the instances.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: if an argument is out of range, or without pyscipopt.
    """
    if most < 1 or not 0 < time_limit < np.inf:
        raise ValueError(f"expected a largest d >= 1 and a positive time limit; got {most} and {time_limit}")
    require_scip()
    sizes = [d for d in EASY if d < most] + [most]
    with shown(progress, "scaling") as tell:
        exact = _series("exact recovery", ((d, _exact(d, seed)) for d in sizes), tell)
        nearest = _series("nearest recovery", ((d, _nearest(d, seed, time_limit)) for d in range(1, _MOST + 1)), tell)
        general = _series("general class", (_general(n, seed, time_limit) for n in range(1, _MOST + 1)), tell)
    return Scaling(exact, nearest, general, time_limit)


Runs = Sequence[tuple[float, bool, int]]


def _series(name: str, sizes: Iterable[tuple[int, Runs]], tell: Tell) -> tuple[Timing, ...]:
    found: list[Timing] = []
    for d, runs in sizes:
        seconds, solved, nodes = (np.array(column) for column in zip(*runs, strict=True))
        found.append(
            Timing(d, float(np.median(seconds)), bool(2 * solved.sum() >= len(solved)), float(np.median(nodes)))
        )
        tell(None, f"{name}, d = {d}: {found[-1].seconds:.2f} s")
        if not found[-1].solved:
            break
    return tuple(found)


def planted(d: int, seed: int = 0) -> tuple[Numbers, Numbers, Numbers]:
    """Return ``b``, ``A`` with whole entries between -9 and 9, and ``X = phi(b, A)``, in fractions."""
    rng = np.random.default_rng([seed, d])
    b = np.array([Fraction(int(v)) for v in rng.integers(-9, 10, d + 1)], dtype=object)
    A = np.array([[Fraction(int(v)) for v in row] for row in rng.integers(-9, 10, (d + 1, d))], dtype=object)
    return b, A, phi(b, A)


def _exact(d: int, seed: int) -> Runs:
    _, _, X = planted(d, seed)
    began = time.perf_counter()
    result = recover(X)
    seconds = time.perf_counter() - began
    return [(seconds, result.recoverable and result.exact, 0)]


def _nearest(d: int, seed: int, time_limit: float) -> Runs:
    runs = []
    for repeat in range(_REPEATS):
        X = np.random.default_rng([seed, d, repeat]).standard_normal(d * vech_size(d + 1))
        found = nearest_globally(X, time_limit=time_limit)
        runs.append((found.seconds, found.status == "optimal", found.nodes))
    return runs


def _general(dimension: int, seed: int, time_limit: float) -> tuple[int, Runs]:
    """Return ``d`` and the runs for ``m' = k' = n' + 2``."""
    runs = []
    for repeat in range(_REPEATS):
        instance = generate("inseparable", dimension + 2, dimension + 2, dimension, seed=_REPEATS * seed + repeat)
        reduction = reduce(instance)
        solution = decide(reduction, time_limit, optimum=True).solution
        runs.append((solution.seconds, solution.status == "optimal", solution.nodes))
    return reduction.program.d, runs
