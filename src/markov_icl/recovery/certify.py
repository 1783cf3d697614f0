"""The best one-layer loss with a proof: bounds from below by sums of squares, closed by branching on ``b``."""

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

from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.barrier import (
    Incumbent,
    Iterate,
    NodeResult,
    Scaling,
    TimeUp,
    add_cone,
    solve_node,
    start,
)
from markov_icl.recovery.certificate import Certificate, Leaf
from markov_icl.recovery.floating import DATA_ERROR, floating_bound
from markov_icl.recovery.lift import Array, Lift, join, lift, unpack
from markov_icl.recovery.verify import verify

__all__ = ["Progress", "certify"]

Progress = Callable[[float, float, int, float], None]
_ONE_THREAD_UP_TO = 1500
_RANDOM_STARTS = 8
_AIM = 0.9


def certify(
    moments: Moments | RationalMoments,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    task: Mapping[str, Any] | None = None,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        moments: the quadratic ``f~``; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, in squared states.
        time_limit: seconds; None for none.
        progress: called with ``(lower, upper, nodes, seconds)`` at every better bound; not yet verified.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
        task: the task as plain data, kept in the certificate in place of the moments.

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
    dense = moments.to_float() if isinstance(moments, RationalMoments) else moments
    lifted = lift(dense)
    least = float(np.linalg.eigvalsh(dense.H)[0])
    if least < -1e-10 * float(np.trace(dense.H)):
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    with _threads(lifted.size):
        search = _Search(lifted, tolerance, began, time_limit, progress, seed, most_nodes)
        if method == "barrier":
            search.run()
        else:
            search.solve_conic()
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        certificate = search.certificate(dense, task)
        return _verified(certificate, search, moments, began)


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
            self._solve(root, root.leaf, self.first)
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
                first = add_cone(self.scaling, child.warm, signed)
                self._solve(child, child.leaf, first)
            except (TimeUp, KeyboardInterrupt):
                for rest in children[done + 1 :]:
                    self._push(rest)
                raise

    def _solve(self, fallback: _Node, leaf: Leaf, first: Iterate) -> None:
        """Solve one node and put it into the heap, whatever happens meanwhile."""
        cones = tuple(s * self.cones[c] for c, s in leaf.path)
        reached: list[tuple[float, Iterate]] = []
        others = min((entry[0] for entry in self.heap), default=np.inf)

        def on_bound(lower: float, iterate: Iterate) -> None:
            reached[:] = [(lower, iterate)]
            if self.progress is not None:
                shown = min(others, max(lower, fallback.lower))
                self.progress(shown, self.incumbent.loss, self.nodes, time.monotonic() - self.began)

        result: NodeResult | None = None
        try:
            result = solve_node(
                self.scaling, cones, first, self.incumbent, _AIM * self.tolerance, self.rng, on_bound, self.check
            )
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
        from markov_icl.recovery.conic import first_level  # noqa: PLC0415

        self.incumbent.offer(np.ones(self.lifted.dimension), np.zeros(len(self.first.Ka)))
        for _ in range(_RANDOM_STARTS):
            b = self.rng.standard_normal(self.lifted.dimension)
            self.incumbent.offer(b, np.zeros(len(self.first.Ka)))
        _, _, root = heapq.heappop(self.heap)
        Z, lower = first_level(self.lifted)
        self._push(replace(root, leaf=replace(root.leaf, Z=Z), lower=lower))

    def certificate(self, dense: Moments, task: Mapping[str, Any] | None) -> Certificate:
        """Return the tree as a certificate that nobody has verified yet."""
        D = self.lifted.dimension
        entries = sorted(self.heap, key=lambda entry: entry[2].leaf.path)
        leaves = tuple(entry[2].leaf for entry in entries)
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
        leaves = tuple(_settled(search, leaf, certificate.cones) for leaf in certificate.leaves)
        certificate = replace(certificate, leaves=leaves)
        verdict = verify(certificate, moments)
    status = "certified" if verdict.gap <= certificate.tolerance else "bound"
    return replace(
        certificate,
        upper=verdict.upper,
        lower=verdict.lower,
        status=status,
        verified=verdict.proof,
        seconds=time.monotonic() - began,
    )


def _settled(search: _Search, leaf: Leaf, cones: Array) -> Leaf:
    """Return the leaf mixed with the strictly feasible start, as little as makes it provable.

    The loss is at most ``theta (gamma - gamma_start)``.
    """
    lifted = search.lifted
    signed = [sign * cones[cone] for cone, sign in leaf.path]
    for theta in (0.0, *(10.0**k for k in range(-12, 1))):
        Z = (1 - theta) * leaf.Z + theta * search.safe
        S = tuple((1 - theta) * (s + theta * (np.trace(s) / len(s)) * np.eye(len(s))) for s in leaf.S)
        if theta == 1:
            S = tuple(np.zeros_like(s) for s in leaf.S)
        try:
            floating_bound(lifted, unpack(Z, lifted.blocks, lifted.dimension), signed, S, DATA_ERROR)
        except ValueError:
            continue
        return Leaf(leaf.path, Z, S)
    raise ValueError("expected H positive definite enough to prove a bound; got one that is not")
