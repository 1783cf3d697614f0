"""A graph with the independent set that nearest recovery found, and the distance that its size fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.colours import PAPER
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS, MUTED, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from markov_icl.hardness.independent_set import IndependentSet

__all__ = ["distance_alt", "draw_distance", "draw_graph", "graph_alt", "graph_words"]

_ROUND: dict[str, list[list[int]] | None] = {
    "petersen": [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]],
    **dict.fromkeys(("cycle:5", "cycle:6", "cycle:9", "complete:5", "heawood", "moebius_kantor", "pappus")),
}
"""Graphs drawn in rings, from the inside, or in one ring: their vertices come in the order of a cycle."""


def draw_graph(found: IndependentSet, graph: Any, name: str) -> go.Figure:
    """Draw the graph, vertices of the set larger and in another colour; ``name`` decides how it is laid out."""
    import networkx
    import plotly.graph_objects as go

    ringed = name in _ROUND
    places = networkx.shell_layout(graph, _ROUND[name], rotate=0) if ringed else networkx.kamada_kawai_layout(graph)
    points = [
        (float(-places[v][1]), float(places[v][0])) if ringed else tuple(map(float, places[v])) for v in graph.nodes
    ]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for i, j in found.instance.edges:
        xs += [points[i][0], points[j][0], None]
        ys += [points[i][1], points[j][1], None]
    figure = new_figure(460)
    figure.add_trace(
        go.Scatter(x=xs, y=ys, mode="lines", line={"color": MUTED, "width": 1.4}, hoverinfo="skip", showlegend=False)
    )
    chosen = set(found.members)
    groups = (
        ("in the set", [i for i in range(len(points)) if i in chosen], COLOURS[1], 20),
        ("not in it", [i for i in range(len(points)) if i not in chosen], COLOURS[0], 13),
    )
    for label, members, colour, size in groups:
        dots = go.Scatter(
            x=[points[i][0] for i in members],
            y=[points[i][1] for i in members],
            text=[str(i + 1) for i in members],
            mode="markers",
            name=label,
            marker={"size": size, "color": colour, "line": {"color": PAPER, "width": 2}},
            hovertemplate="vertex %{text}<extra></extra>",
        )
        figure.add_trace(dots)
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(visible=False, fixedrange=True, scaleanchor="x")
    figure.update_layout(margin={"l": 8, "r": 8, "t": 40, "b": 8}, dragmode=False)
    return figure


def _relation(found: IndependentSet) -> str:
    return "=" if found.status == "optimal" else "≥"


def graph_alt(found: IndependentSet, name: str) -> str:
    """Say what :func:`draw_graph` shows."""
    members = ", ".join(str(i + 1) for i in found.members)
    return (
        f"The graph {name} of {found.instance.vertices} vertices; no two of the {found.alpha} larger ones, "
        f"{members}, are joined. Independence number {_relation(found)} {found.alpha}."
    )


def draw_distance(found: IndependentSet) -> go.Figure:
    """Draw the squared distance that a set of each size gives, the one found and the proved lower bound."""
    import plotly.graph_objects as go

    sizes = list(range(1, max(found.instance.vertices // 2, found.alpha + 1) + 1))
    thetas = [float(found.instance.theta(s)) for s in sizes]
    figure = new_figure(340)
    steps = go.Scatter(
        x=sizes,
        y=thetas,
        mode="lines+markers",
        name="distance that a set of this size gives",
        line={"color": COLOURS[0], "width": 1.6, "dash": "dot"},
        marker={"size": 7},
        hovertemplate="size %{x}: %{y:.6g}<extra></extra>",
    )
    ends = [sizes[0], sizes[-1]]
    bound = go.Scatter(
        x=ends,
        y=[float(found.lower)] * 2,
        mode="lines",
        name="proved lower bound",
        line={"color": COLOURS[2], "width": 2, "dash": "dash"},
        hovertemplate=f"at least {float(found.lower):.6g}<extra></extra>",
    )
    mark = go.Scatter(
        x=[found.alpha],
        y=[float(found.nearest)],
        mode="markers",
        name="found",
        marker={"size": 15, "symbol": "star", "color": COLOURS[1]},
        hovertemplate="set of %{x}: %{y:.6g}<extra></extra>",
    )
    for trace in (steps, bound, mark):
        figure.add_trace(trace)
    figure.update_xaxes(title="size of an independent set", dtick=1)
    figure.update_yaxes(title="squared distance", tickformat=".5~g")
    figure.update_layout(margin={"t": 40})
    return figure


def distance_alt(found: IndependentSet) -> str:
    """Say what :func:`draw_distance` shows."""
    return (
        "Squared distance to the nearest (b, A) against the size of an independent set: found "
        f"{float(found.nearest):.6g} at size {found.alpha}, proved at least {float(found.lower):.6g}."
    )


def graph_words(found: IndependentSet, name: str) -> str:
    """Say in Markdown what was found, what proves it, and what it says of nearest recovery."""
    exact = found.status == "optimal"
    count = f"{found.starts} start{'s' * (found.starts > 1)}"
    bound = "so nothing is nearer" if exact else f"and nothing is nearer than {float(found.lower):.6g}"
    return (
        f"**Graph `{name}`: independence number {_relation(found)} {found.alpha}.** Its edges and vertices become "
        f"{found.instance.blocks} blocks X; the nearest (b, A) found from {count} has squared distance "
        f"{found.found:.8g}. Rounded to a set, that is {found.nearest} = {float(found.nearest):.6g}, {bound} "
        f"({found.lower_by}).\n\n"
        "*The set is checked and its distance exact; the search is local, an upper bound; the lower bound is proved "
        "apart from it. So nearest recovery is NP-hard; such X are not shown to be the optimum of a Markov task.*"
    )
