"""The global minimizer ``X* = H^{-1} h`` of one-layer linear self-attention in the enlarged space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import flint
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.choices import hint, unknown
from markov_icl.features import block_labels
from markov_icl.landscape.convexity import Convexity, convexity, null_space
from markov_icl.landscape.operator import ChainOperator
from markov_icl.landscape.symbolic import SymbolicForm, symbolic_minimizer
from markov_icl.moments.compute import (
    DEFAULT_MEMORY_GB,
    compute_moments,
    dense_gigabytes,
    fractions_are_cheap,
    rational_moments,
)
from markov_icl.moments.long_nodes import is_binary
from markov_icl.moments.system import Moments, RationalMoments, fraction_array
from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.threads import blas_threads

__all__ = ["METHODS", "ClosedForm", "minimizer", "solve_dense", "solve_rational"]

METHODS = ("auto", "dense", "operator", "rational", "symbolic")
_EIGEN_SIZE = 1500
_DENSE_LENGTH = 15
"""Longer binary chains of order 1 are solved faster by the operator."""
_SAMPLED_POINTS = 256
_VISIBLE = 1e-12
"""Rounding beyond this share of the loss is reported, and sends ``auto`` to the operator where it applies."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """The minimizer of ``f~`` and how far to trust it.

    Attributes:
        X: ``[N]``, coordinates of :mod:`markov_icl.features`; the minimum-norm point when ``H`` is singular.
        loss: ``f~* = E y^2 - h^T X*``, in squared states.
        residual: ``max |H X - h| / max |h|``; 0 means exact.
        condition: 2-norm condition number of ``H`` (Lanczos estimate beyond 1,500 unknowns), of the preconditioned
            ``H`` from Ritz values where ``method`` is ``operator``; inf if singular.
        method: ``dense``, ``operator``, ``rational`` or ``symbolic``.
        moments: what was solved, rounded to float64; for ``operator`` without a matrix.
        error: what is known about the error of ``loss``, in words.
        loss_error: one standard error, or the change under node doubling, or for ``operator`` what the residual can
            hide, or what rounding can do where that is over ``1e-12`` of the loss; None where exact up to rounding.
        X_error: the same for every coordinate, ``[N]``.
        free: orthonormal directions along which ``f~`` does not change, ``[nullity, N]``; proved when
            ``convexity`` is there, to working precision otherwise.
        convexity: exact verdict on uniqueness, where fractions were used.
        X_exact: fractions, ``[N]``, where fractions were used.
        loss_exact: the same for the loss.
        formula: expressions in the start probabilities and the context, where symbolic.
    """

    X: Float[np.ndarray, "N"]
    loss: float
    residual: float
    condition: float
    method: str
    moments: Moments | ChainOperator
    error: str
    loss_error: float | None = None
    X_error: Float[np.ndarray, "N"] | None = None
    free: Float[np.ndarray, "nullity N"] | None = None
    convexity: Convexity | None = None
    X_exact: NDArray[np.object_] | None = None
    loss_exact: Fraction | None = None
    formula: SymbolicForm | None = None

    @property
    def unique(self) -> bool:
        """Return whether ``X`` is the only minimizer: the exact verdict where there is one."""
        if self.convexity is not None:
            return self.convexity.strict
        return self.free is None and bool(np.isfinite(self.condition))

    @property
    def labels(self) -> list[str]:
        """Return a name for every coordinate."""
        return block_labels(self.moments.blocks, self.moments.dimension)


def minimizer(
    task: Task,
    method: str = "auto",
    memory: float = DEFAULT_MEMORY_GB,
    points: int = 4096,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    residual: Callable[[int, float], None] | None = None,
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
        progress: called with the finished share of the moments, or of the preconditioner, 0 to 1.
        residual: called with the iteration and the relative residual, by ``operator`` alone.
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
        from markov_icl.landscape.iterative import iterative_minimizer

        if not isinstance(task, MarkovTask):
            raise ValueError("expected a Markov task for method operator; got a regression task (use dense)")
        return iterative_minimizer(
            task, memory, min(points, _SAMPLED_POINTS), seed, threads, device, progress, residual
        )
    if device != "cpu":
        near = hint(device, ("cpu",))
        raise ValueError(f"expected device cpu unless method is operator; got {device!r:.40} with {chosen}{near}")
    if chosen == "dense":
        system = compute_moments(task, memory=memory, points=points, seed=seed, progress=progress)
        form = solve_dense(system)
        rounded = _rounding(system, form.X) > _VISIBLE * abs(form.loss)
        if method == "auto" and rounded and isinstance(task, MarkovTask) and is_binary(task):
            return minimizer(task, "operator", memory, residual=residual, threads=threads)
        return form
    formula = symbolic_minimizer(task) if chosen == "symbolic" else None
    form = solve_rational(rational_moments(task))
    return ClosedForm(**{**form.__dict__, "method": chosen, "formula": formula})


def _cheapest(task: Task, memory: float) -> str:
    if fractions_are_cheap(task):
        return "rational"
    if not isinstance(task, MarkovTask) or dense_gigabytes(task) <= memory:
        return "operator" if isinstance(task, MarkovTask) and _is_long(task) else "dense"
    return "operator"


def _is_long(task: MarkovTask) -> bool:
    return is_binary(task) and task.length > _DENSE_LENGTH


def solve_rational(system: RationalMoments) -> ClosedForm:
    """Solve in fractions; for singular ``H``, the point of least norm, also in fractions."""
    verdict = convexity(system)
    free = None
    if verdict.strict:
        X = system.H.solve(system.h)
    else:
        X = _least_norm(system)
        free = np.ascontiguousarray(np.linalg.qr(verdict.free.T)[0].T)
    exact = fraction_array(X)
    loss = system.loss(X)
    rounded = system.to_float()
    return ClosedForm(
        X=exact.astype(float),
        loss=float(loss),
        residual=0.0 if system.h == system.H * X else np.inf,
        condition=_exact_condition(system, rounded.H) if verdict.strict else np.inf,
        method="rational",
        moments=rounded,
        error="exact",
        free=free,
        convexity=verdict,
        X_exact=exact,
        loss_exact=loss,
    )


def _least_norm(system: RationalMoments) -> flint.fmpq_mat:
    """Stack ``H X = h`` with ``N X = 0``, ``N`` the null space, and solve the normal equations."""
    stacked = flint.fmpq_mat([*system.H.tolist(), *null_space(system.H)])
    extra = stacked.nrows() - system.size
    rhs = flint.fmpq_mat([*system.h.tolist(), *([flint.fmpq(0)] for _ in range(extra))])
    return (stacked.transpose() * stacked).solve(stacked.transpose() * rhs)


def solve_dense(system: Moments) -> ClosedForm:
    """Solve in float64 by Cholesky of the equilibrated ``H``, or by its spectrum where that is singular."""
    with blas_threads(system.size):
        return _solved(system)


def _solved(system: Moments) -> ClosedForm:
    X, free = _solve(system.H, system.h)
    loss = system.loss(X)
    scale = float(np.abs(system.h).max()) or 1.0
    loss_error, X_error = _errors(system, X, loss)
    words = [system.error]
    rounding = _rounding(system, X)
    if loss_error is None and rounding > _VISIBLE * abs(loss):
        loss_error = rounding
        words.append(f"H is ill-conditioned: rounding of the loss up to {rounding:.1e}")
    if free is not None:
        words.append("H is singular to working precision")
    return ClosedForm(
        X=X,
        loss=loss,
        residual=float(np.abs(system.H @ X - system.h).max()) / scale,
        condition=np.inf if free is not None else _condition(system.H),
        method="dense",
        moments=system,
        error="; ".join(words),
        loss_error=loss_error,
        X_error=X_error,
        free=free,
    )


def _solve(H: NDArray[np.float64], h: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the minimizer and, for singular ``H``, an orthonormal basis of its null space."""
    from scipy.linalg import cho_solve, eigh, lapack

    scale = np.sqrt(np.maximum(np.diag(H), 0))
    scale[scale == 0] = 1.0
    balanced = H / scale[:, None]
    balanced /= scale
    norm = float(np.abs(balanced).sum(0).max())
    factor, failed = lapack.dpotrf(balanced, lower=1, overwrite_a=0)
    tolerance = len(h) * np.finfo(float).eps
    if not failed and lapack.dpocon(factor, norm, uplo="L")[0] > tolerance:
        X = cho_solve((factor, True), h / scale) / scale
        X += cho_solve((factor, True), (h - H @ X) / scale) / scale
        return X, None
    values, vectors = eigh(balanced)
    kept = values > tolerance * values[-1]
    inverse = vectors[:, kept] / values[kept]
    X = inverse @ (vectors[:, kept].T @ (h / scale)) / scale
    free = np.linalg.qr(vectors[:, ~kept] / scale[:, None])[0].T
    return X - free.T @ (free @ X), np.ascontiguousarray(free)


def _condition(H: NDArray[np.float64]) -> float:
    from scipy.linalg import cho_factor, cho_solve, eigvalsh
    from scipy.sparse.linalg import LinearOperator, eigsh

    if len(H) <= _EIGEN_SIZE:
        values = eigvalsh(H)
        return float(values[-1] / values[0]) if values[0] > 0 else np.inf
    factor = cho_factor(H, lower=True)
    inverse = LinearOperator(H.shape, matvec=lambda v: cho_solve(factor, v), dtype=float)
    start = np.ones(len(H))
    ends = [eigsh(A, k=1, which="LA", tol=1e-4, v0=start, return_eigenvectors=False)[0] for A in (H, inverse)]
    return float(ends[0] * ends[1])


def _exact_condition(system: RationalMoments, H: NDArray[np.float64]) -> float:
    """Return ``|H| |H^-1|`` with the inverse taken in fractions: no digit is lost to the condition itself."""
    inverse = fraction_array(system.H.inv()).astype(float).reshape(H.shape)
    return float(np.linalg.norm(H, 2) * np.linalg.norm(inverse, 2))


def _rounding(system: Moments, X: NDArray[np.float64]) -> float:
    """Bound what a relative error of one ulp in every entry of ``H`` and ``h`` does to the loss, to first order."""
    size = np.abs(X)
    return float(np.finfo(float).eps * (size @ (np.abs(system.H) @ size) + 2 * np.abs(system.h) @ size))


def _errors(system: Moments, X: NDArray[np.float64], loss: float) -> tuple[float | None, NDArray[np.float64] | None]:
    """Delta method over the replicates, or the change from half the nodes; None where exact."""
    if system.coarse is not None:
        other = _solve(system.coarse.H, system.coarse.h)[0]
        return abs(system.coarse.loss(other) - loss), np.abs(other - X)
    if system.replicates is None:
        return None, None
    H, h, y2 = system.replicates
    root = np.sqrt(len(y2))
    products = H @ X
    losses = y2 + products @ X - 2 * h @ X
    shifts = np.array([_solve(system.H, r)[0] for r in h - products])
    return float(losses.std(ddof=1) / root), shifts.std(0, ddof=1) / root
