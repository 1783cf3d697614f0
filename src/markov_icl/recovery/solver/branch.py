"""Best-first branch and bound on ``b``: the tree of a certificate."""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple

import numpy as np

from markov_icl.features import Array
from markov_icl.progress import Tell
from markov_icl.recovery.certificate.certificate import Leaf
from markov_icl.recovery.certificate.lift import Lift
from markov_icl.recovery.solver.barrier import Incumbent, NodeResult, TimeUp, solve_node
from markov_icl.recovery.solver.iterate import Iterate, add_cone, start

__all__ = ["Bound", "Node", "Search", "SearchOptions"]

_RANDOM_STARTS = 8
"""Before the first node. 4 or 16: the same Newton steps on the nine quadratics of barrier.py; nodes offer better."""
_AIM = 0.9
"""Share of the tolerance at which the search stops; what rounding takes off a bound in its proof is the rest."""


class Bound(NamedTuple):
    """What a search had proved, but for rounding, and found after so many seconds."""

    seconds: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class SearchOptions:
    """How a search runs.

    Attributes:
        tolerance: gap to reach, in squared states.
        began: seconds of ``time.monotonic()``.
        deadline: the same clock, when to stop; infinity for never.
        tell: called at every better bound.
        seed: of the random starts and of the rounding.
        most_nodes: nodes of the tree.
        trace: every better bound is appended.
    """

    tolerance: float
    began: float
    deadline: float
    tell: Tell
    seed: int
    most_nodes: int
    trace: list[Bound]


@dataclass(frozen=True, eq=False)
class Node:
    """A leaf of the tree so far: its best proof and what its children start from."""

    leaf: Leaf
    lower: float
    warm: Iterate
    split: Array | None
    ready: bool = True


class Search:
    """Best-first branch and bound on ``b``."""

    def __init__(self, lifted: Lift, options: SearchOptions) -> None:
        self.lifted, self.options = lifted, options
        self.rng = np.random.default_rng(options.seed)
        self.cones: list[Array] = []
        self.heap: list[tuple[float, int, Node]] = []
        self.order = itertools.count()
        self.nodes = 1
        D, m = lifted.dimension, lifted.size // lifted.dimension
        self.incumbent = Incumbent(lifted, np.eye(D)[0], np.zeros(m), lifted.y2)
        self._begin()

    def _begin(self) -> None:
        """Set the scaling and a first iterate and put the root into the heap."""
        self.scaling, self.first = start(self.lifted)
        Z, _ = self.first.unscaled(self.scaling)
        self.safe = Leaf((), Z, ())
        self._push(Node(self.safe, -np.inf, self.first, None))

    def _push(self, node: Node) -> None:
        heapq.heappush(self.heap, (node.lower, next(self.order), node))

    @property
    def lower(self) -> float:
        """Return the bound of the weakest leaf; floating point, not yet verified."""
        return self.heap[0][0]

    def check(self) -> None:
        """Raise when the time is up."""
        if time.monotonic() >= self.options.deadline:
            raise TimeUp

    def run(self) -> None:
        """Search until the gap is closed, the time or the nodes are used up, or Ctrl-C."""
        try:
            self._offer_random()
            self._begin_run()
            aim, most = _AIM * self.options.tolerance, self.options.most_nodes
            while self.incumbent.loss - self.lower > aim and self.nodes < most:
                self._branch()
        except (TimeUp, KeyboardInterrupt):
            return

    def _offer_random(self) -> None:
        """Polish a few random starts: without an upper bound no node could be closed."""
        for _ in range(_RANDOM_STARTS):
            self.check()
            b = self.rng.standard_normal(self.lifted.dimension)
            self.incumbent.offer(b, np.zeros(self.lifted.size // self.lifted.dimension))

    def _begin_run(self) -> None:
        """Solve the root."""
        self._solve(heapq.heappop(self.heap)[2], self.first)

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
            path, old = (*parent.leaf.path, (cone, sign)), parent.leaf
            leaf = Leaf(path, old.Z, (*old.S, zero), old.null)
            children.append(Node(leaf, parent.lower, parent.warm, None, parent.ready))
        self.nodes += 2
        for done, child in enumerate(children):
            try:
                self._solve_child(child, parent.lower if done == 0 else np.inf)
            except (TimeUp, KeyboardInterrupt):
                for rest in children[done + 1 :]:
                    self._push(rest)
                raise

    def _solve_child(self, child: Node, waiting: float) -> None:
        """Solve a child from its parent's iterate."""
        try:
            first = add_cone(child.warm, self._signed(child.leaf.path))
        except np.linalg.LinAlgError:
            self._push(child)
            return
        self._solve(child, first, waiting)

    def _signed(self, path: tuple[tuple[int, int], ...]) -> tuple[Array, ...]:
        """Return the signed cones that a node's iterates have an ``S`` for."""
        return tuple(sign * self.cones[cone] for cone, sign in path)

    def _avoid(self, path: tuple[tuple[int, int], ...]) -> tuple[Array, ...]:
        """Return vectors that the next cone's boundary has to keep away from."""
        del path
        return ()

    def leaf_of(self, path: tuple[tuple[int, int], ...], iterate: Iterate) -> Leaf:
        """Return the leaf of an iterate."""
        return Leaf(path, *iterate.unscaled(self.scaling))

    def _solve(self, fallback: Node, first: Iterate, waiting: float = np.inf) -> None:
        """Solve one node and put it into the heap, whatever happens meanwhile.

        Args:
            fallback: the node with its parent's bound.
            first: a strictly feasible iterate.
            waiting: the least bound among nodes that are in neither the heap nor this call.
        """
        # The others' least bound is what the whole tree proves as long as this node is not the weakest.
        leaf = fallback.leaf
        cones = self._signed(leaf.path)
        reached: list[tuple[float, Iterate]] = []
        others = min(waiting, min((entry[0] for entry in self.heap), default=np.inf))

        def on_bound(lower: float, iterate: Iterate) -> None:
            reached[:] = [(lower, iterate)]
            self._tell(min(others, max(lower, fallback.lower)))

        result: NodeResult | None = None
        try:
            result = solve_node(
                self.scaling,
                cones,
                first,
                self.incumbent,
                _AIM * self.options.tolerance,
                self.rng,
                on_bound,
                self.check,
                self._avoid(leaf.path),
            )
        finally:
            # Also when time is up: the best bound so far goes into the tree, or its parent's.
            node = fallback
            if reached and reached[0][0] > fallback.lower:
                lower, best = reached[0]
                node = Node(self.leaf_of(leaf.path, best), lower, first, None)
            if result is not None:
                node = replace(node, warm=result.warm, split=result.split)
            self._push(node)

    def _tell(self, lower: float) -> None:
        """Tell a better bound; the share is that of the decades from ``y2`` down to the tolerance."""
        upper = self.incumbent.loss
        whole, left = (max(x / self.options.tolerance, 1.0) for x in (self.lifted.y2, upper - lower))
        share = 1.0 if whole == 1 else min(max(1 - log(left) / log(whole), 0.0), 1.0)
        self.options.trace.append(Bound(time.monotonic() - self.options.began, lower, upper))
        self.options.tell(share, f"gap {upper - lower:.1e}, {self.nodes} node{'s' * (self.nodes > 1)}")

    def solve_conic(self) -> None:
        """Solve the first level by a general conic solver, as far as it gets in the time."""
        from markov_icl.recovery.solver.conic import first_level, setup_seconds

        try:
            self.incumbent.offer(np.ones(self.lifted.dimension), np.zeros(len(self.first.Ka)))
            self._offer_random()
            left = self.options.deadline - time.monotonic()
            if left <= 2 * setup_seconds(self.lifted.size):
                return
            Z, lower = first_level(self.lifted, left)
        except (TimeUp, KeyboardInterrupt):
            return
        _, _, root = heapq.heappop(self.heap)
        self._push(replace(root, leaf=replace(root.leaf, Z=Z), lower=lower))

    def ordered(self) -> list[Node]:
        """Return the tree's leaves in the order of their paths."""
        return sorted((entry[2] for entry in self.heap), key=lambda node: node.leaf.path)
