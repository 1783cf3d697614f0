"""Where the barrier method is: scaled coordinates, strictly feasible points and how to find the first one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg as sla
from scipy.linalg import lapack

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift, antisymmetric, pack, partial_transpose
from markov_icl.recovery.solver.mask import Mask
from markov_icl.recovery.solver.newton import cholesky

__all__ = [
    "Iterate",
    "Scaling",
    "add_cone",
    "congruence",
    "first_weight",
    "inverse_from",
    "inverse_of",
    "marginals",
    "scale",
    "start",
    "symmetric",
]

_FIRST_WEIGHT = 3e-3
"""Of the energy ``q^T Q^+ q``. A tenth: 199 Newton steps on the nine quadratics of barrier.py; half 181, as it is 192,
twice 187, ten times 208."""
_SINGULAR = 1e-13
"""Relative eigenvalue below which ``H`` goes to the search for singular ones; no proof in floats reaches lower."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Fixed data of one problem.

    Attributes:
        lifted: the loss.
        tied: ``(Q + Gamma Q) / 2``, the part of ``M`` that no ``Z`` changes, ``[N, N]``.
        Kb: first scaling of ``R^D``, ``[D, D]``.
        Ka: first scaling of ``R^{J D}``.
    """

    lifted: Lift
    tied: Array
    Kb: Array
    Ka: Array


@dataclass(frozen=True, eq=False)
class Iterate:
    """A strictly feasible point in the coordinates ``K = Kb (x) Ka``.

    Attributes:
        M: ``K (Q - sum_c C_c (x) S_c + Z) K^T``, ``[N, N]``.
        Kb: ``[D, D]``.
        Ka: ``[J D, J D]``.
        S: ``Ka S_c Ka^T`` for every cone.
        mu: barrier weight at which it was reached.
        mask: the face, whose null direction is the last of the scaled coordinates; ``M`` and ``S`` are
            then padded.
    """

    M: Array
    Kb: Array
    Ka: Array
    S: tuple[Array, ...]
    mu: float
    mask: Mask | None = None

    def bare_S(self) -> tuple[Array, ...]:  # noqa: N802
        """Return the ``S_c`` without padding, in scaled coordinates."""
        return self.S if self.mask is None else tuple(S * self.mask.Y for S in self.S)

    def unscaled(self, scaling: Scaling) -> tuple[Array, tuple[Array, ...]]:
        """Return the packed ``Z`` and the ``S_c`` in original coordinates."""
        D = scaling.lifted.dimension
        kb, ka = inverse_of(self.Kb), inverse_of(self.Ka)
        M = self.M if self.mask is None else self.mask.bare_M(self.M)
        Z = pack(antisymmetric(congruence(M, kb, ka), D), D) - pack(antisymmetric(scaling.lifted.Q, D), D)
        return Z, tuple(symmetric(ka @ S @ ka.T) for S in self.bare_S())


def inverse_of(X: Array) -> Array:
    """Return the inverse of a small matrix."""
    return np.asarray(np.linalg.inv(X), dtype=np.float64)


def congruence(X: Array, kb: Array, ka: Array) -> Array:
    """Return ``(kb (x) ka) X (kb (x) ka)^T`` for symmetric ``X`` ``[N, N]``, symmetric to the last bit."""
    n, D, m = X.shape[0], kb.shape[0], ka.shape[0]
    for _ in range(2):
        half = (kb @ X.reshape(D, m * n)).reshape(D, m, n)
        X = np.ascontiguousarray(np.matmul(ka, half).reshape(n, n).T)
    return symmetric(X)


def inverse_from(factor: Array) -> Array:
    """Return the inverse of ``L L^T`` for a lower Cholesky factor ``L``."""
    inverse = np.tril(lapack.dpotri(factor, lower=1)[0])
    return np.asarray(inverse + np.tril(inverse, -1).T)


def symmetric(X: Array) -> Array:
    """Return the symmetric part."""
    return (X + X.T) / 2


def marginals(X: Array, D: int, sweeps: int = 3) -> tuple[Array, Array]:
    """Return ``U`` ``[D, D]``, ``V`` ``[N/D, N/D]`` with ``X ~ U (x) V``, by flip-flop."""
    m = X.shape[0] // D
    grouped = X.reshape(D, m, D, m).transpose(0, 2, 1, 3).reshape(D * D, m * m)
    U = np.eye(D)
    for _ in range(sweeps):
        V = (np.linalg.inv(U).reshape(-1) @ grouped).reshape(m, m) / D
        U = (grouped @ np.linalg.inv(V).reshape(-1)).reshape(D, D) / m
    return symmetric(U), symmetric(V)


def start(lifted: Lift) -> tuple[Scaling, Iterate]:
    """Return the first scaling and a strictly feasible ``Z``.

    ``Q`` is singular on the antisymmetric directions; ``kappa (sum_j t_j t_j^T - swap_j)`` mends that.

    Raises:
        numpy.linalg.LinAlgError: if ``H`` is singular to working precision.
    """
    # On symmetric tensors Q itself is positive definite; half its least eigenvalue there goes to the others.
    D, J = lifted.dimension, lifted.blocks
    scaling = scale(lifted)
    M = congruence(lifted.Q, scaling.Kb, scaling.Ka)
    kappa = _smallest_on_symmetric(M, J, D) / 2
    if kappa <= _SINGULAR:
        raise np.linalg.LinAlgError("H is singular to working precision")
    view = M.reshape(D, J, D, D, J, D)
    eye = np.eye(D)
    for j in range(J):
        view[:, j, :, :, j, :] += kappa * np.einsum("ik,lm->iklm", eye, eye)
        view[:, j, :, :, j, :] -= kappa * np.einsum("im,kl->iklm", eye, eye)
    cholesky(M)
    return scaling, Iterate(M, scaling.Kb, scaling.Ka, (), first_weight(lifted))


def scale(lifted: Lift) -> Scaling:
    """Return the first scaling: the partial traces of ``Q`` become identities.

    Raises:
        numpy.linalg.LinAlgError: if a partial trace is singular.
    """
    Kb, KJ = _first_scaling(lifted.Q, lifted.blocks, lifted.dimension)
    Ka: Array = np.asarray(np.kron(KJ, Kb), dtype=np.float64)
    tied = (lifted.Q + partial_transpose(lifted.Q, lifted.dimension)) / 2
    return Scaling(lifted, tied, Kb, Ka)


def first_weight(lifted: Lift) -> float:
    """Return the barrier weight to begin with."""
    solution = np.linalg.lstsq(lifted.Q, lifted.q, rcond=1e-13)[0] if lifted.size < 200 else None
    energy = float(lifted.q @ solution) if solution is not None else abs(lifted.y2)
    return _FIRST_WEIGHT * max(energy, 1e-9 * abs(lifted.y2), 1e-300)


def _first_scaling(Q: Array, J: int, D: int, sweeps: int = 6) -> tuple[Array, Array]:
    """Return ``Kb`` and ``KJ`` with identity partial traces of ``K Q K^T``, ``K = Kb (x) KJ (x) Kb``."""
    tensor = Q.reshape(D, J, D, D, J, D)
    Kb, KJ = np.eye(D), np.eye(J)
    for _ in range(sweeps):
        Gb, GJ = Kb.T @ Kb, KJ.T @ KJ
        over_b = np.einsum("iakjbl,ab,kl->ij", tensor, GJ, Gb, optimize=True) / (J * D)
        Kb = _inverse_root(symmetric(over_b))
        Gb = Kb.T @ Kb
        over_j = np.einsum("iakjbl,ij,kl->ab", tensor, Gb, Gb, optimize=True) / (D * D)
        KJ = _inverse_root(symmetric(over_j))
    return Kb, KJ


def _inverse_root(X: Array) -> Array:
    values, vectors = np.linalg.eigh(X)
    if values[0] <= _SINGULAR * values[-1]:
        raise np.linalg.LinAlgError("H is singular to working precision")
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


def _smallest_on_symmetric(M: Array, J: int, D: int) -> float:
    """Return the smallest eigenvalue of ``M`` on tensors symmetric in ``(i, k)``, one block at a time."""
    rows, columns = np.triu_indices(D)
    weight = np.where(rows == columns, 0.5, np.sqrt(0.5))
    tensor = M.reshape(D, J, D, D * J * D)
    half = (tensor[rows, :, columns] + tensor[columns, :, rows]) * weight[:, None, None]
    other = half.reshape(-1, D, J, D)
    both = (other[:, rows, :, columns] + other[:, columns, :, rows]) * weight[:, None, None]
    square = both.transpose(1, 0, 2).reshape(rows.size * J, rows.size * J)
    return float(sla.eigh(symmetric(square), eigvals_only=True, subset_by_index=[0, 0])[0])


def add_cone(warm: Iterate, cones: tuple[Array, ...]) -> Iterate:
    """Return ``warm`` made strictly feasible for one more cone, the last of ``cones``.

    If the cone leaves out the null direction of the iterate's face, the result has no face any more: the
    new ``S`` makes ``M`` positive definite there.

    Raises:
        numpy.linalg.LinAlgError: if no step is small enough.
    """
    # A multiple of the identity for the new S, halved until M stays positive definite with as much again to spare.
    scaled = [warm.Kb @ C @ warm.Kb.T for C in cones]
    C, mask, M, S = scaled[-1], warm.mask, warm.M, warm.bare_S()
    leaves = mask is not None and C[-1, -1] < 0
    if mask is not None:
        M = mask.bare_M(M)
    weight = 0.5 / max(float(np.abs(np.linalg.eigvalsh(C)).max()), 1e-300)
    for _ in range(60):
        new = weight * np.eye(len(warm.Ka))
        old = S
        if mask is not None and leaves:
            old = tuple(s + weight**2 * np.diag((~mask.S).astype(np.float64)) for s in S)
        elif mask is not None:
            new = new * mask.Y
        trial = M - np.kron(C, new)
        for cone, before, after in zip(scaled, S, old, strict=False):
            trial = trial - np.kron(cone, after - before)
        kept = mask if not leaves else None
        try:
            further = trial if leaves else trial - np.kron(C, new)
            cholesky(further if kept is None else kept.pad_M(further))
        except np.linalg.LinAlgError:
            weight /= 2
            continue
        blocks = (*old, new)
        if kept is not None:
            trial, blocks = kept.pad_M(trial), tuple(kept.pad_S(s) for s in blocks)
        return replace(warm, M=symmetric(trial), S=blocks, mask=kept)
    raise np.linalg.LinAlgError("expected a strictly feasible start; got none")
