"""The best one-layer loss with a proof: sums-of-squares bounds, closed by branching on ``b``."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from markov_icl.moments.compute import DEFAULT_MEMORY_GB
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.barrier import (
    Incumbent,
    Iterate,
    NodeResult,
    TimeUp,
    add_cone,
    solve_node,
    start,
)
from markov_icl.recovery.certificate import Certificate, Leaf
from markov_icl.recovery.facial import face_bound
from markov_icl.recovery.floating import DATA_ERROR, floating_bound
from markov_icl.recovery.lift import Array, Lift, join, lift, unpack
from markov_icl.recovery.problem import Problem, pose
from markov_icl.recovery.verify import Verified, verify

__all__ = ["Progress", "certify", "require_memory"]

Progress = Callable[[float, float, int, float], None]
_ONE_THREAD_UP_TO = 1500
_RANDOM_STARTS = 8
_MATRICES = 30
"""Matrices of order ``N`` alive at once; measured 29 at ``d = 12``."""
_AIM = 0.9


def certify(
    problem: Problem,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    task: Mapping[str, Any] | None = None,
    memory: float = DEFAULT_MEMORY_GB,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        problem: a task, or the quadratic ``f~`` as moments; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, in squared states.
        time_limit: seconds; None for none.
        progress: called with ``(lower, upper, nodes, seconds)`` at every better bound; not yet verified.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
        task: the task of given moments as plain data, kept in the certificate in place of the moments.

        memory: refuse a proof that needs more, in gigabytes.

    Returns:
        A verified certificate.

    Raises:
        ValueError: if the arguments do not make sense or ``H`` is not positive semidefinite.
    """
    if not tolerance > 0:
        raise ValueError(f"expected a positive tolerance; got {tolerance}")
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"expected a time limit >= 0; got {time_limit}")
    if method not in ("barrier", "clarabel"):
        raise ValueError(f"expected method 'barrier' or 'clarabel'; got {method!r}")
    began = time.monotonic()
    require_memory(problem.blocks * problem.dimension**2, memory)
    moments, header = pose(problem)
    task = header if task is None else task
    dense = moments.to_float() if isinstance(moments, RationalMoments) else moments
    lifted = lift(dense)
    least = float(np.linalg.eigvalsh(dense.H)[0])
    if least < -1e-10 * float(np.trace(dense.H)):
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    with _threads(lifted.size):
        try:
            search = _Search(lifted, tolerance, began, time_limit, progress, seed, most_nodes)
        except np.linalg.LinAlgError:
            return _singular(lifted, moments, dense, tolerance, began, time_limit, seed, task)
        if method == "barrier":
            search.run()
        else:
            search.solve_conic()
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        certificate = search.certificate(dense, task)
        return _verified(certificate, search, moments, began)


def require_memory(size: int, memory: float) -> None:
    """Refuse a proof with matrices of order ``size = J D^2`` that would not fit.

    Raises:
        ValueError: with the memory that it needs.
    """
    needed = _MATRICES * 8 * size**2 / 1e9
    if needed > memory:
        raise ValueError(
            f"expected a proof within {memory:g} GB; got matrices of order {size}, about {needed:.3g} GB in all "
            "(use a shorter length, or allow more memory)"
        )


def _threads(size: int) -> AbstractContextManager[object]:
    """Small matrices are slower with threads, hundreds of times so on a machine that is shared."""
    return threadpool_limits(limits=1, user_api="blas") if size <= _ONE_THREAD_UP_TO else nullcontext()


@dataclass(frozen=True, eq=False)
class _Node:
    """A leaf of the tree so far: its best proof and what its children start from."""

    leaf: Leaf
    lower: float
    warm: Iterate
    split: Array | None


class _Search:
    """Best-first branch and bound on ``b``."""

    def __init__(
        self,
        lifted: Lift,
        tolerance: float,
        began: float,
        time_limit: float | None,
        progress: Progress | None,
        seed: int,
        most_nodes: int,
    ) -> None:
        self.lifted, self.tolerance, self.began = lifted, tolerance, began
        self.deadline = np.inf if time_limit is None else began + time_limit
        self.progress, self.most_nodes = progress, most_nodes
        self.rng = np.random.default_rng(seed)
        self.cones: list[Array] = []
        self.heap: list[tuple[float, int, _Node]] = []
        self.order = itertools.count()
        self.nodes = 1
        self.scaling, self.first = start(lifted)
        D, m = lifted.dimension, lifted.size // lifted.dimension
        self.incumbent = Incumbent(lifted, np.eye(D)[0], np.zeros(m), lifted.y2)
        Z, _ = self.first.unscaled(self.scaling)
        self.safe = Z
        self._push(_Node(Leaf((), Z, ()), -np.inf, self.first, None))

    def _push(self, node: _Node) -> None:
        heapq.heappush(self.heap, (node.lower, next(self.order), node))

    @property
    def lower(self) -> float:
        """Return the bound of the weakest leaf; floating point, not yet verified."""
        return self.heap[0][0]

    def check(self) -> None:
        """Raise when the time is up."""
        if time.monotonic() > self.deadline:
            raise TimeUp

    def run(self) -> None:
        """Search until the gap is closed, the time or the nodes are used up, or Ctrl-C."""
        try:
            self.check()
            for _ in range(_RANDOM_STARTS):
                b = self.rng.standard_normal(self.lifted.dimension)
                self.incumbent.offer(b, np.zeros(self.lifted.size // self.lifted.dimension))
            _, _, root = heapq.heappop(self.heap)
            self._solve(root, self.first)
            while self.incumbent.loss - self.lower > _AIM * self.tolerance and self.nodes < self.most_nodes:
                self._branch()
        except (TimeUp, KeyboardInterrupt):
            return

    def _branch(self) -> None:
        """Split the weakest leaf into ``C`` and ``-C``; both are in the tree before either is solved."""
        _, _, parent = heapq.heappop(self.heap)
        if parent.split is None:
            self._push(parent)
            raise TimeUp
        cone = len(self.cones)
        self.cones.append(parent.split)
        zero = np.zeros_like(parent.warm.Ka)
        children = []
        for sign in (1, -1):
            leaf = Leaf((*parent.leaf.path, (cone, sign)), parent.leaf.Z, (*parent.leaf.S, zero))
            children.append(_Node(leaf, parent.lower, parent.warm, None))
        self.nodes += 2
        for done, child in enumerate(children):
            signed = tuple(s * self.cones[c] for c, s in child.leaf.path)
            try:
                first = add_cone(child.warm, signed)
                self._solve(child, first, waiting=parent.lower if done == 0 else np.inf)
            except (TimeUp, KeyboardInterrupt):
                for rest in children[done + 1 :]:
                    self._push(rest)
                raise

    def _solve(self, fallback: _Node, first: Iterate, waiting: float = np.inf) -> None:
        """Solve one node and put it into the heap, whatever happens meanwhile.

        Args:
            fallback: the node with its parent's bound.
            first: a strictly feasible iterate.
            waiting: the least bound among nodes that are in neither the heap nor this call.
        """
        leaf = fallback.leaf
        cones = tuple(s * self.cones[c] for c, s in leaf.path)
        reached: list[tuple[float, Iterate]] = []
        others = min(waiting, min((entry[0] for entry in self.heap), default=np.inf))

        def on_bound(lower: float, iterate: Iterate) -> None:
            reached[:] = [(lower, iterate)]
            if self.progress is not None:
                shown = min(others, max(lower, fallback.lower))
                self.progress(shown, self.incumbent.loss, self.nodes, time.monotonic() - self.began)

        result: NodeResult | None = None
        try:
            aim = _AIM * self.tolerance
            result = solve_node(self.scaling, cones, first, self.incumbent, aim, self.rng, on_bound, self.check)
        finally:
            node = fallback
            if reached and reached[0][0] > fallback.lower:
                lower, best = reached[0]
                Z, S = best.unscaled(self.scaling)
                node = _Node(Leaf(leaf.path, Z, S), lower, first, None)
            if result is not None:
                node = replace(node, warm=result.warm, split=result.split)
            self._push(node)

    def solve_conic(self) -> None:
        """Solve the first level by a general conic solver."""
        from markov_icl.recovery.conic import first_level

        self.incumbent.offer(np.ones(self.lifted.dimension), np.zeros(len(self.first.Ka)))
        for _ in range(_RANDOM_STARTS):
            b = self.rng.standard_normal(self.lifted.dimension)
            self.incumbent.offer(b, np.zeros(len(self.first.Ka)))
        _, _, root = heapq.heappop(self.heap)
        Z, lower = first_level(self.lifted)
        self._push(replace(root, leaf=replace(root.leaf, Z=Z), lower=lower))

    def ordered(self) -> list[_Node]:
        """Return the tree's leaves in the order of their paths."""
        return sorted((entry[2] for entry in self.heap), key=lambda node: node.leaf.path)

    def certificate(self, dense: Moments, task: Mapping[str, Any] | None) -> Certificate:
        """Return the tree as a certificate that nobody has verified yet."""
        D = self.lifted.dimension
        leaves = tuple(node.leaf for node in self.ordered())
        b, A = self.incumbent.b, join(self.incumbent.a, D)
        cones = np.stack(self.cones) if self.cones else np.zeros((0, D, D))
        return Certificate(
            upper=self.incumbent.loss,
            lower=self.lower,
            status="bound",
            verified=None,
            nodes=self.nodes,
            b=b,
            A=A,
            seconds=0.0,
            tolerance=self.tolerance,
            leaves=leaves,
            cones=cones,
            task=task,
            moments=dense if task is None else None,
        )


def _verified(
    certificate: Certificate, search: _Search, moments: Moments | RationalMoments, began: float
) -> Certificate:
    """Return the certificate with the bound that :func:`verify` proves in place of the solver's."""
    try:
        verdict = verify(certificate, moments)
    except ValueError:
        leaves = tuple(_settled(search, node) for node in search.ordered())
        certificate = replace(certificate, leaves=leaves)
        verdict = verify(certificate, moments)
    return _stamped(certificate, verdict, began)


def _stamped(certificate: Certificate, verdict: Verified, began: float) -> Certificate:
    """Return the certificate with the proved bound."""
    status = "certified" if verdict.gap <= certificate.tolerance else "bound"
    return replace(
        certificate,
        upper=verdict.upper,
        lower=verdict.lower,
        status=status,
        verified=verdict.proof,
        seconds=time.monotonic() - began,
    )


def _singular(
    lifted: Lift,
    moments: Moments | RationalMoments,
    dense: Moments,
    tolerance: float,
    began: float,
    time_limit: float | None,
    seed: int,
    task: Mapping[str, Any] | None,
) -> Certificate:
    """Return the first level's certificate for singular ``H``; there is no branching yet."""
    deadline = np.inf if time_limit is None else began + time_limit

    def check() -> None:
        if time.monotonic() > deadline:
            raise KeyboardInterrupt

    rng = np.random.default_rng(seed)
    D, m = lifted.dimension, lifted.size // lifted.dimension
    incumbent = Incumbent(lifted, np.eye(D)[0], np.zeros(m), lifted.y2)
    for _ in range(8 * _RANDOM_STARTS):
        incumbent.offer(rng.standard_normal(D), np.zeros(m), sweeps=30, steps=30)
    null, Z, lower = face_bound(lifted, lambda: incumbent.loss, 0.1 * tolerance, check)
    certificate = Certificate(
        upper=incumbent.loss,
        lower=lower,
        status="bound",
        verified=None,
        nodes=1,
        b=incumbent.b,
        A=join(incumbent.a, D),
        seconds=0.0,
        tolerance=tolerance,
        leaves=(Leaf((), Z, ()),),
        cones=np.zeros((0, D, D)),
        null=null,
        task=task,
        moments=dense if task is None else None,
    )
    return _stamped(certificate, verify(certificate, moments), began)


def _settled(search: _Search, node: _Node) -> Leaf:
    """Return the leaf mixed with a better conditioned iterate, as little as makes it provable.

    The loss is at most ``theta (gamma - gamma_anchor)``. The strictly feasible start is the last resort.
    """
    leaf = node.leaf
    anchor_Z, anchor_S = node.warm.unscaled(search.scaling)
    zeros = tuple(np.zeros_like(s) for s in leaf.S)
    anchor_S = (*anchor_S, *zeros[len(anchor_S) :])
    for theta in (0.0, *(10.0 ** (k / 2) for k in range(-24, 1))):
        Z = (1 - theta) * leaf.Z + theta * anchor_Z
        S = tuple((1 - theta) * s + theta * t for s, t in zip(leaf.S, anchor_S, strict=True))
        mixed = Leaf(leaf.path, Z, S)
        if _provable(search, mixed):
            return mixed
    last = Leaf(leaf.path, search.safe, zeros)
    if _provable(search, last):
        return last
    raise ValueError("expected H positive definite enough to prove a bound; got one that is not")


def _provable(search: _Search, leaf: Leaf) -> bool:
    lifted = search.lifted
    signed = [sign * search.cones[cone] for cone, sign in leaf.path]
    try:
        floating_bound(lifted, unpack(leaf.Z, lifted.blocks, lifted.dimension), signed, leaf.S, DATA_ERROR)
    except ValueError:
        return False
    return True
