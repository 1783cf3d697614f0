"""Rigorous bounds from floating-point matrices: every rounding is accounted for.

``M >= lambda I`` is proved from an upper triangular ``R`` by ``M - lambda I = R^T R + E`` with
``|E|`` at most the computed residual plus the proved error of one matrix product; how ``R`` was found does
not matter. Conventional (not Strassen-like) products are assumed, in any order, with or without fused
multiply-add. Source: Rump, "Verification of positive definiteness", BIT 46 (2006), with the a-posteriori
residual in place of his a-priori one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.moments.enclosure import Enclosure
from markov_icl.recovery.certificate.lift import Lift, lift_vector
from markov_icl.recovery.certificate.null_columns import kept, kept_of_S

__all__ = ["TINY", "UNIT", "floating_bound", "gamma", "minimum_bound", "smallest_eigenvalue_bound"]

UNIT = 2.0**-53
TINY = 2.0**-1000
"""Far above what an operation can lose by underflow, ``2^-1074``."""
_SLACK = 1 + 1e-6
"""For the roundings of the bounds themselves: each of them has fewer than a million terms of one sign."""


_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""What overflows ends as an infinity or as no number, and every comparison refuses both."""


def gamma(k: int) -> float:
    """Return ``gamma_k = k u / (1 - k u)``, rounded up."""
    return k * UNIT / (1 - k * UNIT) * _SLACK


@_QUIET
def floating_bound(
    lifted: Lift,
    enclosure: Enclosure,
    Z: Array,
    cones: Sequence[Array],
    S: Sequence[Array],
    null: Array | None = None,
) -> float:
    """Return a proved lower bound on the loss over ``{b : b^T C_c b >= 0}``.

    For any vector ``x``, ``q^T M^{-1} q = q.x + x.r + r^T M^{-1} r`` with ``r = q - M x``. Each term is
    enclosed, and ``r^T M^{-1} r <= |r|^2 / lambda``.

    Args:
        lifted: the loss.
        enclosure: proved errors of the moments it was made of.
        Z: ``[N, N]``, antisymmetric under the partial transpose.
        cones: the signed ``C_c``, ``[D, D]``.
        S: one ``[N/D, N/D]`` per cone.
        null: columns ``[N, k]`` on which the exact ``M`` and ``q`` vanish, as the caller has proved.

    Raises:
        ValueError: if positive definiteness cannot be proved.
    """
    for s in S:
        keep = slice(None) if null is None else kept_of_S(s, null)
        if s[keep][:, keep].any() and not smallest_eigenvalue_bound(s[keep][:, keep], None) >= 0:
            raise ValueError("expected a positive semidefinite S; got none that could be proved so")
    M, error = _assemble(lifted.Q, Z, cones, S)
    roots, q = lift_vector(enclosure.roots, lifted), lifted.q
    if null is not None:  # M and q vanish on the columns, so the rows of an invertible block of them may go
        keep = kept(null)
        M, error, q, roots = M[keep][:, keep], error[keep][:, keep], q[keep], roots[keep]
    return minimum_bound(lifted.y2, q, M, error, replace(enclosure, roots=roots))


@_QUIET
def minimum_bound(y2: float, q: Array, M: Array, error: Array, enclosure: Enclosure) -> float:
    """Return a proved lower bound on ``y2 - 2 q.w + w^T M w`` over all ``w``.

    Args:
        y2: the value at 0.
        q: ``[n]``.
        M: ``[n, n]``, symmetric.
        error: bounds on the moduli of its rounding errors, ``[n, n]``.
        enclosure: proved errors of the data, ``roots`` ``[n]``.

    Raises:
        ValueError: if positive definiteness cannot be proved.
    """
    roots = enclosure.roots
    if not len(q):
        return float(np.nextafter(y2 - enclosure.relative * enclosure.size * enclosure.size * _SLACK, -np.inf))
    vague_q = enclosure.relative * enclosure.size * roots * _SLACK
    diagonal = np.diag(M)
    if not (diagonal > 0).all():
        raise ValueError("expected a positive definite M; got a diagonal entry that is not positive")
    # Unit diagonal by powers of two: exact, and the trace of the moments' error stays small beside the eigenvalues.
    powers = np.exp2(-np.round(np.log2(diagonal) / 2))
    M, error = M * np.outer(powers, powers), error * np.outer(powers, powers)
    q, vague_q, roots = q * powers, vague_q * powers, roots * powers
    smallest = smallest_eigenvalue_bound(M, error) - enclosure.relative * float(roots @ roots) * _SLACK
    if not smallest > 0:
        raise ValueError("expected a positive definite M; got none that could be proved so")
    return _schur_bound(y2, enclosure, q, M, error, roots, vague_q, smallest)


def _assemble(Q: Array, Z: Array, cones: Sequence[Array], S: Sequence[Array]) -> tuple[Array, Array]:
    """Return ``M = Q + Z - sum_c C_c (x) S_c`` and bounds on the moduli of its rounding errors, underflow included."""
    M, size = Q + Z, np.abs(Q) + np.abs(Z)
    for C, s in zip(cones, S, strict=True):
        term = np.kron(C, s)
        M -= term
        size += np.abs(term)
    return M, size * gamma(2 * len(S) + 3) + (len(S) + 1) * TINY


@_QUIET
def smallest_eigenvalue_bound(M: Array, error: Array | None) -> float:
    """Return a proved lower bound on the eigenvalues of all symmetric matrices within ``error`` of ``M``.

    Args:
        M: ``[n, n]``, symmetric.
        error: bounds on the moduli of the entries' errors, ``[n, n]``; None for none.

    Raises:
        ValueError: if no factor exists, so that nothing can be proved.
    """
    n = M.shape[0]
    if not np.isfinite(M).all():
        raise ValueError("expected a matrix of finite numbers; got larger ones")
    shift = _estimate(M) / 2
    shifted = M.copy()
    shifted[np.diag_indices(n)] -= shift
    try:
        R = sla.cholesky(shifted, check_finite=False)
    except np.linalg.LinAlgError:
        raise ValueError("expected a positive definite matrix; got one with no Cholesky factor") from None
    trace = float(np.vdot(R, R))
    residual = float(np.linalg.norm(shifted - R.T @ R))
    largest = float(np.abs(np.diag(M)).max())
    bound = residual * (1 + gamma(n * n + 10)) + gamma(n + 2) * trace + gamma(3) * (largest + shift)
    bound += UNIT * (float(np.linalg.norm(shifted)) + trace) + n * n * TINY
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
    enclosure: Enclosure,
    q: Array,
    M: Array,
    error: Array,
    roots: Array,
    vague_q: Array,
    smallest: float,
) -> float:
    """Return a lower bound on ``y2' - q'^T M'^{-1} q'`` over all data within the stated errors.

    ``|M' - M| <= error + e roots roots^T``, ``|q' - q| <= vague_q``, entrywise, ``|y2' - y2| <= e s^2``.
    """
    n, e = q.shape[0], enclosure.relative
    factor = sla.cho_factor(M, check_finite=False)
    # Any x will do: one step of refinement makes the residual, and so the loss of the bound, small.
    x = np.asarray(sla.cho_solve(factor, q, check_finite=False))
    x = x + sla.cho_solve(factor, q - M @ x, check_finite=False)
    residual = q - M @ x
    size = np.abs(x)
    # What the computed residual can be off by: rounding of M x, of M itself, the moments' errors in M and q.
    vague_r = gamma(n + 3) * (np.abs(q) + np.abs(M) @ size) + n * TINY
    vague_r += error @ size + e * float(roots @ size) * roots + vague_q
    products = gamma(n + 3) * float(np.abs(q) @ size + size @ np.abs(residual))
    vague = (products + float(size @ (vague_r + vague_q))) * _SLACK
    norm = (float(np.linalg.norm(residual)) + float(np.linalg.norm(vague_r))) * _SLACK
    loss = vague + norm * norm / smallest * _SLACK + e * enclosure.size * enclosure.size + n * TINY
    value = y2 - float(q @ x) - float(x @ residual)
    rounding = 8 * UNIT * (abs(y2) + float(np.abs(q @ x)) + float(np.abs(x @ residual)))
    bound = float(np.nextafter(value - (loss + rounding) * _SLACK, -np.inf))
    if not np.isfinite(bound):
        raise ValueError("expected a bound that is a finite number; got none")
    return bound
