"""Best-first branch and bound on ``b``: the tree of a certificate."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from markov_icl.features import Array
from markov_icl.recovery.certificate.certificate import Leaf
from markov_icl.recovery.certificate.lift import Lift
from markov_icl.recovery.solver.barrier import Incumbent, NodeResult, TimeUp, solve_node
from markov_icl.recovery.solver.iterate import Iterate, add_cone, start

__all__ = ["Node", "Progress", "Search"]

Progress = Callable[[float, float, int, float], None]
_RANDOM_STARTS = 8
_AIM = 0.9


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
        if time.monotonic() > self.deadline:
            raise TimeUp

    def run(self) -> None:
        """Search until the gap is closed, the time or the nodes are used up, or Ctrl-C."""
        try:
            self.check()
            for _ in range(_RANDOM_STARTS):
                b = self.rng.standard_normal(self.lifted.dimension)
                self.incumbent.offer(b, np.zeros(self.lifted.size // self.lifted.dimension))
            self._begin_run()
            while self.incumbent.loss - self.lower > _AIM * self.tolerance and self.nodes < self.most_nodes:
                self._branch()
        except (TimeUp, KeyboardInterrupt):
            return

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
        leaf = fallback.leaf
        cones = self._signed(leaf.path)
        reached: list[tuple[float, Iterate]] = []
        others = min(waiting, min((entry[0] for entry in self.heap), default=np.inf))

        def on_bound(lower: float, iterate: Iterate) -> None:
            reached[:] = [(lower, iterate)]
            if self.progress is not None:
                shown = min(others, max(lower, fallback.lower))
                self.progress(shown, self.incumbent.loss, self.nodes, time.monotonic() - self.began)

        result: NodeResult | None = None
        try:
            result = solve_node(
                self.scaling,
                cones,
                first,
                self.incumbent,
                _AIM * self.tolerance,
                self.rng,
                on_bound,
                self.check,
                self._avoid(leaf.path),
            )
        finally:
            node = fallback
            if reached and reached[0][0] > fallback.lower:
                lower, best = reached[0]
                node = Node(self.leaf_of(leaf.path, best), lower, first, None)
            if result is not None:
                node = replace(node, warm=result.warm, split=result.split)
            self._push(node)

    def solve_conic(self) -> None:
        """Solve the first level by a general conic solver."""
        from markov_icl.recovery.solver.conic import first_level

        self.incumbent.offer(np.ones(self.lifted.dimension), np.zeros(len(self.first.Ka)))
        for _ in range(_RANDOM_STARTS):
            b = self.rng.standard_normal(self.lifted.dimension)
            self.incumbent.offer(b, np.zeros(len(self.first.Ka)))
        _, _, root = heapq.heappop(self.heap)
        Z, lower = first_level(self.lifted)
        self._push(replace(root, leaf=replace(root.leaf, Z=Z), lower=lower))

    def ordered(self) -> list[Node]:
        """Return the tree's leaves in the order of their paths."""
        return sorted((entry[2] for entry in self.heap), key=lambda node: node.leaf.path)
