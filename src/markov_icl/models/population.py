"""Training of one layer on its exact population loss: no sampling, no noise.

``f(b, A) = E y^2 - 2 h^T X + X^T H X`` at ``X = sum_s phi(b_s, A_s)``, with the moments of the task. What it
finds is a local minimum; :func:`~markov_icl.recovery.search.fit.best` lists all of them,
:func:`~markov_icl.recovery.solver.certify.certify` proves which is global.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.choices import POPULATION_OPTIMIZERS, unknown
from markov_icl.landscape.realizable import loss_and_gradient
from markov_icl.moments.compute import compute_moments
from markov_icl.moments.system import Moments
from markov_icl.progress import Progress, shown
from markov_icl.tasks.prompts import Task
from markov_icl.threads import blas_threads

__all__ = ["PopulationResult", "train_population"]

_FINISHED, _SCREENING_STEPS = 4, 60
"""Lengths 3 to 6, 60 trainings: after 60 steps even one start followed was enough, after 20 four missed the best 4
times."""
_START_SCALE = 0.3
"""Of these trainings 3 end higher from starts of scale 1, none from 0.1."""
_ARMIJO = 1e-4
"""Nocedal & Wright (2006), section 3.1."""
_ROUNDING = 1e5
"""Tolerances up to which a gradient counts as zero where the line search finds no descent above rounding."""


@dataclass(frozen=True, eq=False)
class PopulationResult:
    """One layer trained on the population loss.

    Attributes:
        loss: final loss, in squared states, exact up to the moments' error; an upper bound on ``f*``.
        b: last rows of the projections, ``[heads, D]``.
        A: first columns of the key-query matrices, ``[heads, D, J]``.
        losses: loss after each step of the winning start, ``[steps + 1]``, the start itself first.
        finals: losses at which the starts that were trained to the end stopped, ascending.
        gradient_norm: Euclidean norm of the gradient at the end.
        converged: whether the relative tolerance was met before the steps ran out.
        optimizer: ``lbfgs`` or ``gd``.
        seconds: wall time, moments included if they were computed here.
    """

    loss: float
    b: Float[np.ndarray, "heads D"]
    A: Float[np.ndarray, "heads D J"]
    losses: Float[np.ndarray, " steps"]
    finals: Float[np.ndarray, " starts"]
    gradient_norm: float
    converged: bool
    optimizer: str
    seconds: float


@dataclass(frozen=True, eq=False)
class _Run:
    loss: float
    point: NDArray[np.float64]
    losses: list[float]
    gradient: NDArray[np.float64]
    converged: bool


Evaluate = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


def train_population(
    problem: Task | Moments,
    optimizer: str = "lbfgs",
    heads: int = 1,
    starts: int = 32,
    steps: int = 5000,
    seed: int | np.random.Generator = 0,
    tolerance: float = 1e-11,
    progress: Progress = False,
) -> PopulationResult:
    """Minimize the population loss of one layer by L-BFGS or gradient descent from random starts.

    Every start runs 60 steps, the four with the least loss to the end.

    Args:
        problem: a task, or its moments.
        optimizer: ``lbfgs`` (SciPy's L-BFGS-B) or ``gd`` (steepest descent with Armijo backtracking).
        heads: attention heads.
        starts: random starts, entries ``N(0, 0.3^2)``.
        steps: most steps a start.
        seed: of the starts.
        tolerance: stop when no entry of the gradient is above this times ``E y^2``.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for an unknown optimizer or a number out of range.
    """
    if optimizer not in POPULATION_OPTIMIZERS:
        raise unknown("optimizer to be one of", optimizer, POPULATION_OPTIMIZERS)
    for name, value in (("heads", heads), ("starts", starts), ("steps", steps)):
        if value < 1:
            raise ValueError(f"expected {name} >= 1; got {value}")
    began = time.perf_counter()
    moments = problem if isinstance(problem, Moments) else compute_moments(problem)
    D, J = moments.dimension, moments.blocks
    size = D * heads

    def evaluate(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, db, dA = loss_and_gradient(moments, point[:size].reshape(heads, D), point[size:].reshape(heads, D, J))
        return loss, np.concatenate([db.reshape(-1), dA.reshape(-1)])

    run_down = _lbfgs if optimizer == "lbfgs" else _gradient_descent
    rng = np.random.default_rng(seed)
    limit = tolerance * moments.y2
    # Most starts end in the same few minima: all are followed for a while, only the lowest to the end.
    with blas_threads(moments.size), shown(progress, "train") as tell:
        runs = []
        for done in range(starts):
            point = _START_SCALE * rng.standard_normal(size * (1 + J))
            runs.append(run_down(evaluate, point, min(steps, _SCREENING_STEPS), limit))
            tell(0.5 * (done + 1) / starts, f"start {done + 1} of {starts}")
        finished = []
        for done, run in enumerate(sorted(runs, key=lambda run: run.loss)[:_FINISHED]):
            more = run_down(evaluate, run.point, max(steps - len(run.losses) + 1, 0), limit)
            finished.append(_Run(more.loss, more.point, run.losses + more.losses[1:], more.gradient, more.converged))
            tell(0.5 + 0.5 * (done + 1) / min(_FINISHED, starts), "to the end")
    won = min(finished, key=lambda run: run.loss)
    return PopulationResult(
        loss=won.loss,
        b=won.point[:size].reshape(heads, D),
        A=won.point[size:].reshape(heads, D, J),
        losses=np.array(won.losses),
        finals=np.sort([run.loss for run in finished]),
        gradient_norm=float(np.linalg.norm(won.gradient)),
        converged=won.converged,
        optimizer=optimizer,
        seconds=time.perf_counter() - began,
    )


def _lbfgs(evaluate: Evaluate, start: NDArray[np.float64], steps: int, limit: float) -> _Run:
    from scipy.optimize import OptimizeResult, minimize

    loss, gradient = evaluate(start)
    losses = [loss]
    if steps == 0:
        return _Run(loss, start, losses, gradient, bool(np.abs(gradient).max() <= limit))

    def record(intermediate_result: OptimizeResult) -> None:
        losses.append(float(intermediate_result.fun))

    end = minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=record,
        options={"maxiter": steps, "maxfun": 10 * steps + 100, "ftol": 0.0, "gtol": limit, "maxcor": 30},
    )
    loss, gradient = evaluate(end.x)
    # The line search gives up where rounding hides every descent: the loss is then stationary to its last digits.
    largest = np.abs(gradient).max()
    stationary = largest <= limit or (end.nit < steps and largest <= _ROUNDING * limit)
    return _Run(loss, end.x, losses, gradient, bool(stationary))


def _gradient_descent(evaluate: Evaluate, start: NDArray[np.float64], steps: int, limit: float) -> _Run:
    """Steepest descent; the rate doubles after each step and halves until the Armijo condition holds."""
    point, rate = start, 1.0
    loss, gradient = evaluate(point)
    losses = [loss]
    while len(losses) <= steps and np.abs(gradient).max() > limit:
        square = float(gradient @ gradient)
        trial, slope = evaluate(point - rate * gradient)
        while not trial <= loss - _ARMIJO * rate * square and rate > 1e-18:
            rate /= 2
            trial, slope = evaluate(point - rate * gradient)
        if not trial < loss:
            break  # no descent above rounding is left
        point, loss, gradient = point - rate * gradient, trial, slope
        losses.append(loss)
        rate *= 2
    return _Run(loss, point, losses, gradient, len(losses) <= steps)
