"""Branch and bound for singular ``H``: one null direction of ``b`` a leaf, or none.

``M`` must vanish on the products ``b0 (x) a0`` of every null direction ``b0`` that a node's cones contain.
Where all of them are at the root, that leaves no better bound than ``f~*``. So nodes are first split until
at most one is left in each: with none ``M`` can be positive definite, with one it is so on the face. Cones
never have a null direction near their boundary.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.linalg as sla

from markov_icl.features import Array
from markov_icl.recovery.certificate.certificate import Leaf
from markov_icl.recovery.certificate.lift import Lift, packed_shape
from markov_icl.recovery.solver.barrier import TimeUp, advance, newton_step
from markov_icl.recovery.solver.branch import Node, Search, SearchOptions
from markov_icl.recovery.solver.iterate import (
    Iterate,
    Scaling,
    congruence,
    first_weight,
    inverse_of,
    scale,
    symmetric,
)
from markov_icl.recovery.solver.mask import Mask
from markov_icl.recovery.solver.newton import cholesky, line_search
from markov_icl.recovery.solver.null_products import NullDirection, exact_on_face, lifted_kernel, null_directions

__all__ = ["SingularSearch", "feasible"]

_MOST_DIRECTIONS_PER_SQUARE = 4
"""Null directions per ``D^2`` beyond which they count as infinitely many; a bias on two states has fewer than one."""
# Beside each constant: Newton steps on four singular quadratics (a certain start, a bias, two random ones with binary
# columns). As things are it is 1,590, and a gap of 8e-6 is left on the one that runs out of its 41 nodes.
_ROUND = 0.6
"""Cosine squared at which a cone about a null direction ends. 0.3: 1,271 and gap 2e-6; 0.9: 1,319 and gap 5e-6."""
_CENTRED, _ROOM, _DROP = 0.9, 1.1, 0.9
"""A shift is lowered at decrements below the first: to zero if this much of it fits, else by that share of what fits.
Decrement 0.45 or 1.8: gaps of 7e-3 and 1, so both too little and too much; room 1 or 2.2: 1,473 and 1,460;
share 0.45: 1,217, 0.99: 2,066."""
_FEASIBLE_STEPS = 200
"""At most; 100 and 400 change nothing."""
_PENALTY_STEPS = 45
"""Given up after so many. 22: 1,202 and the same gap, 90: 2,068 and gap 4e-6."""
_GROWTH, _INSIDE = 5.0, 1.5
"""The penalty's weight grows by this until so many times the load fit. 2.5: 1,534, 10: 1,924; 1.05: 1,639, 3: 1,623."""
_LEVEL = 0.1
"""First size of ``S`` and of the shift, relative to the mean eigenvalue of ``M``. 0.05: 1,794, 0.2: 1,791."""


class SingularSearch(Search):
    """Best-first branch and bound on ``b`` for singular ``H``.

    Args:
        lifted: the loss.
        options: how to run.
        exact: columns that span the kernel of ``H``, if they are known, ``[N_H, k]``.

    Raises:
        ValueError: if the loss has no lower bound.
    """

    def __init__(self, lifted: Lift, options: SearchOptions, exact: Array | None = None) -> None:
        self.kernel = lifted_kernel(lifted, exact)
        self.round: list[Array] = []
        self.directions: list[NullDirection] = []
        super().__init__(lifted, options)

    def _begin(self) -> None:
        """Put the root into the heap with the bound ``f~*``, which ``Z = 0`` proves on the kernel's complement."""
        lifted, D = self.lifted, self.lifted.dimension
        m = lifted.size // D
        self.first = Iterate(np.zeros_like(lifted.Q), np.eye(D), np.eye(m), (), first_weight(lifted))
        self.safe = Leaf((), np.zeros(packed_shape(lifted.blocks, D)), (), self.kernel.columns)
        self._push(Node(self.safe, self.kernel.floor, self.first, None, ready=False))

    def _inside(self, path: tuple[tuple[int, int], ...]) -> list[NullDirection]:
        """Return the null directions in the region of a path."""
        return self._within(path[self._first_used(path) :])

    def _within(self, path: tuple[tuple[int, int], ...]) -> list[NullDirection]:
        kept = self.directions
        for cone, sign in path:
            kept = [x for x in kept if sign * float(x.b @ self.cones[cone] @ x.b) >= 0]
        return kept

    def _first_used(self, path: tuple[tuple[int, int], ...]) -> int:
        """Return the place of the first cone that matters: a round one around one null direction, or 0.

        The cones before it only leave out other null directions; without them the bound is for more ``b``.
        """
        for place, (cone, sign) in enumerate(path):
            about = any(self.cones[cone] is C for C in self.round)
            if sign == 1 and about and len(self._within(path[place : place + 1])) == 1:
                return place
        return 0

    def _signed(self, path: tuple[tuple[int, int], ...]) -> tuple[Array, ...]:
        return super()._signed(path[self._first_used(path) :])

    def _begin_run(self) -> None:
        """Find the null directions; solve the root if it has at most one.

        Where a partial trace of ``Q`` is singular, or null directions seem to be infinitely many, the tree stays a
        root with the bound ``f~*``: no leaf would have finitely many of them.
        """
        try:
            self.scaling = scale(self.lifted)
        except np.linalg.LinAlgError:
            return
        self.directions = null_directions(self.lifted, self.kernel, self.check)
        if len(self.directions) <= _MOST_DIRECTIONS_PER_SQUARE * self.lifted.dimension**2:
            self._try(heapq.heappop(self.heap)[2])

    def _avoid(self, path: tuple[tuple[int, int], ...]) -> tuple[Array, ...]:
        return tuple(x.b for x in self._inside(path))

    def _try(self, node: Node, waiting: float = np.inf) -> None:
        """Solve a node that has no iterate yet if it has at most one null direction; push it anyhow."""
        path = node.leaf.path
        inside = self._inside(path)
        alone = len(inside) == 1 and (not path or path[-1][1] == 1)
        first = None
        try:
            if not inside or alone:
                null = inside[0] if inside else None
                first = feasible(self.scaling, self._signed(path), null, self.check)
        except np.linalg.LinAlgError:
            first = None
        except (TimeUp, KeyboardInterrupt):
            self._push(node)
            raise
        if first is None:
            self._push(replace(node, split=self._separating(inside)))
            return
        self._solve(replace(node, ready=True), replace(first, mu=self.first.mu), waiting)

    def _solve_child(self, child: Node, waiting: float) -> None:
        if child.ready:
            super()._solve_child(child, waiting)
        else:
            self._try(child, waiting)

    def _separating(self, inside: list[NullDirection]) -> Array:
        C = separating(self.scaling, inside, self.rng)
        if inside:
            self.round.append(C)
        return C

    def leaf_of(self, path: tuple[tuple[int, int], ...], iterate: Iterate) -> Leaf:
        """Return the leaf of an iterate, exact on its face."""
        Z, S = iterate.unscaled(self.scaling)
        S = (*(np.zeros_like(iterate.Ka) for _ in range(self._first_used(path))), *S)
        if iterate.mask is None:
            return Leaf(path, Z, S)
        null = self._inside(path)[0]
        Z, S = exact_on_face(Z, S, null, self.lifted.blocks)
        return Leaf(path, Z, S, null.columns)


def feasible(
    scaling: Scaling, cones: tuple[Array, ...], null: NullDirection | None, check: Callable[[], None]
) -> Iterate | None:
    """Return a strictly feasible iterate on the face of ``null``, or None if none is found."""
    if null is None:
        return _by_penalty(scaling, cones, check)
    return _by_shift(scaling, cones, null, check)


def _by_penalty(scaling: Scaling, cones: tuple[Array, ...], check: Callable[[], None]) -> Iterate | None:
    """Return a strictly feasible iterate where no null direction is inside, or None.

    A further cone ``-I``, in the first coordinates, makes every point feasible; the trace of its ``S`` gets a
    weight that grows until ``M`` is positive definite without it.
    """
    # q = 0: only feasibility is wanted. The further cone comes last, so that dropping it is a slice.
    extra = -inverse_of(scaling.Kb) @ inverse_of(scaling.Kb).T
    every = (*cones, symmetric(extra))
    blank = replace(scaling, lifted=replace(scaling.lifted, q=np.zeros(scaling.lifted.size)))
    it, _, shift = _shifted(scaling, cones, None)
    it = replace(it, S=(*it.S, shift * np.eye(len(it.Ka))))
    weight = 1 / shift
    for _ in range(_PENALTY_STEPS):
        try:
            it, point = advance(blank, every, it)
            back = scaling.Ka @ inverse_of(it.Ka)
            point = replace(point, tilt=weight * symmetric(back.T @ back))
            move, decrement = newton_step(point, check)
        except np.linalg.LinAlgError:
            return None
        length = line_search(point, move)
        S = tuple(s + length * y for s, y in zip(it.S, move.S, strict=True))
        it = replace(it, M=it.M + length * move.M, S=S)
        # Without the further cone M gains its load; half as much again must fit, so that the point is well inside.
        load = np.kron(symmetric(it.Kb @ every[-1] @ it.Kb.T), it.S[-1])
        try:
            cholesky(it.M + _INSIDE * load)
            return replace(it, M=symmetric(it.M + load), S=it.S[:-1])
        except np.linalg.LinAlgError:
            weight *= _GROWTH if decrement < 1 else 1.0
    return None


def _by_shift(
    scaling: Scaling, cones: tuple[Array, ...], null: NullDirection, check: Callable[[], None]
) -> Iterate | None:
    """Return a strictly feasible iterate on the face of ``null``, or None.

    ``M + shift R`` is centred by Newton's method and the shift lowered by most of what keeps it positive
    definite; ``R`` is the identity on the face in the first coordinates, which ``Gamma`` leaves alone.

    Args:
        scaling: the problem.
        cones: the ``C_c`` on the path.
        null: the null direction in the region.
        check: called often; may raise.
    """
    it, R, shift = _shifted(scaling, cones, null)
    blank = replace(scaling.lifted, q=np.zeros(scaling.lifted.size))
    for _ in range(_FEASIBLE_STEPS):
        # Newton's method on log det alone centres M + shift R.
        loaded = replace(scaling, lifted=replace(blank, Q=blank.Q + shift * R), tied=scaling.tied + shift * R)
        try:
            it, point = advance(loaded, cones, it)
            move, decrement = newton_step(point, check)
        except np.linalg.LinAlgError:
            return None
        length = line_search(point, move)
        M = it.M + length * move.M
        S = tuple(s + length * y for s, y in zip(it.S, move.S, strict=True))
        # How much of R can go before M is singular: nearly all of that, once the point is centred.
        turned = congruence(R, it.Kb, it.Ka)
        keep = slice(None) if it.mask is None else it.mask.M
        room = 1 / float(sla.eigh(turned[keep][:, keep], M[keep][:, keep], eigvals_only=True)[-1])
        drop = shift if room > _ROOM * shift else _DROP * room * float(decrement < _CENTRED)
        if it.mask is not None:
            turned = it.mask.bare_M(turned)
        it, shift = replace(it, M=symmetric(M - drop * turned), S=S), shift - drop
        if shift == 0:
            return it
    return None


def _shifted(scaling: Scaling, cones: tuple[Array, ...], null: NullDirection | None) -> tuple[Iterate, Array, float]:
    """Return a first point, ``R`` in original coordinates and a shift that makes the point feasible."""
    # On a face the coordinates are turned so that its null direction comes last.
    D, m = scaling.lifted.dimension, len(scaling.Ka)
    Kb, Ka, mask = scaling.Kb, scaling.Ka, None
    if null is not None:
        Kb, Ka = _last(Kb, null.b[None]), _last(Ka, null.a)
        mask = Mask.last(D, m, len(null.a))
    M = congruence(scaling.lifted.Q, Kb, Ka)
    level = float(np.trace(M)) / len(M)
    # S small against M, then as much of R as makes M positive definite.
    blocks = []
    for C in cones:
        C = symmetric(Kb @ C @ Kb.T)
        S = _LEVEL * level / len(cones) / float(np.abs(np.linalg.eigvalsh(C)).max()) * np.eye(m)
        blocks.append(S if mask is None else mask.pad_S(S))
        M = M - np.kron(C, S if mask is None else S * mask.Y)
    R = np.eye(D * m) if mask is None else mask.bare_M(np.eye(D * m))
    shift = _LEVEL * level + max(0.0, -float(np.linalg.eigvalsh(M)[0]))
    M = M + shift * R
    M = symmetric(M if mask is None else mask.pad_M(M))
    original = congruence(R, inverse_of(Kb), inverse_of(Ka))
    return Iterate(M, Kb, Ka, tuple(blocks), 1.0, mask), original, shift


def _last(K: Array, rows: Array) -> Array:
    """Return ``R K``, ``R`` orthogonal, whose last rows span ``rows``, so that those come last in ``K^{-T}``."""
    k = len(rows)
    turned = np.linalg.solve(K.T, rows.T)
    basis = np.linalg.qr(np.hstack([turned, np.eye(len(K))]))[0][:, : len(K)]
    return np.asarray(np.vstack([basis[:, k:].T, basis[:, :k].T]) @ K)


def separating(scaling: Scaling, inside: list[NullDirection], rng: np.random.Generator) -> Array:
    """Return a cone to split a node that cannot be solved yet: round about a null direction, else at random."""
    back = inverse_of(scaling.Kb)
    D = len(back)
    if inside:
        unit = back.T @ inside[0].b
        unit /= np.linalg.norm(unit)
        chosen = np.outer(unit, unit) - _ROUND * np.eye(D)
    else:
        e, f = rng.standard_normal((2, D))
        chosen = np.outer(e, f) + np.outer(f, e)
    C = symmetric(back @ chosen @ back.T)
    return np.asarray(C / np.abs(C).max())
