"""Preconditioned conjugate gradients that say how well they did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.progress import Progress, Tell, shown

__all__ = ["Solution", "conjugate_gradients"]

_RESTARTS = 4
"""A restart wins back the digits that the recursive residual lost. One run was enough at lengths 17 to 49, also for
priors near the corners of the square; more are for what is worse."""
_STALLED = 60
"""Iterations without a smaller residual before a run is called stalled; whole runs took 19 to 97."""


@dataclass(frozen=True, eq=False)
class Solution:
    """An approximate solution of ``H X = h`` and the spectrum met on the way.

    Attributes:
        X: ``[N]``.
        residual: ``h - H X``, computed afresh, ``[N]``.
        relative: ``|h - H X| / |h|``.
        energy: ``R^T M^-1 R`` of that residual.
        iterations: products with ``H``.
        ritz: smallest and largest Ritz value of ``M^-1 H``.
    """

    X: Float[np.ndarray, "N"]
    residual: Float[np.ndarray, "N"]
    relative: float
    energy: float
    iterations: int
    ritz: tuple[float, float]


Product = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def conjugate_gradients(
    product: Product,
    precondition: Product,
    h: NDArray[np.float64],
    tolerance: float = 1e-11,
    most: int = 1000,
    progress: Progress = False,
    start: NDArray[np.float64] | None = None,
) -> Solution:
    """Solve ``H X = h``, restarting from the true residual as long as that helps.

    Args:
        product: ``X -> H X``, symmetric positive semidefinite.
        precondition: ``R -> M^-1 R``, symmetric positive definite.
        h: ``[N]``.
        tolerance: relative, in the 2-norm.
        most: products with ``H`` allowed.
        progress: see :mod:`markov_icl.progress`; the share is that of the residual's decades already gone.
        start: first guess, ``[N]``; zero if None.

    Source: Hestenes & Stiefel (1952); Ritz values from the Lanczos matrix, Golub & Van Loan, section 11.3.
    """
    norm = float(np.linalg.norm(h)) or 1.0
    X = np.zeros_like(h) if start is None else start.copy()
    R = h.copy() if start is None else h - product(X)
    ritz, done = (1.0, 1.0), 0
    with shown(progress, "conjugate gradients") as tell:
        for _ in range(_RESTARTS):
            before = float(np.linalg.norm(R))
            if before <= tolerance * norm or done >= most:
                break
            step, seen, values = _run(
                product, precondition, R, tolerance * norm, most - done, _counted(tell, done, norm, tolerance)
            )
            done += seen + 1
            # The recursive residual drifts from the true one: only the true one decides.
            trial = X + step
            left = h - product(trial)
            if float(np.linalg.norm(left)) >= before:
                break
            X, R = trial, left
            ritz = values if ritz == (1.0, 1.0) else (min(ritz[0], values[0]), max(ritz[1], values[1]))
    relative = float(np.linalg.norm(R)) / norm
    return Solution(X, R, relative, float(R @ precondition(R)), done, ritz)


def _counted(tell: Tell, done: int, norm: float, tolerance: float) -> Callable[[int, float], None]:
    def told(iteration: int, size: float) -> None:
        relative = max(size / norm, tolerance)
        tell(max(log(relative) / log(tolerance), 0.0), f"iteration {done + iteration}, residual {size / norm:.0e}")

    return told


def _run(
    product: Product,
    precondition: Product,
    R: NDArray[np.float64],
    target: float,
    most: int,
    tell: Callable[[int, float], None],
) -> tuple[NDArray[np.float64], int, tuple[float, float]]:
    """Run until the recursive residual meets the target or stalls; return the step, its products, Ritz values."""
    # The Lanczos matrix of M^-1 H comes for free from the steps and ratios.
    R, X = R.copy(), np.zeros_like(R)
    Z = precondition(R)
    P, rho = Z.copy(), float(R @ Z)
    steps: list[float] = []
    ratios: list[float] = []
    least, since = np.inf, 0
    while len(steps) < most and rho > 0:
        image = product(P)
        curvature = float(P @ image)
        if not curvature > 0:
            break
        alpha = rho / curvature
        X += alpha * P
        R -= alpha * image
        steps.append(alpha)
        size = float(np.linalg.norm(R))
        tell(len(steps), size)
        least, since = (size, 0) if size < least else (least, since + 1)
        if size <= target or since >= _STALLED:
            break
        Z = precondition(R)
        rho, old = float(R @ Z), rho
        ratios.append(rho / old)
        P *= ratios[-1]
        P += Z
    return X, len(steps), _ritz(np.array(steps), np.array(ratios[: max(len(steps) - 1, 0)]))


def _ritz(steps: NDArray[np.float64], ratios: NDArray[np.float64]) -> tuple[float, float]:
    """Return the extreme eigenvalues of the Lanczos matrix that conjugate gradients built."""
    from scipy.linalg import eigvalsh_tridiagonal

    if not len(steps):
        return 1.0, 1.0
    diagonal = 1 / steps
    diagonal[1:] += ratios / steps[:-1]
    values = eigvalsh_tridiagonal(diagonal, np.sqrt(ratios) / steps[:-1])
    return float(values[0]), float(values[-1])
