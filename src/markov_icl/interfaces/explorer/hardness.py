"""The page Hardness: points and the two lines that separate them, or why none do; a graph and its independent set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.colours import PAPER
from markov_icl.interfaces.explorer.drawing import COLOURS, MUTED, new_figure
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Report, Values, View

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from markov_icl.hardness.independent_set import IndependentSet
    from markov_icl.hardness.separability import Instance, Obstruction, Planes, Verdict

__all__ = ["VIEW"]

Corner = tuple[float, float]

_SEPARABLE = (
    *((-1, 0, 1), (0, 1, 1), (1, 0, 1), (2, -1, 1), (-2, 1, 1), (0, -1, 1)),
    *((-2, 4, -1), (1, 3, -1), (4, 1, -1), (-3, -2, -1), (0, -4, -1), (-5, 0, -1)),
)
_INSEPARABLE = ((0, -2, 1), (-2, 1, 1), (2, 1, 1), (0, 4, -1), (-4, -2, -1), (4, -2, -1))
_FARTHEST, _MOST_POINTS, _MOST_OUTER = 6, 20, 10
_QUICK_OUTER = 8
"""Points beyond, up to which the exponential oracle takes a blink."""
_TIME_LIMIT = 60.0
"""Seconds, as the commands have it; never met at these sizes."""

GRAPHS = (
    "petersen",
    "cycle:5",
    "cycle:6",
    "cycle:9",
    "complete:5",
    "octahedral",
    "cubical",
    "icosahedral",
    "truncated_tetrahedron",
    "frucht",
    "heawood",
    "moebius_kantor",
    "hypercube:4",
    "pappus",
    "dodecahedral",
)
"""Names that ``--graph`` takes; nothing else reaches networkx."""

_ROUND: dict[str, list[list[int]] | None] = {
    "petersen": [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]],
    **dict.fromkeys(("cycle:5", "cycle:6", "cycle:9", "complete:5", "heawood", "moebius_kantor", "pappus")),
}
"""Graphs drawn in rings, from the inside, or in one ring: their vertices come in the order of a cycle."""

_LONG = ("dodecahedral",)
"""Graphs whose search takes seconds."""

_CONTROLS = (
    Control(
        "points",
        "Points: x, y, 1 near or -1 beyond",
        "points",
        _SEPARABLE,
        figure="points",
        most=_MOST_POINTS,
        help="Click on the picture to add a point, on a point to take it away. Coordinates from -6 to 6.",
    ),
    Control("add", "A click adds a point", "choice", "near", choices=("near", "beyond")),
    Control("graph", "Graph", "choice", "petersen", choices=GRAPHS),
    Control("seed", "Seed", "integer", 0, 0, 99, help="Of the random starts of nearest recovery."),
)


def _sides(values: Values) -> tuple[list[Corner], list[Corner]]:
    points: Any = values["points"]
    near, beyond = ([(x, y) for x, y, label in points if label == side] for side in (1, -1))
    return near, beyond


def _check_points(values: Values) -> None:
    points: Any = values["points"]
    for point in points:
        if len(point) != 3 or point[2] not in (1, -1) or max(map(abs, point[:2])) > _FARTHEST:
            shown = ",".join(f"{v:g}" for v in point[:4])
            raise Refused("points", f"expected x,y,1 or x,y,-1 with x and y of -6 to 6; got {shown}")
    near, beyond = _sides(values)
    if not near or not 1 <= len(beyond) <= _MOST_OUTER:
        wanted = f"at least one point near (1) and 1 to {_MOST_OUTER} beyond (-1)"
        raise Refused("points", f"expected {wanted}; got {len(near)} and {len(beyond)}")


def _command(values: Values) -> str:
    points: Any = values["points"]
    given = {
        name: [[_short(v) for v in point[:2]] for point in points if point[-1] == side]
        for name, side in (("inner", 1), ("outer", -1))
    }
    document = shlex.quote(json.dumps(given, separators=(",", ":")))
    return (
        f"markov-icl hardness separability --file <(echo {document})\n"
        f"markov-icl hardness independent-set --graph {values['graph']} --seed {values['seed']}"
    )


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value


@lru_cache(maxsize=32)
def _separated(near: tuple[Corner, ...], beyond: tuple[Corner, ...]) -> tuple[Instance, Verdict]:
    from markov_icl.hardness.separability import Instance, separate

    instance = Instance(*(tuple(tuple(_short(v) for v in p) for p in side) for side in (near, beyond)))  # type: ignore[arg-type]
    return instance, separate(instance, _TIME_LIMIT)


@lru_cache(maxsize=32)
def _recovered(name: str, seed: int) -> tuple[Any, IndependentSet]:
    from markov_icl.hardness.independent_set import independent_set
    from markov_icl.interfaces.graphs import read_graph

    graph = read_graph(name)
    return graph, independent_set(graph, seed=seed, time_limit=_TIME_LIMIT)


def _compute(values: Values, report: Report) -> Outcome:
    near, beyond = _sides(values)
    report(0.05, "separating the points")
    instance, verdict = _separated(tuple(near), tuple(beyond))
    report(0.3, "nearest recovery on the graph")
    graph, found = _recovered(str(values["graph"]), int(str(values["seed"])))
    name = str(values["graph"])
    pictures = (
        Picture(
            "points",
            _points_alt(instance, verdict),
            _draw_points(near, beyond, verdict, str(values["add"])),
            "Points and lines",
        ),
        Picture("graph", _graph_alt(found, name), _draw_graph(found, graph, name), "An independent set"),
        Picture("distance", _distance_alt(found), _draw_distance(found), "Distance to the nearest (b, A)", wide=True),
    )
    words = f"{_separability_words(verdict)}\n\n{_graph_words(found, name)}"
    return Outcome(pictures, words, _rows(instance, verdict, found), _links())


def _links() -> tuple[tuple[str, str], ...]:
    points = _CONTROLS[0].write(_INSEPARABLE).replace(" ", "")
    return (("Points that two lines separate", "/hardness"), ("Points that none do", f"/hardness?points={points}"))


def _draw_points(near: list[Corner], beyond: list[Corner], verdict: Verdict, add: str) -> go.Figure:
    import plotly.graph_objects as go

    end = _FARTHEST + 0.7
    figure = new_figure(460)
    label = 1 if add == "near" else -1
    grid = [(x, y) for x in range(-_FARTHEST, _FARTHEST + 1) for y in range(-_FARTHEST, _FARTHEST + 1)]
    if verdict.planes is not None:
        _draw_planes(figure, verdict.planes, end)
    for number, one in enumerate(verdict.obstructions if verdict.status == "inseparable" else ()):
        _draw_obstruction(figure, near, beyond, one, number == 0)
    ground = go.Scatter(
        x=[x for x, _ in grid],
        y=[y for _, y in grid],
        customdata=[[x, y, label] for x, y in grid],
        mode="markers",
        marker={"size": 16, "opacity": 0},
        hovertemplate=f"add a point {add}: (%{{x}}, %{{y}})<extra></extra>",
        showlegend=False,
    )
    figure.add_trace(ground)
    marks = (
        ("near both lines", near, 1, {"symbol": "circle", "color": COLOURS[0]}),
        ("beyond at least one", beyond, -1, {"symbol": "x", "color": COLOURS[1]}),
    )
    for name, points, side, mark in marks:
        dots = go.Scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            customdata=[[x, y, side] for x, y in points],
            mode="markers",
            name=name,
            marker={"size": 12, "line": {"color": PAPER, "width": 1}, **mark},
            hovertemplate="%{x}, %{y}: click to take it away<extra></extra>",
        )
        figure.add_trace(dots)
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(range=[-end, end], dtick=2, zeroline=False, constrain="domain", fixedrange=True)
    figure.update_yaxes(scaleanchor="x")
    figure.update_layout(hovermode="closest", dragmode=False, margin={"l": 32, "r": 8, "t": 56, "b": 32})
    return figure


def _draw_planes(figure: go.Figure, planes: Planes, end: float) -> None:
    """Shade what is on the near side of both lines, and draw each line that is one."""
    import plotly.graph_objects as go

    lines = [(float(w[0]), float(w[1]), float(g)) for w, g in zip(planes.w, planes.g, strict=True)]
    square: list[Corner] = [(-end, -end), (end, -end), (end, end), (-end, end)]
    region = square
    for line in lines:
        region = clip(region, line)
    shade = {"fill": "toself", "fillcolor": "rgba(59, 125, 189, 0.16)", "line": {"width": 0}, "hoverinfo": "skip"}
    xs, ys = _closed(region)
    figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", showlegend=False, **shade))
    for number, (a, b, g) in enumerate(lines, 1):
        edge = [p for p in clip(square, (a, b, g)) if abs(a * p[0] + b * p[1] - g) < 1e-9 * (1 + abs(g))]
        if (a or b) and len(edge) == 2:
            style = {"color": COLOURS[2], "width": 2.5, "dash": "solid" if number == 1 else "dash"}
            xs, ys = ([p[k] for p in edge] for k in (0, 1))
            figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", name=f"line {number}", line=style, hoverinfo="name"))


def clip(corners: Sequence[Corner], line: tuple[float, float, float]) -> list[Corner]:
    """Return the part of a convex polygon where ``a x + b y >= g``, corners in order; empty if there is none."""
    a, b, g = line
    kept: list[Corner] = []
    for (x, y), (u, v) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        here, there = a * x + b * y - g, a * u + b * v - g
        if here >= 0:
            kept.append((x, y))
        if here * there < 0:
            share = here / (here - there)
            kept.append((x + share * (u - x), y + share * (v - y)))
    return kept


def _draw_obstruction(
    figure: go.Figure, near: list[Corner], beyond: list[Corner], one: Obstruction, first: bool
) -> None:
    """Join the points beyond that no line cuts off, and mark where their hull meets that of the near points."""
    import plotly.graph_objects as go

    x, y = (sum(float(weight) * near[i][k] for i, weight in one.inner.items()) for k in (0, 1))
    xs, ys = _closed(_around([beyond[i] for i in one.outer]))
    line = {"color": COLOURS[1], "width": 1.6, "dash": "dot"}
    legend: dict[str, Any] = {"showlegend": first, "legendgroup": "obstructions"}
    figure.add_trace(
        go.Scatter(x=xs, y=ys, mode="lines", line=line, name="no line cuts off all", hoverinfo="skip", **legend)
    )
    star = {"symbol": "diamond-open", "size": 20, "color": COLOURS[3], "line": {"width": 2}}
    legend["legendgroup"] = "meetings"
    figure.add_trace(
        go.Scatter(x=[x], y=[y], mode="markers", marker=star, name="where the hulls meet", hoverinfo="skip", **legend)
    )


def _around(points: list[Corner]) -> list[Corner]:
    """Return points in order around their middle."""
    from math import atan2

    x, y = (sum(p[k] for p in points) / len(points) for k in (0, 1))
    return sorted(points, key=lambda p: atan2(p[1] - y, p[0] - x))


def _closed(corners: Sequence[Corner]) -> tuple[list[float], list[float]]:
    ring = [*corners, *corners[:1]]
    return [p[0] for p in ring], [p[1] for p in ring]


def _points_alt(instance: Instance, verdict: Verdict) -> str:
    counts = f"{len(instance.inner)} points near and {len(instance.outer)} beyond"
    if verdict.planes is not None:
        return f"{counts}, with two lines that separate them; the region near both is shaded."
    if verdict.status == "inseparable":
        return f"{counts}, which no two lines separate; {len(verdict.obstructions)} sets of points beyond show why."
    return f"{counts}; undecided: {verdict.reason}."


def _separability_words(verdict: Verdict) -> str:
    head = {
        "separable": "**Two lines separate the points.**",
        "inseparable": "**No two lines separate the points.**",
        "undecided": "**Undecided.**",
    }[verdict.status]
    if verdict.planes is not None:
        said = "; ".join(
            f"line {k}: {_linear(w)} = {str(g).replace('-', '−')}, with points {_numbers(beyond)} beyond it"
            for k, (w, g, beyond) in enumerate(
                zip(verdict.planes.w, verdict.planes.g, verdict.planes.beyond, strict=True), 1
            )
            if any(w)
        )
        why = f"Every near point is on the near side of both, every other one beyond at least one. {said}."
    elif verdict.status == "inseparable":
        sets = "; ".join(_numbers(one.outer) for one in verdict.obstructions)
        why = (
            "No line cuts off all points of any of these sets, since their hull meets the hull of the near points: "
            f"{sets}. So each line must miss one of each set, and no way to share out the points beyond does that."
        )
    else:
        why = verdict.reason
    return (
        f"{head} {why}\n\n*Exact: verified in fractions, after {verdict.programs} linear programs. Deciding this is "
        "NP-complete, and the oracle takes time exponential in the points beyond; the paper's bilinear program over "
        "(b, A) contains it (Theorem C.14).*"
    )


def _linear(w: Sequence[Fraction]) -> str:
    """Return ``a x + b y`` as one would write it."""
    said = ""
    for number, name in zip(w, ("x", "y"), strict=True):
        if number:
            sign = ("− " if number < 0 else "+ ") if said else ("−" if number < 0 else "")
            size = "" if abs(number) == 1 else f"{abs(number)} "
            said += f"{' ' if said else ''}{sign}{size}{name}"
    return said


def _numbers(indices: Iterable[int]) -> str:
    return "{" + ", ".join(str(i + 1) for i in sorted(indices)) + "}"


def _draw_graph(found: IndependentSet, graph: Any, name: str) -> go.Figure:
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


def _graph_alt(found: IndependentSet, name: str) -> str:
    members = ", ".join(str(i + 1) for i in found.members)
    return (
        f"The graph {name} of {found.instance.vertices} vertices; no two of the {found.alpha} larger ones, "
        f"{members}, are joined. Independence number {_relation(found)} {found.alpha}."
    )


def _draw_distance(found: IndependentSet) -> go.Figure:
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


def _distance_alt(found: IndependentSet) -> str:
    return (
        "Squared distance to the nearest (b, A) against the size of an independent set: found "
        f"{float(found.nearest):.6g} at size {found.alpha}, proved at least {float(found.lower):.6g}."
    )


def _graph_words(found: IndependentSet, name: str) -> str:
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


def _rows(instance: Instance, verdict: Verdict, found: IndependentSet) -> tuple[dict[str, object], ...]:
    rows: list[dict[str, object]] = []
    for side, points in (("near", instance.inner), ("beyond", instance.outer)):
        for i, point in enumerate(points):
            rows.append({"what": f"point {side}", "number": i + 1, "x": float(point[0]), "y": float(point[1])})
            if side == "beyond" and verdict.planes is not None:
                lines = [k for k in (1, 2) if i in verdict.planes.beyond[k - 1]]
                rows[-1]["note"] = "beyond line " + " and ".join(map(str, lines))
    if verdict.planes is not None:
        for k, (w, g) in enumerate(zip(verdict.planes.w, verdict.planes.g, strict=True), 1):
            rows.append({"what": "line w, g", "number": k, "x": str(w[0]), "y": str(w[1]), "note": str(g)})
    for k, one in enumerate(verdict.obstructions if verdict.planes is None else (), 1):
        rows.append({"what": "no line cuts off", "number": k, "note": _numbers(one.outer)})
    chosen = set(found.members)
    rows += [
        {"what": "vertex", "number": i + 1, "note": "in the set" if i in chosen else ""}
        for i in range(found.instance.vertices)
    ]
    return tuple(rows)


def _slow(values: Values) -> bool:
    return values["graph"] in _LONG or len(_sides(values)[1]) > _QUICK_OUTER


VIEW = View(
    "hardness",
    "Hardness",
    "Two problems that the best transformer parameters hide: separating points with two lines, and independent sets.",
    _CONTROLS,
    _compute,
    _command,
    _slow,
    (_check_points,),
)
