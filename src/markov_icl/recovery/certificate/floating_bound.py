"""Rigorous bounds from floating-point matrices: every rounding is accounted for.

``M >= lambda I`` is proved from an upper triangular ``R`` by ``M - lambda I = R^T R + E`` with
``|E|`` at most the computed residual plus the proved error of one matrix product; how ``R`` was found does
not matter. Conventional (not Strassen-like) products are assumed, in any order, with or without fused
multiply-add. Source: Rump, "Verification of positive definiteness", BIT 46 (2006), with the a-posteriori
residual in place of his a-priori one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift
from markov_icl.recovery.certificate.null_columns import kept, kept_of_S

__all__ = ["DATA_ERROR", "floating_bound", "smallest_eigenvalue_bound"]

DATA_ERROR = 1e-13
_UNIT = 2.0**-53
_TINY = 2.0**-1000
_SLACK = 1 + 1e-6


def gamma(k: int) -> float:
    """Return ``gamma_k = k u / (1 - k u)``, rounded up."""
    return k * _UNIT / (1 - k * _UNIT) * _SLACK


def floating_bound(
    lifted: Lift,
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    data_error: float,
    null: Array | None = None,
) -> float:
    """Return a proved lower bound on the loss over ``{b : b^T C_c b >= 0}``.

    For any vector ``x``, ``q^T M^{-1} q = q.x + x.r + r^T M^{-1} r`` with ``r = q - M x``. Each term is
    enclosed, and ``r^T M^{-1} r <= |r|^2 / lambda``.

    Args:
        lifted: the loss.
        Z: ``[N, N]``, antisymmetric under the partial transpose.
        cones: the signed ``C_c``, ``[D, D]``.
        S: one ``[N/D, N/D]`` per cone.
        data_error: see :func:`markov_icl.recovery.certificate.verify.verify`.
        null: columns ``[N, k]`` on which ``M`` and ``q`` are taken to vanish exactly; see
            :mod:`markov_icl.recovery.certificate.null_columns`.

    Raises:
        ValueError: if positive definiteness cannot be proved.
    """
    for s in S:
        keep = slice(None) if null is None else kept_of_S(s, null)
        if s.any() and smallest_eigenvalue_bound(s[keep][:, keep], None) < 0:
            raise ValueError("expected a positive semidefinite S; got none that could be proved so")
    M, size = _assemble(lifted.Q, Z, cones, S)
    roots = np.sqrt(np.maximum(np.diag(lifted.Q), 0.0))
    size *= gamma(2 * len(S) + 3)
    q, vague_q = lifted.q, np.zeros_like(lifted.q)
    if null is not None:
        _check_vanishing(M, q, null)
        keep = kept(null)
        M, size = M[keep][:, keep], size[keep][:, keep]
        q, vague_q, roots = q[keep], vague_q[keep], roots[keep]
    diagonal = np.diag(M)
    if not (diagonal > 0).all():
        raise ValueError("expected a positive definite M; got a diagonal entry that is not positive")
    powers = np.exp2(-np.round(np.log2(diagonal) / 2))
    M *= np.outer(powers, powers)
    size *= np.outer(powers, powers)
    q, vague_q, roots = q * powers, vague_q * powers, roots * powers
    smallest = smallest_eigenvalue_bound(M, size)
    smallest -= data_error * float(roots @ roots) * _SLACK
    if not smallest > 0:
        raise ValueError("expected a positive definite M; got none that could be proved so")
    vague_q = vague_q + data_error * np.sqrt(abs(lifted.y2)) * roots * _SLACK
    return _schur_bound(lifted.y2, q, M, size, roots, vague_q, smallest, data_error)


def _check_vanishing(M: Array, q: Array, null: Array) -> None:
    scale = float(np.abs(M).max(initial=1e-300))
    on_M, on_q = float(np.abs(M @ null).max(initial=0.0)), float(np.abs(q @ null).max(initial=0.0))
    if on_M > 1e-8 * scale or on_q > 1e-8 * float(np.abs(q).max()):
        raise ValueError("expected M and q to vanish on the null directions; got others")


def _assemble(Q: Array, Z: Array, cones: Sequence[Array], S: Sequence[Array]) -> tuple[Array, Array]:
    """Return ``M = Q + Z - sum_c C_c (x) S_c`` and the sum of the absolute terms."""
    M, size = Q + Z, np.abs(Q) + np.abs(Z)
    for C, s in zip(cones, S, strict=True):
        term = np.kron(C, s)
        M -= term
        size += np.abs(term)
    return M, size


def smallest_eigenvalue_bound(M: Array, error: Array | None) -> float:
    """Return a proved lower bound on the eigenvalues of all symmetric matrices within ``error`` of ``M``.

    Args:
        M: ``[n, n]``, symmetric.
        error: bounds on the moduli of the entries' errors, ``[n, n]``; None for none.

    Raises:
        ValueError: if no factor exists, so that nothing can be proved.
    """
    n = M.shape[0]
    shift = _estimate(M) / 2
    shifted = M.copy()
    shifted[np.diag_indices(n)] -= shift
    try:
        R = sla.cholesky(shifted, check_finite=True)
    except np.linalg.LinAlgError:
        raise ValueError("expected a positive definite matrix; got one with no Cholesky factor") from None
    trace = float(np.vdot(R, R))
    residual = float(np.linalg.norm(shifted - R.T @ R))
    largest = float(np.abs(np.diag(M)).max())
    bound = residual * (1 + gamma(n * n + 10)) + gamma(n + 2) * trace + gamma(3) * (largest + shift)
    bound += _UNIT * (float(np.linalg.norm(shifted)) + trace) + n * n * _TINY
    if error is not None:
        bound += float(np.linalg.norm(error)) * (1 + gamma(n * n + 10))
    return float(shift - bound * _SLACK)


def _estimate(M: Array) -> float:
    """Return roughly the smallest eigenvalue, by inverse iteration; no claim is made about it."""
    try:
        factor = sla.cho_factor(M, check_finite=False)
    except np.linalg.LinAlgError:
        raise ValueError("expected a positive definite matrix; got one with no Cholesky factor") from None
    x: Array = np.random.default_rng(0).standard_normal((M.shape[0],))
    norm = float(np.linalg.norm(x))
    for _ in range(12):
        unit = np.asarray(x / norm, dtype=np.float64)
        x = np.asarray(sla.cho_solve(factor, unit, check_finite=False), dtype=np.float64)
        norm = float(np.linalg.norm(x))
    return 1 / norm


def _schur_bound(
    y2: float,
    q: Array,
    M: Array,
    error: Array,
    roots: Array,
    vague_q: Array,
    smallest: float,
    data_error: float,
) -> float:
    """Return a lower bound on ``y2' - q'^T M'^{-1} q'`` over all data within the stated errors.

    ``|M' - M| <= error + data_error roots roots^T``, ``|q' - q| <= vague_q``, entrywise.
    """
    n = q.shape[0]
    factor = sla.cho_factor(M, check_finite=False)
    x = np.asarray(sla.cho_solve(factor, q, check_finite=False))
    x = x + sla.cho_solve(factor, q - M @ x, check_finite=False)
    residual = q - M @ x
    size = np.abs(x)
    weight = float(roots @ size)
    vague_r = gamma(n + 3) * (np.abs(q) + np.abs(M) @ size) + n * _TINY
    vague_r += error @ size + data_error * weight * roots + vague_q
    products = gamma(n + 3) * float(np.abs(q) @ size + size @ np.abs(residual))
    vague = (products + float(size @ (vague_r + vague_q))) * _SLACK
    norm = (float(np.linalg.norm(residual)) + float(np.linalg.norm(vague_r))) * _SLACK
    loss = vague + norm**2 / smallest * _SLACK + data_error * abs(y2) + n * _TINY
    value = y2 - float(q @ x) - float(x @ residual)
    rounding = 8 * _UNIT * (abs(y2) + float(np.abs(q @ x)) + float(np.abs(x @ residual)))
    return float(np.nextafter(value - (loss + rounding) * _SLACK, -np.inf))
