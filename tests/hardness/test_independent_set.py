"""Independence numbers through nearest recovery, against cliques of the complement."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.features import from_symmetric
from markov_icl.hardness import independent_set as module
from markov_icl.hardness.independent_set import (
    first_level,
    graph_blocks,
    graph_instance,
    independence_bound,
    independence_number,
    independent_set,
    round_to_set,
)
from markov_icl.recovery.search.nearest import nearest, squared_distance
from tests.hardness.cubic_graphs import CUBIC

NAMED = {
    "C3": nx.cycle_graph(3),
    "C5": nx.cycle_graph(5),
    "C7": nx.cycle_graph(7),
    "C12": nx.cycle_graph(12),
    "K2": nx.complete_graph(2),
    "K4": nx.complete_graph(4),
    "cube": nx.cubical_graph(),
    "prism": nx.circular_ladder_graph(3),
    "Petersen": nx.petersen_graph(),
    "K33": nx.complete_bipartite_graph(3, 3),
    "octahedron": nx.octahedral_graph(),
    "two triangles": nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)),
    "3-regular, 16": nx.random_regular_graph(3, 16, seed=1),
    "4-regular, 12": nx.random_regular_graph(4, 12, seed=2),
    "5-regular, 14": nx.random_regular_graph(5, 14, seed=3),
}


def largest_by_definition(graph: nx.Graph) -> int:
    """Try all vertex sets, largest first."""
    nodes = list(graph.nodes)
    for size in range(len(nodes), 0, -1):
        for chosen in combinations(nodes, size):
            if not any(graph.has_edge(u, v) for u, v in combinations(chosen, 2)):
                return size
    return 0


def check(graph: nx.Graph) -> None:
    result = independent_set(graph)
    nodes = list(graph.nodes)
    assert not any(graph.has_edge(nodes[i], nodes[j]) for i, j in combinations(result.members, 2))
    assert result.status == "optimal"
    assert result.alpha == result.cliques == len(result.members) == independence_number(graph)[0]
    assert result.nearest == result.lower == result.instance.theta(result.alpha)
    assert result.found == pytest.approx(float(result.nearest), abs=1e-9)


@pytest.mark.parametrize("name", NAMED)
def test_named_graphs(name: str) -> None:
    check(NAMED[name])


@pytest.mark.parametrize("vertices", [4, 6, 8, 10])
def test_all_connected_cubic_graphs(vertices: int) -> None:
    graphs = [nx.from_graph6_bytes(text.encode()) for text in CUBIC[vertices]]
    assert len(graphs) == {4: 1, 6: 2, 8: 5, 10: 19}[vertices]
    assert not any(nx.is_isomorphic(g, h) for g, h in combinations(graphs, 2))
    for graph in graphs:
        assert nx.is_connected(graph)
        assert {d for _, d in graph.degree} == {3}
        assert independence_number(graph)[0] == largest_by_definition(graph)
        check(graph)


@pytest.mark.parametrize("name", ["C5", "K4", "prism", "Petersen"])
def test_literal_blocks_have_the_same_distance(name: str) -> None:
    """The definition: ``d`` blocks of order ``d + 1`` given to :func:`nearest`."""
    instance = graph_instance(NAMED[name])
    fit = nearest(from_symmetric(graph_blocks(instance)), starts=4)
    result = independent_set(NAMED[name])
    assert fit.loss == pytest.approx(float(result.nearest), abs=1e-9)
    assert len(round_to_set(instance, fit.b[0])) == result.alpha


@settings(max_examples=30)
@given(name=st.sampled_from(sorted(NAMED)), seed=st.integers(0, 2**20), zeros=st.floats(0, 0.8))
def test_distance_formula_and_rounding(name: str, seed: int, zeros: float) -> None:
    """The formula in ``x = b^2`` is the distance of the literal blocks; rounding never raises it."""
    instance = graph_instance(NAMED[name])
    rng = np.random.default_rng(seed)
    b = np.zeros(instance.blocks + 1)
    b[: instance.vertices] = rng.standard_normal(instance.vertices) * (rng.random(instance.vertices) >= zeros)
    b[rng.integers(instance.vertices)] = 1.0
    x = [F(float(v)) ** 2 for v in b[: instance.vertices]]
    distance = instance.distance([v / sum(x) for v in x])
    literal = squared_distance(from_symmetric(graph_blocks(instance)), b)
    assert literal == pytest.approx(float(distance), abs=1e-9)
    chosen = round_to_set(instance, b)
    assert not any((i, j) in set(instance.edges) for i, j in combinations(chosen, 2))
    assert instance.theta(len(chosen)) <= distance


@pytest.mark.parametrize("name", NAMED)
def test_eigenvalue_bound_is_a_bound(name: str) -> None:
    instance = graph_instance(NAMED[name])
    assert independence_number(NAMED[name])[0] <= independence_bound(instance) <= instance.vertices // 2


def test_threshold_decides() -> None:
    instance = graph_instance(nx.cycle_graph(5))
    assert (instance.blocks, instance.offset) == (15, 12)
    assert [instance.theta(s) for s in (1, 2, 3)] == [14, 13, F(38, 3)]


def test_first_level_is_loose_on_the_five_cycle_and_tight_on_the_complete_graph() -> None:
    loose = first_level(graph_instance(NAMED["C5"]))
    assert 12.98 < loose.lower < 12.986
    assert loose.verified == "float"
    tight = first_level(graph_instance(NAMED["K4"]))
    assert 12 - 1e-3 < tight.lower <= 12
    result = independent_set(NAMED["C5"], level=True)
    assert result.certificate is not None
    assert result.certificate.lower < result.lower == 13


def test_large_graphs_are_searched_on_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nx.random_regular_graph(3, 80, seed=5)
    result = independent_set(graph, starts=8, time_limit=1.0)
    assert result.lower <= result.nearest
    assert result.alpha >= 30
    assert result.found >= float(result.nearest) - 1e-9
    monkeypatch.setattr(module, "_SEARCHED_UP_TO", 0)
    for name in ("C5", "K4", "Petersen", "3-regular, 16"):
        check(NAMED[name])


def test_time_limit_returns_bounds() -> None:
    result = independent_set(nx.random_regular_graph(3, 44, seed=2), time_limit=0.0)
    assert result.status == "bound"
    assert result.cliques is None
    assert result.lower < result.nearest == result.instance.theta(result.alpha)
    assert result.starts == 1


def test_same_seed_same_set() -> None:
    one, two = (independent_set(NAMED["3-regular, 16"], seed=3) for _ in range(2))
    assert (one.members, one.found) == (two.members, two.found)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.path_graph(4), "degrees 1 to 2"),
        (nx.empty_graph(3), "isolated vertices"),
        (nx.disjoint_union(nx.cycle_graph(3), nx.empty_graph(1)), "isolated vertices"),
        (nx.Graph(), "no vertices"),
        (nx.DiGraph([(0, 1), (1, 0)]), "simple undirected"),
        (nx.MultiGraph([(0, 1), (0, 1)]), "simple undirected"),
        (nx.Graph([(0, 0), (0, 1)]), "simple undirected"),
    ],
)
def test_other_graphs_are_refused(graph: nx.Graph, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        independent_set(graph)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="starts >= 1"):
        independent_set(nx.cycle_graph(5), starts=0)
    with pytest.raises(ValueError, match="time limit >= 0"):
        independent_set(nx.cycle_graph(5), time_limit=-1.0)
    with pytest.raises(ValueError, match="b nonzero"):
        round_to_set(graph_instance(nx.cycle_graph(5)), np.zeros(16))
