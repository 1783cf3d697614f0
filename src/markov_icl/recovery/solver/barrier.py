"""One node of the certificate's tree: the log-determinant barrier method.

Maximizes ``gamma(Z, S) + mu (log det M + sum_c log det S_c)`` with ``M = Q - sum_c C_c (x) S_c + Z`` and
``gamma = y2 - q^T M^{-1} q`` for ``mu -> 0``; every iterate is already a valid bound on the cone
``{b : b^T C_c b >= 0 for all c}``. Newton steps are solved by preconditioned conjugate gradients in
coordinates where ``M^{-1}`` has identity partial traces. Nothing here is trusted:
:mod:`markov_icl.recovery.certificate.verify` proves the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift, antisymmetric
from markov_icl.recovery.solver.iterate import (
    Iterate,
    Scaling,
    congruence,
    inverse_from,
    inverse_of,
    marginals,
    symmetric,
)
from markov_icl.recovery.solver.newton import Move, Point, cholesky, direction, evaluate, line_search
from markov_icl.recovery.solver.newton_dense import dense_direction, unknowns
from markov_icl.recovery.solver.polish import polish, rank_one

__all__ = ["Incumbent", "NodeResult", "TimeUp", "advance", "newton_step", "solve_node"]

# Beside each constant: how many Newton steps another value takes to certify nine quadratics (chains of lengths 3 to 8,
# n = 1 to 100, p = 0.5 to 0.99, and three random ones). As things are it is 192, in 3.5 seconds.
_SHRINK = 3.0
"""``mu`` falls by this at every centre. 1.5: 248, 6: 174, in as many seconds."""
_CENTRED, _FULL_STEP = 2.0, 0.3
"""A centre has at most this decrement, 1: 236, 4: 126, but then 581 for 204 and three times the seconds on five longer
or badly conditioned chains; and at least this step length, 0.15: 192, 0.6: 201."""
_REACH = 1.5
"""At a centre ``gamma`` can still gain ``mu`` times the order (Nesterov & Nemirovskii 1994), near one a little more.
1: 185, 3: 194."""
_WARM = 30.0
"""A child starts where ``mu`` times the order was this many gaps. 6: 176, 150: 209."""
_PATIENCE, _LEAST_GAIN = 15, 0.02
"""So many steps must gain this share of the gap. 7 steps: 208 and 2 nodes more; 30, half or twice the share: 192."""
_NOT_RANK_ONE = 0.05
"""Second singular value of ``u``, relative, from which a random candidate is offered too. 0.01 to 0.25: 192."""
_FLOOR = 1e-13
"""Least ``mu`` relative to ``y2``, below rounding of ``gamma``. A tenth or ten times it: 192."""
_MARGIN = 0.03
"""Least size of ``v^T C v`` at a null direction ``v``, ``|v| = |C| = 1``. 0 to 0.06: the same 46 nodes on four singular
quadratics; it is there for eigenvectors that happen to be null directions: neither side could be solved then."""
_DENSE_UP_TO = 300
"""Unknowns up to which the Hessian is assembled: as many seconds as products alone, 1.3 times as many from 600 on."""
_DENSE_FALLBACK_UP_TO = 2500
"""And up to which it is where conjugate gradients fail: 50 MB."""
_CANDIDATES_EVERY_STEP = 700
"""Order beyond which only every fourth step offers a candidate: polishing one multiplies by ``Q`` about fifty times."""


class TimeUp(Exception):  # noqa: N818
    """The search must end now with what it has."""


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


def _rescale(scaling: Scaling, cones: tuple[Array, ...], it: Iterate, inverse: Array) -> tuple[Iterate, Array]:
    """Return the iterate and ``M^{-1}`` in coordinates where the partial traces of ``M^{-1}`` are identities.

    The part that no ``Z`` changes is imposed afresh: rounding drift in it would be a false bound. The factors
    are upper triangular, so that the last coordinate, a face's null direction, stays the last.
    """
    # U (x) V nearest to M^{-1} becomes the identity.
    D, mask = scaling.lifted.dimension, it.mask
    U, V = marginals(inverse, D)
    lu, lv = cholesky(U), cholesky(V)
    Kb, Ka = lu.T @ it.Kb, lv.T @ it.Ka
    S = tuple(symmetric(lv.T @ s @ lv) for s in it.bare_S())
    # M anew from its parts: the tied one from the data, the movable one from the iterate.
    movable = antisymmetric(congruence(it.M if mask is None else mask.bare_M(it.M), lu.T, lv.T), D)
    tied = congruence(scaling.tied, Kb, Ka)
    if mask is not None:
        fixed = congruence(antisymmetric(scaling.lifted.Q, D), Kb, Ka)
        movable = (movable - fixed) * mask.X + fixed
        S = tuple(s * mask.Y for s in S)
    M = movable + tied
    for C, s in zip(cones, S, strict=True):
        M -= np.kron(symmetric(Kb @ C @ Kb.T), s)
    inverse = congruence(inverse, inverse_of(lu), inverse_of(lv))
    if mask is not None:
        M, inverse, S = mask.pad_M(M), mask.pad_M(inverse), tuple(mask.pad_S(s) for s in S)
    return replace(it, M=symmetric(M), Kb=Kb, Ka=Ka, S=S), inverse


def solve_node(
    scaling: Scaling,
    cones: tuple[Array, ...],
    first: Iterate,
    incumbent: Incumbent,
    tolerance: float,
    rng: np.random.Generator,
    on_bound: Callable[[float, Iterate], None],
    check: Callable[[], None],
    avoid: tuple[Array, ...] = (),
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
        avoid: vectors ``b`` that may not lie near the boundary of the cone to branch with.
        most_steps: Newton steps.
    """
    lifted, it = scaling.lifted, first
    order = 1 + lifted.size + sum(s.shape[0] for s in first.S)
    floor = _FLOOR * max(abs(lifted.y2), 1e-300)
    lower, best, centred, status = -np.inf, first, [first], "stalled"
    history: list[float] = []
    for step in range(most_steps):
        # Fresh coordinates: M^{-1} with identity partial traces keeps the Newton systems well conditioned.
        try:
            it, point = advance(scaling, cones, it)
        except np.linalg.LinAlgError:
            break
        # Every iterate is feasible, so its gamma is a bound already.
        gamma = lifted.y2 - float(point.q @ point.u)
        if gamma > lower:
            lower, best = gamma, it
            on_bound(lower, best)
        # Rounding, not the problem, is at work when many steps gain next to nothing.
        history.append(lower)
        if len(history) > _PATIENCE and lower - history[-_PATIENCE] < _LEAST_GAIN * (incumbent.loss - lower):
            break
        # u is the moment vector of a relaxed solution: its rank-one part is a candidate.
        if lifted.size <= _CANDIDATES_EVERY_STEP or step % 4 == 3:
            _offer(incumbent, it, point, rng)
        if incumbent.loss - lower <= tolerance:
            status = "closed"
            break
        move, decrement = newton_step(point, check)
        length = line_search(point, move)
        if length == 0:
            break
        S = tuple(s + length * y for s, y in zip(it.S, move.S, strict=True))
        it = replace(it, M=it.M + length * move.M, S=S)
        # Near the centre for this mu: give up where the whole path leads to no closed node, else lower mu.
        if decrement <= _CENTRED and length > _FULL_STEP:
            _offer(incumbent, it, point, rng)
            centred.append(it)
            if lower + _REACH * it.mu * order < incumbent.loss - tolerance:
                if decrement <= 1:
                    status = "loose"
                    break
                continue
            if it.mu <= floor:
                break
            it = replace(it, mu=it.mu / _SHRINK)
    # A child starts from a centre far enough from the boundary that its new cone leaves room.
    gap = incumbent.loss - lower
    warm = min((c for c in centred if c.mu * order >= _WARM * gap), key=lambda c: c.mu, default=centred[0])
    return NodeResult(lower, best, warm, _branching_cone(scaling, best, avoid), status)


def newton_step(point: Point, check: Callable[[], None]) -> tuple[Move, float]:
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


def advance(scaling: Scaling, cones: tuple[Array, ...], it: Iterate) -> tuple[Iterate, Point]:
    """Return the iterate in fresh coordinates, factored."""
    it, inverse = _rescale(scaling, cones, it, inverse_from(cholesky(it.M)))
    q = _vector(scaling.lifted.q, it)
    scaled = tuple(symmetric(it.Kb @ C @ it.Kb.T) for C in cones)
    return it, evaluate(it.M, inverse, q, scaled, it.S, it.mu, scaling.lifted.dimension, it.mask)


def _vector(q: Array, it: Iterate) -> Array:
    scaled = np.asarray(it.Kb @ q.reshape(it.Kb.shape[0], -1) @ it.Ka.T).reshape(-1)
    return scaled if it.mask is None else scaled * it.mask.M


def _offer(incumbent: Incumbent, it: Iterate, point: Point, rng: np.random.Generator) -> None:
    """Offer the rank-one parts of ``u`` and, when ``u`` is far from rank one, of a Gaussian sample."""
    D = it.Kb.shape[0]
    b, a, ratio = rank_one(point.u, D)
    incumbent.offer(it.Kb.T @ b, it.Ka.T @ a)
    if ratio > _NOT_RANK_ONE:
        noise = sla.solve_triangular(point.factor, rng.standard_normal(point.u.size), lower=True, trans=1)
        b, a, _ = rank_one(point.u + np.sqrt(it.mu) * noise, D)
        incumbent.offer(it.Kb.T @ b, it.Ka.T @ a)


def _branching_cone(scaling: Scaling, it: Iterate, avoid: tuple[Array, ...] = ()) -> Array:
    """Return the ``C``, of rank two and indefinite, that cuts most off the moments on both sides.

    With ``Y = u u^T + mu M^{-1}``, the child ``C`` demands ``<C, Y> >= 0``: the score is the lesser of
    the sums of positive and of negative eigenvalues of ``<C, Y>``, in the first coordinates.
    """
    # The relaxed second moment of b (x) a, in the first coordinates, where lengths of b compare.
    D = it.Kb.shape[0]
    inverse = inverse_from(cholesky(it.M))
    u = inverse @ _vector(scaling.lifted.q, it)
    back = inverse_of(scaling.Kb)
    moment = congruence(np.outer(u, u) + it.mu * inverse, back.T @ it.Kb.T, inverse_of(scaling.Ka).T @ it.Ka.T)
    blocks = moment.reshape(D, len(it.Ka), D, -1).transpose(0, 2, 1, 3)
    _, vectors = np.linalg.eigh(np.trace(blocks, axis1=2, axis2=3))
    axes = scaling.Kb / np.linalg.norm(scaling.Kb, axis=0)
    near = [v / np.linalg.norm(v) for v in (back.T @ b for b in avoid)]
    # Try planes spanned by its eigenvectors for b, and by the task's own coordinates.
    best, chosen = -1.0, np.eye(D)
    for basis in (vectors[:, ::-1], axes):
        for i, k in zip(*np.triu_indices(D, 1), strict=True):
            e, f = basis[:, i], basis[:, k]
            for C in (np.outer(e, f) + np.outer(f, e), np.outer(e, e) - np.outer(f, f)):
                C = C / np.linalg.norm(C)
                if any(abs(v @ C @ v) < _MARGIN for v in near):
                    continue
                values = np.linalg.eigvalsh(np.tensordot(C, blocks, axes=2))
                score = float(min(values[values > 0].sum(), -values[values < 0].sum()))
                if score > best * (1 + 1e-6):
                    best, chosen = score, C
    C = symmetric(back @ chosen @ back.T)
    return np.asarray(C / np.abs(C).max())
