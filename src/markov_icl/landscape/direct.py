"""Solve ``H X = h`` with the matrix at hand: in fractions, or in float64 with what rounding can do."""

from __future__ import annotations

import flint
import numpy as np

from markov_icl.features import Array
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.landscape.convexity import convexity
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import fraction_array, null_space
from markov_icl.threads import blas_threads

__all__ = ["rounding_is_visible", "solve", "solve_dense", "solve_rational"]

_EIGEN_SIZE = 1500
"""Beyond it the condition number is a Lanczos estimate: the spectrum would take longer than the solution."""
_VISIBLE = 1e-12
"""Rounding beyond this share of the loss is reported, and sends ``auto`` to the operator where it applies."""


def solve(system: Moments | RationalMoments) -> ClosedForm:
    """Solve in fractions where the moments are fractions, else in float64."""
    return solve_rational(system) if isinstance(system, RationalMoments) else solve_dense(system)


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


def _solve(H: Array, h: Array) -> tuple[Array, Array | None]:
    """Return the minimizer and, for singular ``H``, an orthonormal basis of its null space."""
    from scipy.linalg import cho_solve, eigh, lapack

    # Unit diagonal: which directions count as null must not depend on the units of the coordinates.
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


def _condition(H: Array) -> float:
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


def _exact_condition(system: RationalMoments, H: Array) -> float:
    """Return ``|H| |H^-1|`` with the inverse taken in fractions: no digit is lost to the condition itself."""
    inverse = fraction_array(system.H.inv()).astype(float).reshape(H.shape)
    return float(np.linalg.norm(H, 2) * np.linalg.norm(inverse, 2))


def rounding_is_visible(form: ClosedForm) -> bool:
    """Return whether rounding of the matrix may show in the loss of a solution by :func:`solve_dense`."""
    assert isinstance(form.moments, Moments)
    return _rounding(form.moments, form.X) > _VISIBLE * abs(form.loss)


def _rounding(system: Moments, X: Array) -> float:
    """Bound what a relative error of one ulp in every entry of ``H`` and ``h`` does to the loss, to first order."""
    size = np.abs(X)
    return float(np.finfo(float).eps * (size @ (np.abs(system.H) @ size) + 2 * np.abs(system.h) @ size))


def _errors(system: Moments, X: Array, loss: float) -> tuple[float | None, Array | None]:
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
