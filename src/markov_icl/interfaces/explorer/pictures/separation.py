"""Points in the plane, the two lines that separate them, or the sets of points that show why none do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.colours import PAPER
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from markov_icl.hardness.separability import Instance, Obstruction, Planes, Verdict

__all__ = ["FARTHEST", "Corner", "clip", "draw_points", "points_alt", "separability_words", "set_of"]

Corner = tuple[float, float]
FARTHEST = 6
"""Coordinates of a point run from minus this to this."""


def draw_points(near: list[Corner], beyond: list[Corner], verdict: Verdict, add: str) -> go.Figure:
    """Draw points on a grid that can be clicked, with the lines that separate them or why none do.

    Args:
        near: points that must be near both lines.
        beyond: points that must lie beyond at least one.
        verdict: of the oracle on them.
        add: ``near`` or ``beyond``, what a click on an empty place of the grid adds.
    """
    import plotly.graph_objects as go

    end = FARTHEST + 0.7
    figure = new_figure(460)
    label = 1 if add == "near" else -1
    grid = [(x, y) for x in range(-FARTHEST, FARTHEST + 1) for y in range(-FARTHEST, FARTHEST + 1)]
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


def points_alt(instance: Instance, verdict: Verdict) -> str:
    """Say what :func:`draw_points` shows."""
    counts = f"{len(instance.inner)} points near and {len(instance.outer)} beyond"
    if verdict.planes is not None:
        return f"{counts}, with two lines that separate them; the region near both is shaded."
    if verdict.status == "inseparable":
        return f"{counts}, which no two lines separate; {len(verdict.obstructions)} sets of points beyond show why."
    return f"{counts}; undecided: {verdict.reason}."


def separability_words(verdict: Verdict) -> str:
    """Say in Markdown what the oracle found and what proves it."""
    head = {
        "separable": "**Two lines separate the points.**",
        "inseparable": "**No two lines separate the points.**",
        "undecided": "**Undecided.**",
    }[verdict.status]
    if verdict.planes is not None:
        said = "; ".join(
            f"line {k}: {_linear(w)} = {str(g).replace('-', '−')}, with points {set_of(beyond)} beyond it"
            for k, (w, g, beyond) in enumerate(
                zip(verdict.planes.w, verdict.planes.g, verdict.planes.beyond, strict=True), 1
            )
            if any(w)
        )
        why = f"Every near point is on the near side of both, every other one beyond at least one. {said}."
    elif verdict.status == "inseparable":
        sets = "; ".join(set_of(one.outer) for one in verdict.obstructions)
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


def set_of(indices: Iterable[int]) -> str:
    """Return a set of points as they are numbered on the page, from 1."""
    return "{" + ", ".join(str(i + 1) for i in sorted(indices)) + "}"
