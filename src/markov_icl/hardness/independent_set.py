"""From independence numbers of regular graphs to nearest recovery, and back.

For a ``k``-regular graph with ``v`` vertices and edges ``E`` the blocks are ``e_i e_k^T + e_k e_i^T`` for each edge
and ``e_i e_i^T`` twice for each vertex. With ``x_i = b_i^2 / |b|^2`` the squared Frobenius distance to the best ``A``
is ``2|E| + 2v - 2(k+2) + 2 x^T (A_G + I) x``, whose minimum over the simplex is ``1/alpha`` (Motzkin & Straus 1965).
So the distance decides ``alpha >= s`` at ``theta = 2|E| + 2v - 2(k+2) + 2/s``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float

from markov_icl.features import from_symmetric, vech
from markov_icl.moments.system import Moments
from markov_icl.recovery.certificate.certificate import Certificate
from markov_icl.recovery.search.fit import search
from markov_icl.recovery.search.quadratic import Separable
from markov_icl.recovery.solver.certify import certify

__all__ = [
    "GraphInstance",
    "IndependentSet",
    "first_level",
    "graph_blocks",
    "graph_instance",
    "independence_bound",
    "independence_number",
    "independent_set",
    "round_to_set",
]

_SEARCHED_UP_TO = 40
"""Vertices up to which the search of ``nearest`` runs on the blocks; beyond, on the formula in ``x``."""


@dataclass(frozen=True)
class GraphInstance:
    """A regular graph as an instance of nearest recovery.

    Attributes:
        vertices: ``v``.
        degree: ``k >= 1``.
        edges: pairs ``i < j``, sorted.
    """

    vertices: int
    degree: int
    edges: tuple[tuple[int, int], ...]

    @property
    def blocks(self) -> int:
        """Return ``d = |E| + 2v``."""
        return len(self.edges) + 2 * self.vertices

    @property
    def offset(self) -> int:
        """Return ``2|E| + 2v - 2(k+2)``, what every distance exceeds."""
        return 2 * len(self.edges) + 2 * self.vertices - 2 * (self.degree + 2)

    def theta(self, size: int) -> Fraction:
        """Return the threshold: the distance is at most ``theta(s)`` exactly when ``alpha >= s``."""
        return self.offset + Fraction(2, size)

    def distance(self, x: Any) -> Any:
        """Return the squared distance at ``b_i^2 = x_i``, ``sum x = 1``, in the arithmetic of ``x``."""
        return self.offset + 2 * (sum(v * v for v in x) + 2 * sum(x[i] * x[j] for i, j in self.edges))


def graph_instance(graph: Any) -> GraphInstance:
    """Read a networkx graph.

    Raises:
        ValueError: unless it is simple, undirected and regular of degree at least 1.
    """
    if graph.is_directed() or graph.is_multigraph() or any(i == j for i, j in graph.edges):
        raise ValueError("expected a simple undirected graph; got directed or repeated edges or a loop")
    degrees = sorted({degree for _, degree in graph.degree})
    if len(degrees) != 1 or degrees[0] < 1:
        isolated = " (isolated vertices)" if degrees[:1] == [0] else ""
        got = f"degrees {degrees[0]} to {degrees[-1]}{isolated}" if degrees else "no vertices"
        raise ValueError(
            f"expected a regular graph, every vertex with the same number of neighbours and at least one; got {got}"
        )
    place = {vertex: i for i, vertex in enumerate(graph.nodes)}
    edges = sorted((min(place[u], place[v]), max(place[u], place[v])) for u, v in graph.edges)
    return GraphInstance(len(place), degrees[0], tuple(edges))


def graph_blocks(instance: GraphInstance, literal: bool = True) -> Float[np.ndarray, "J D D"]:
    """Return the symmetric blocks: of order ``d + 1``, or only the ``v`` coordinates that occur in them.

    Coordinates that occur in no block cannot help, so both have the same distance.
    """
    D = instance.blocks + 1 if literal else instance.vertices
    M = np.zeros((instance.blocks, D, D))
    for j, (i, k) in enumerate(instance.edges):
        M[j, i, k] = M[j, k, i] = 1
    for i in range(instance.vertices):
        j = len(instance.edges) + 2 * i
        M[j, i, i] = M[j + 1, i, i] = 1
    return M


def round_to_set(instance: GraphInstance, b: Float[np.ndarray, " D"]) -> tuple[int, ...]:
    """Round ``b`` to an independent set that is no farther: ``distance(set) <= distance(b)``, in fractions.

    Along ``e_i - e_j`` for an edge inside the support the distance is linear, so all weight goes to the better
    end until the support is independent (Motzkin & Straus 1965); then it is extended to a maximal one.

    Args:
        instance: the graph.
        b: nonzero on the first ``v`` coordinates, ``[D]``; further ones are ignored.

    Raises:
        ValueError: if it is zero there.
    """
    squares = [Fraction(float(v)) ** 2 for v in b[: instance.vertices]]
    if sum(squares) == 0:
        raise ValueError(f"expected b nonzero in its first {instance.vertices} entries; got zeros")
    neighbours = _neighbours(instance)
    x = [v / sum(squares) for v in squares]
    for i, j in instance.edges:
        if x[i] and x[j]:
            pull = [x[t] + sum((x[s] for s in neighbours[t]), Fraction(0)) for t in (i, j)]
            keep, drop = (i, j) if pull[0] <= pull[1] else (j, i)
            x[keep], x[drop] = x[keep] + x[drop], Fraction(0)
    chosen = [i for i, v in enumerate(x) if v]
    for i in range(instance.vertices):
        if i not in chosen and not neighbours[i].intersection(chosen):
            chosen.append(i)
    return tuple(sorted(chosen))


def _neighbours(instance: GraphInstance) -> list[set[int]]:
    neighbours: list[set[int]] = [set() for _ in range(instance.vertices)]
    for i, j in instance.edges:
        neighbours[i].add(j)
        neighbours[j].add(i)
    return neighbours


def independence_bound(instance: GraphInstance) -> int:
    """Return an upper bound on ``alpha``: ``v/2`` by counting edges, or Hoffman's ``-v l / (k - l)``, rounded down.

    ``l`` is the least eigenvalue of the adjacency matrix; its rounding is allowed for.
    """
    adjacency = np.zeros((instance.vertices, instance.vertices))
    for i, j in instance.edges:
        adjacency[i, j] = adjacency[j, i] = 1
    least = float(np.linalg.eigvalsh(adjacency)[0]) - 1e-11 * instance.vertices * instance.degree
    hoffman = math.floor(-instance.vertices * least / (instance.degree - least) + 1e-9)
    return min(instance.vertices // 2, hoffman)


def independence_number(graph: Any, at_most: int | None = None, time_limit: float | None = None) -> tuple[int, bool]:
    """Return the size of the largest clique of the complement that networkx lists, and whether it is ``alpha``.

    Knows nothing of nearest recovery.

    Args:
        graph: a networkx graph.
        at_most: a proved upper bound, at which the listing may end.
        time_limit: seconds; the second result is False when it strikes.
    """
    import networkx

    began, largest = time.monotonic(), 0
    for clique in networkx.find_cliques(networkx.complement(graph)):
        largest = max(largest, len(clique))
        if largest == at_most:
            return largest, True
        if time_limit is not None and time.monotonic() - began > time_limit:
            return largest, False
    return largest, True


@dataclass(frozen=True, eq=False)
class IndependentSet:
    """The independence number read off nearest recovery, beside what else is known of it.

    Attributes:
        instance: the graph.
        alpha: size of ``members``: the independence number if ``status`` is ``optimal``, else a lower bound.
        members: an independent set, rounded from the nearest point found.
        nearest: the squared distance at that set, in fractions.
        found: the squared distance where the local search ended, at least ``nearest`` up to rounding.
        lower: the greatest proved lower bound on the squared distance.
        lower_by: what proves it.
        cliques: the independence number from cliques of the complement; None if that took too long.
        status: ``optimal`` when ``nearest == lower``, else ``bound``.
        certificate: the first sums-of-squares level, if asked for.
        starts: random starts of the local search.
        seconds: time spent.
    """

    instance: GraphInstance
    alpha: int
    members: tuple[int, ...]
    nearest: Fraction
    found: float
    lower: Fraction
    lower_by: str
    cliques: int | None
    status: str
    certificate: Certificate | None
    starts: int
    seconds: float


def independent_set(
    graph: Any,
    starts: int = 32,
    seed: int = 0,
    time_limit: float | None = None,
    level: bool = False,
) -> IndependentSet:
    """Solve nearest recovery on a regular graph's blocks and read off its independence number.

    The distance found is an upper bound from a local search, and the set it rounds to is checked. A lower bound
    comes from elsewhere: cliques of the complement (exact), an eigenvalue bound on ``alpha``, and on request
    the first level of sums of squares, which is about the blocks alone.

    Args:
        graph: networkx; regular, of degree at least 1.
        starts: random starts; they end early at a distance that a bound proves best.
        seed: of the random starts.
        time_limit: seconds; None for none. When it strikes, bounds are returned.
        level: also run :func:`first_level`.

    Raises:
        ValueError: for a graph that is not regular, or arguments out of range.
    """
    if starts < 1 or (time_limit is not None and not time_limit >= 0):
        raise ValueError(f"expected starts >= 1 and a time limit >= 0; got {starts} and {time_limit}")
    # Half of the time for an upper bound; it ends at once where a bound on alpha proves it best.
    began = time.monotonic()
    deadline = math.inf if time_limit is None else began + time_limit
    instance = graph_instance(graph)
    at_most = independence_bound(instance)
    found, b, used = _least_distance(instance, at_most, starts, seed, began + (deadline - began) / 2)
    members = round_to_set(instance, b)
    # The distance is a function of alpha that falls with it: an upper bound on alpha is a lower bound on the distance.
    left = None if time_limit is None else max(deadline - time.monotonic(), 0.0)
    largest, exact = independence_number(graph, at_most, left)
    alpha, lower_by = at_most, "counting edges, or Hoffman's eigenvalue bound on alpha"
    if exact:
        alpha, lower_by = largest, "cliques of the complement"
    lower, certificate = instance.theta(alpha), None
    # The first level knows nothing of graphs, so it may be above or below the bound that does.
    if level:
        left = None if time_limit is None else max(deadline - time.monotonic(), 0.0)
        certificate = first_level(instance, left)
        if certificate.lower > lower:
            lower, lower_by = Fraction(certificate.lower), "first level of sums of squares"
    nearest = instance.theta(len(members))
    return IndependentSet(
        instance=instance,
        alpha=len(members),
        members=members,
        nearest=nearest,
        found=found,
        lower=lower,
        lower_by=lower_by,
        cliques=largest if exact else None,
        status="optimal" if nearest == lower else "bound",
        certificate=certificate,
        starts=used,
        seconds=time.monotonic() - began,
    )


def _least_distance(
    instance: GraphInstance, at_most: int, starts: int, seed: int, deadline: float
) -> tuple[float, Float[np.ndarray, " v"], int]:
    """Return the least distance found, its ``b`` and the starts made; at least one is."""
    rng = np.random.default_rng(seed)
    best, where, used = math.inf, np.zeros(0), 0
    step = _search_blocks if instance.vertices <= _SEARCHED_UP_TO else _search_formula
    while used < starts:
        loss, b = step(instance, rng)
        used += 1
        if loss < best:
            best, where = loss, b
        if best <= instance.theta(at_most) + Fraction(1, 10**9) or time.monotonic() > deadline:
            break
    return best, where, used


def _search_blocks(instance: GraphInstance, rng: np.random.Generator) -> tuple[float, Float[np.ndarray, " v"]]:
    """Run the search of :func:`~markov_icl.recovery.search.nearest.nearest` on the coordinates that occur."""
    M = graph_blocks(instance, literal=False)
    v = instance.vertices
    weights = np.asarray(vech((np.ones((v, v)) + np.eye(v)) / 2), dtype=float)
    quadratic = Separable(weights, np.asarray(from_symmetric(M), dtype=float), len(M), v)
    fit = search(quadratic, 1, 1, rng)
    return fit.loss, fit.b[0]


def _search_formula(
    instance: GraphInstance, rng: np.random.Generator, sweeps: int = 300
) -> tuple[float, Float[np.ndarray, " v"]]:
    """Minimize the distance as a function of ``x = b^2`` by replicator steps, which stay on the simplex."""
    rows, columns = np.array(instance.edges).T
    x = rng.dirichlet(np.ones(instance.vertices))
    for _ in range(sweeps):
        pull = x + np.bincount(rows, x[columns], x.size) + np.bincount(columns, x[rows], x.size)
        gain = 1 + float(x @ pull) / instance.vertices - pull  # positive: every pull is at most 1
        x = x * gain / float(x @ gain)
    return float(instance.offset + 2 * (x @ x + 2 * (x[rows] @ x[columns]))), np.sqrt(x)


def first_level(instance: GraphInstance, time_limit: float | None = None, tolerance: float = 1e-4) -> Certificate:
    """Return the first sums-of-squares bound on the distance, for small graphs (about 7 vertices).

    The two equal blocks of a vertex become one, ``sqrt(2) e_i e_i^T``: an orthogonal change of the index ``j``,
    under which distances do not change.
    """
    edges, v = len(instance.edges), instance.vertices
    literal = graph_blocks(instance, literal=False)
    M = np.concatenate([literal[:edges], math.sqrt(2.0) * literal[edges::2]])
    weights = np.tile(np.asarray(vech((np.ones((v, v)) + np.eye(v)) / 2), dtype=float), len(M))
    X = np.asarray(from_symmetric(M), dtype=float)
    moments = Moments(np.diag(weights), weights * X, float(X @ (weights * X)), len(M), v, "distance")
    return certify(moments, tolerance / moments.y2, time_limit, most_nodes=1)
