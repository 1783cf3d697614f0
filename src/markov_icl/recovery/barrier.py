"""One node of the certificate's tree: the log-determinant barrier method.

Maximizes ``gamma(Z, S) + mu (log det M + sum_c log det S_c)`` with ``M = Q - sum_c C_c (x) S_c + Z`` and
``gamma = y2 - q^T M^{-1} q`` for ``mu -> 0``; every iterate is already a valid bound on the cone
``{b : b^T C_c b >= 0 for all c}``. Newton steps are solved by preconditioned conjugate gradients in
coordinates where ``M^{-1}`` has identity partial traces. Nothing here is trusted:
:mod:`markov_icl.recovery.verify` proves the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg as sla
from scipy.linalg import lapack

from markov_icl.recovery.dense import dense_direction, unknowns
from markov_icl.recovery.lift import Array, Lift, pack, partial_transpose, project
from markov_icl.recovery.newton import Move, Point, cholesky, direction, evaluate, line_search
from markov_icl.recovery.polish import polish, rank_one

__all__ = ["Incumbent", "Iterate", "NodeResult", "Scaling", "TimeUp", "add_cone", "solve_node", "start"]

_SHRINK = 3.0
_PATIENCE = 15
_DENSE_UP_TO = 300
_DENSE_FALLBACK_UP_TO = 2500
_CANDIDATES_EVERY_STEP = 700


class TimeUp(Exception):  # noqa: N818
    """The search must end now with what it has."""


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
    """

    M: Array
    Kb: Array
    Ka: Array
    S: tuple[Array, ...]
    mu: float

    def unscaled(self, scaling: Scaling) -> tuple[Array, tuple[Array, ...]]:
        """Return the packed ``Z`` and the ``S_c`` in original coordinates."""
        D = scaling.lifted.dimension
        kb, ka = inverse_of(self.Kb), inverse_of(self.Ka)
        Z = pack(project(congruence(self.M, kb, ka), D), D) - pack(project(scaling.lifted.Q, D), D)
        return Z, tuple(_symmetric(ka @ S @ ka.T) for S in self.S)


@dataclass
class Incumbent:
    """The best ``(b, a)`` so far; shared by all nodes."""

    lifted: Lift
    b: Array
    a: Array
    loss: float

    def offer(self, b: Array, a: Array, sweeps: int = 10, steps: int = 8) -> None:
        """Polish a candidate and keep it if it is better."""
        b, a, loss = polish(self.lifted, b, a, sweeps, steps)
        if loss < self.loss:
            self.b, self.a, self.loss = b, a, loss


@dataclass(frozen=True, eq=False)
class NodeResult:
    """What one node came to.

    Attributes:
        lower: ``gamma`` at the best iterate, in squared states; floating point, not yet proved.
        best: that iterate.
        warm: a centred iterate from which children may start.
        split: the matrix ``C`` to branch with, ``[D, D]``.
        status: ``closed``, ``loose``, ``stopped`` or ``stalled``.
    """

    lower: float
    best: Iterate
    warm: Iterate
    split: Array
    status: str


def inverse_of(X: Array) -> Array:
    """Return the inverse of a small matrix."""
    return np.asarray(np.linalg.inv(X), dtype=np.float64)


def congruence(X: Array, kb: Array, ka: Array) -> Array:
    """Return ``(kb (x) ka) X (kb (x) ka)^T`` for symmetric ``X`` ``[N, N]``, symmetric to the last bit."""
    n, D, m = X.shape[0], kb.shape[0], ka.shape[0]
    for _ in range(2):
        half = (kb @ X.reshape(D, m * n)).reshape(D, m, n)
        X = np.ascontiguousarray(np.matmul(ka, half).reshape(n, n).T)
    return _symmetric(X)


def _inverse(factor: Array) -> Array:
    inverse = np.tril(lapack.dpotri(factor, lower=1)[0])
    return np.asarray(inverse + np.tril(inverse, -1).T)


def _symmetric(X: Array) -> Array:
    return (X + X.T) / 2


def marginals(X: Array, D: int, sweeps: int = 3) -> tuple[Array, Array]:
    """Return ``U`` ``[D, D]``, ``V`` ``[N/D, N/D]`` with ``X ~ U (x) V``, by flip-flop."""
    m = X.shape[0] // D
    grouped = X.reshape(D, m, D, m).transpose(0, 2, 1, 3).reshape(D * D, m * m)
    U = np.eye(D)
    for _ in range(sweeps):
        V = (np.linalg.inv(U).reshape(-1) @ grouped).reshape(m, m) / D
        U = (grouped @ np.linalg.inv(V).reshape(-1)).reshape(D, D) / m
    return _symmetric(U), _symmetric(V)


def start(lifted: Lift) -> tuple[Scaling, Iterate]:
    """Return the first scaling and a strictly feasible ``Z``.

    ``Q`` is singular on the antisymmetric directions; ``kappa (sum_j t_j t_j^T - swap_j)`` mends that.

    Raises:
        numpy.linalg.LinAlgError: if ``H`` is singular to working precision.
    """
    D, J = lifted.dimension, lifted.blocks
    Kb, KJ = _first_scaling(lifted.Q, J, D)
    Ka: Array = np.asarray(np.kron(KJ, Kb), dtype=np.float64)
    tied = (lifted.Q + partial_transpose(lifted.Q, D)) / 2
    scaling = Scaling(lifted, tied, Kb, Ka)
    M = congruence(lifted.Q, Kb, Ka)
    kappa = _smallest_on_symmetric(M, J, D) / 2
    if kappa <= 1e-13:
        raise np.linalg.LinAlgError("H is singular to working precision")
    view = M.reshape(D, J, D, D, J, D)
    eye = np.eye(D)
    for j in range(J):
        view[:, j, :, :, j, :] += kappa * np.einsum("ik,lm->iklm", eye, eye)
        view[:, j, :, :, j, :] -= kappa * np.einsum("im,kl->iklm", eye, eye)
    cholesky(M)
    solution = np.linalg.lstsq(lifted.Q, lifted.q, rcond=1e-13)[0] if lifted.size < 200 else None
    energy = float(lifted.q @ solution) if solution is not None else abs(lifted.y2)
    mu = 3e-3 * max(energy, 1e-9 * abs(lifted.y2), 1e-300)
    return scaling, Iterate(M, Kb, Ka, (), mu)


def _first_scaling(Q: Array, J: int, D: int, sweeps: int = 6) -> tuple[Array, Array]:
    """Return ``Kb`` and ``KJ`` with identity partial traces of ``K Q K^T``, ``K = Kb (x) KJ (x) Kb``."""
    tensor = Q.reshape(D, J, D, D, J, D)
    Kb, KJ = np.eye(D), np.eye(J)
    for _ in range(sweeps):
        Gb, GJ = Kb.T @ Kb, KJ.T @ KJ
        over_b = np.einsum("iakjbl,ab,kl->ij", tensor, GJ, Gb, optimize=True) / (J * D)
        Kb = _inverse_root(_symmetric(over_b))
        Gb = Kb.T @ Kb
        over_j = np.einsum("iakjbl,ij,kl->ab", tensor, Gb, Gb, optimize=True) / (D * D)
        KJ = _inverse_root(_symmetric(over_j))
    return Kb, KJ


def _inverse_root(X: Array) -> Array:
    values, vectors = np.linalg.eigh(X)
    if values[0] <= 1e-13 * values[-1]:
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
    return float(sla.eigh(_symmetric(square), eigvals_only=True, subset_by_index=[0, 0])[0])


def add_cone(warm: Iterate, cones: tuple[Array, ...]) -> Iterate:
    """Return ``warm`` made strictly feasible for one more cone, the last of ``cones``."""
    C = warm.Kb @ cones[-1] @ warm.Kb.T
    m = warm.Ka.shape[0]
    weight = 0.5 / max(float(np.abs(np.linalg.eigvalsh(C)).max()), 1e-300)
    for _ in range(60):
        S = weight * np.eye(m)
        M = warm.M - np.kron(C, S)
        try:
            cholesky(M - np.kron(C, S))
        except np.linalg.LinAlgError:
            weight /= 2
            continue
        return replace(warm, M=_symmetric(M), S=(*warm.S, S))
    raise np.linalg.LinAlgError("expected a strictly feasible start; got none")


def _rescale(scaling: Scaling, cones: tuple[Array, ...], it: Iterate, inverse: Array) -> tuple[Iterate, Array]:
    """Return the iterate and ``M^{-1}`` in coordinates where the partial traces of ``M^{-1}`` are identities.

    The part that no ``Z`` changes is imposed afresh: rounding drift in it would be a false bound.
    """
    D = scaling.lifted.dimension
    U, V = marginals(inverse, D)
    lu, lv = cholesky(U), cholesky(V)
    Kb, Ka = lu.T @ it.Kb, lv.T @ it.Ka
    S = tuple(_symmetric(lv.T @ s @ lv) for s in it.S)
    M = project(congruence(it.M, lu.T, lv.T), D) + congruence(scaling.tied, Kb, Ka)
    for C, s in zip(cones, S, strict=True):
        M -= np.kron(_symmetric(Kb @ C @ Kb.T), s)
    inverse = congruence(inverse, inverse_of(lu), inverse_of(lv))
    return replace(it, M=_symmetric(M), Kb=Kb, Ka=Ka, S=S), inverse


def solve_node(
    scaling: Scaling,
    cones: tuple[Array, ...],
    first: Iterate,
    incumbent: Incumbent,
    tolerance: float,
    rng: np.random.Generator,
    on_bound: Callable[[float, Iterate], None],
    check: Callable[[], None],
    most_steps: int = 120,
) -> NodeResult:
    """Run the barrier method on one node.

    Args:
        scaling: the problem.
        cones: the ``C_c`` on the node's path, ``[D, D]`` each.
        first: a strictly feasible iterate.
        incumbent: improved in place.
        tolerance: stop when ``upper - gamma`` is at most this, in squared states.
        rng: for the Gaussian samples of the rounding.
        on_bound: called with every better bound.
        check: called often; raises :class:`TimeUp` to stop.
        most_steps: Newton steps.
    """
    lifted, it = scaling.lifted, first
    order = 1 + lifted.size + sum(s.shape[0] for s in first.S)
    floor = 1e-13 * max(abs(lifted.y2), 1e-300)
    lower, best, centred, status = -np.inf, first, [first], "stalled"
    history: list[float] = []
    for step in range(most_steps):
        try:
            it, point = _advance(scaling, cones, it)
        except np.linalg.LinAlgError:
            break
        gamma = lifted.y2 - float(point.q @ point.u)
        if gamma > lower:
            lower, best = gamma, it
            on_bound(lower, best)
        history.append(lower)
        if len(history) > _PATIENCE and lower - history[-_PATIENCE] < 0.02 * (incumbent.loss - lower):
            break
        if lifted.size <= _CANDIDATES_EVERY_STEP or step % 4 == 3:
            _offer(incumbent, it, point, rng)
        if incumbent.loss - lower <= tolerance:
            status = "closed"
            break
        move, decrement = _step(point, check)
        length = line_search(point, move)
        if length == 0:
            break
        S = tuple(s + length * y for s, y in zip(it.S, move.S, strict=True))
        it = replace(it, M=it.M + length * move.M, S=S)
        if decrement <= 2 and length > 0.3:
            _offer(incumbent, it, point, rng)
            centred.append(it)
            if lower + 1.5 * it.mu * order < incumbent.loss - tolerance:
                if decrement <= 1:
                    status = "loose"
                    break
                continue
            if it.mu <= floor:
                break
            it = replace(it, mu=it.mu / _SHRINK)
    gap = incumbent.loss - lower
    warm = min((c for c in centred if c.mu * order >= 30 * gap), key=lambda c: c.mu, default=centred[0])
    return NodeResult(lower, best, warm, _split(scaling, best), status)


def _step(point: Point, check: Callable[[], None]) -> tuple[Move, float]:
    """Return the Newton step: from the assembled Hessian if small, else by conjugate gradients."""
    size = unknowns(point)
    check()
    if size <= _DENSE_UP_TO:
        try:
            return dense_direction(point)
        except np.linalg.LinAlgError:
            return direction(point, check)
    move, decrement = direction(point, check)
    if np.isinf(decrement) and size <= _DENSE_FALLBACK_UP_TO:
        try:
            return dense_direction(point)
        except np.linalg.LinAlgError:
            return move, decrement
    return move, decrement


def _advance(scaling: Scaling, cones: tuple[Array, ...], it: Iterate) -> tuple[Iterate, Point]:
    """Return the iterate in fresh coordinates, factored."""
    it, inverse = _rescale(scaling, cones, it, _inverse(cholesky(it.M)))
    q = _vector(scaling.lifted.q, it)
    scaled = tuple(_symmetric(it.Kb @ C @ it.Kb.T) for C in cones)
    return it, evaluate(it.M, inverse, q, scaled, it.S, it.mu, scaling.lifted.dimension)


def _vector(q: Array, it: Iterate) -> Array:
    return np.asarray(it.Kb @ q.reshape(it.Kb.shape[0], -1) @ it.Ka.T).reshape(-1)


def _offer(incumbent: Incumbent, it: Iterate, point: Point, rng: np.random.Generator) -> None:
    """Offer the rank-one parts of ``u`` and, when ``u`` is far from rank one, of a Gaussian sample."""
    D = it.Kb.shape[0]
    b, a, ratio = rank_one(point.u, D)
    incumbent.offer(it.Kb.T @ b, it.Ka.T @ a)
    if ratio > 0.05:
        noise = sla.solve_triangular(point.factor, rng.standard_normal(point.u.size), lower=True, trans=1)
        b, a, _ = rank_one(point.u + np.sqrt(it.mu) * noise, D)
        incumbent.offer(it.Kb.T @ b, it.Ka.T @ a)


def _split(scaling: Scaling, it: Iterate) -> Array:
    """Return the ``C``, of rank two and indefinite, that cuts most off the moments on both sides.

    With ``Y = u u^T + mu M^{-1}``, the child ``C`` demands ``<C, Y> >= 0``: the score is the lesser of
    the sums of positive and of negative eigenvalues of ``<C, Y>``, in the first coordinates.
    """
    D = it.Kb.shape[0]
    inverse = _inverse(cholesky(it.M))
    u = inverse @ _vector(scaling.lifted.q, it)
    back = inverse_of(scaling.Kb)
    moment = congruence(np.outer(u, u) + it.mu * inverse, back.T @ it.Kb.T, inverse_of(scaling.Ka).T @ it.Ka.T)
    blocks = moment.reshape(D, len(it.Ka), D, -1).transpose(0, 2, 1, 3)
    _, vectors = np.linalg.eigh(np.trace(blocks, axis1=2, axis2=3))
    axes = scaling.Kb / np.linalg.norm(scaling.Kb, axis=0)
    best, chosen = -1.0, np.eye(D)
    for basis in (vectors[:, ::-1], axes):
        for i, k in zip(*np.triu_indices(D, 1), strict=True):
            e, f = basis[:, i], basis[:, k]
            for C in (np.outer(e, f) + np.outer(f, e), np.outer(e, e) - np.outer(f, f)):
                C = C / np.linalg.norm(C)
                values = np.linalg.eigvalsh(np.tensordot(C, blocks, axes=2))
                score = float(min(values[values > 0].sum(), -values[values < 0].sum()))
                if score > best * (1 + 1e-6):
                    best, chosen = score, C
    C = _symmetric(back @ chosen @ back.T)
    return np.asarray(C / np.abs(C).max())
