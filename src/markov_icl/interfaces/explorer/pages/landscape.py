"""The page Landscape: the loss of one real layer on a plane through two points, and the way down from any start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.interfaces.explorer.pictures.drawing import COLOURS
from markov_icl.interfaces.explorer.task_controls import (
    CONTEXT,
    LENGTH,
    PRIOR,
    STATES,
    P,
    read_task,
    task_options,
)
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from markov_icl.landscape.closed_form import ClosedForm
    from markov_icl.recovery.search.fit import Fit
    from markov_icl.recovery.search.plane_section import Flow, Plane

__all__ = ["PAGE"]

_STARTS = 16
_GRID = 81
_SIDE = 1.35
"""Half-width of the section at zoom 1, in distances between the two points."""
_PATH_POINTS = 160
_MIDDLE = (0.5, 0.0)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagram")

_CONTROLS = (
    Control("first", "First point", "integer", 1, 0, 30, help="Local minima in order of loss; 0 is a random point."),
    Control("second", "Second point", "integer", 2, 0, 30),
    Control(
        "third",
        "The section leans towards",
        "choice",
        "next minimum",
        choices=("next minimum", "random direction"),
    ),
    Control("seed", "Seed of random points", "integer", 0, 0, 99),
    Control("zoom", "Zoom", "real", 1.0, 0.25, 5.0, 0.05),
    Control(
        "starts",
        "Starts of the descent",
        "points",
        ((0.5, 0.9), (1.4, -0.6)),
        figure="section",
        most=8,
        help="Click on the section, or write places such as 0.5,0.9; 1.4,-0.6.",
    ),
    Control(
        "within",
        "Descent",
        "choice",
        "all parameters",
        choices=("all parameters", "within the section"),
        help="Through all parameters, drawn by its shadow on the section; or held in it.",
    ),
)


def compute(values: Values, tell: Tell) -> Outcome:
    """Find the local minima, cut the section, follow the gradient flow from every start."""
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.search.fit import search
    from markov_icl.recovery.search.plane_section import gradient_flow

    task = read_task(values)
    form = minimizer(task, "dense", progress=part(tell, 0.0, 0.2))
    quadratic = form.moments
    fit = search(quadratic, 1, _STARTS, 0, informed=form.X, progress=part(tell, 0.2, 0.6))
    plane, places = _section(quadratic, fit, values)
    starts = values["starts"]
    assert isinstance(starts, tuple)
    flows = []
    for k, (s, t) in enumerate(starts):
        tell(0.6 + 0.4 * k / len(starts), f"descent {k + 1} of {len(starts)}")
        flows.append(gradient_flow(quadratic, plane.point(s, t), plane if _held(values) else None))
    pictures = (
        Picture("section", _section_alt(fit, flows), _draw_section(plane, places, flows, form, values), "The section"),
        Picture("profile", _profile_alt(plane), _draw_profile(flows, form), "Down the paths"),
    )
    return Outcome(pictures, _words(fit, plane, flows, form, values), _rows(fit, plane, flows, values))


def _held(values: Values) -> bool:
    return values["within"] == "within the section"


def _section(quadratic: Any, fit: Fit, values: Values) -> tuple[Plane, dict[str, tuple[float, float]]]:
    """Return the plane, and the places on it of the points that span it."""
    from markov_icl.recovery.search.plane_section import balanced, plane_through

    minima = [balanced(one.b[0], one.A[0]) for one in fit.minima]
    if not minima:
        raise ValueError("expected a local minimum; got none from the search")
    rng = np.random.default_rng(int(str(values["seed"])))
    size = float(np.linalg.norm(minima[0])) / np.sqrt(len(minima[0]))

    def random() -> NDArray[np.float64]:
        return np.asarray(size * rng.standard_normal(len(minima[0])))

    chosen: list[NDArray[np.float64]] = []
    for name in ("first", "second"):
        index = int(str(values[name]))
        if index > len(minima):
            raise Refused(name, f"expected 0 to {len(minima)}, the local minima of this task; got {index}")
        chosen.append(minima[index - 1] if index else random())
    if values["first"] == values["second"] != 0:
        raise Refused("second", f"expected another point than the first; got {values['second']} twice")
    used = {int(str(values[name])) for name in ("first", "second")}
    others = [k for k in range(1, len(minima) + 1) if k not in used]
    nearest = values["third"] == "next minimum" and bool(others)
    third = minima[others[0] - 1] if nearest else random()
    plane = plane_through(quadratic, chosen[0], chosen[1], third)
    places = {_point_name(values["first"]): (0.0, 0.0), _point_name(values["second"]): (1.0, 0.0)}
    if nearest:
        signed = third if chosen[0] @ third >= 0 else -third
        s, t = plane.coordinates(signed)
        places[f"minimum {others[0]}"] = (float(s), float(t))
    return plane, places


def _point_name(index: object) -> str:
    return f"minimum {index}" if index else "random point"


def _draw_section(
    plane: Plane, places: dict[str, tuple[float, float]], flows: list[Flow], form: ClosedForm, values: Values
) -> dict[str, Any]:
    half = _SIDE / float(str(values["zoom"]))
    x = np.linspace(_MIDDLE[0] - half, _MIDDLE[0] + half, _GRID)
    y = np.linspace(_MIDDLE[1] - half, _MIDDLE[1] + half, _GRID)
    above = np.log10(np.maximum(plane.losses(x, y) - form.loss, 1e-9 * form.moments.y2))
    low, high = float(above.min()), float(np.quantile(above, 0.97))
    contour = {
        "type": "contour",
        "x": x,
        "y": y,
        "z": above,
        "zmin": low,
        "zmax": high,
        "colorscale": "Cividis",
        "reversescale": True,
        "contours": {"coloring": "heatmap", "start": low, "end": high, "size": max((high - low) / 18, 1e-9)},
        "line": {"width": 0.6, "color": "rgba(255,255,255,0.45)"},
        "colorbar": {
            "title": {"text": "log₁₀ (loss − f~*)", "side": "top", "font": {"size": 13}},
            "orientation": "h",
            "y": -0.13,
            "yanchor": "top",
            "len": 0.8,
            "thickness": 10,
            "outlinewidth": 0,
            "tickformat": ".1f",
            "nticks": 6,
        },
        "hovertemplate": "s %{x:.3f}, t %{y:.3f}<br>loss above f~*: 10^%{z:.3f}<extra></extra>",
    }
    traces = [contour, *(trace for k, flow in enumerate(flows) for trace in _path(plane, flow, k))]
    named = {
        "type": "scatter",
        "x": [s for s, _ in places.values()],
        "y": [t for _, t in places.values()],
        "text": list(places),
        "mode": "markers+text",
        "textposition": "top center",
        "textfont": {"color": "#141c24", "size": 12, "shadow": "0 0 3px #fff, 0 0 3px #fff, 0 0 3px #fff"},
        "marker": {"symbol": "star", "size": 14, "color": "#ffffff", "line": {"color": "#141c24", "width": 1.5}},
        "hoverinfo": "skip",
    }
    axis = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    layout = {
        "height": 560,
        "showlegend": False,
        "margin": {"l": 48, "r": 8, "t": 8, "b": 120},
        "xaxis": {**axis, "title": {"text": "s: from the first point to the second"}, "range": [x[0], x[-1]]},
        "yaxis": {**axis, "title": {"text": "t: across"}, "range": [y[0], y[-1]], "scaleanchor": "x"},
    }
    return {"data": [*traces, named], "layout": layout}


def _path(plane: Plane, flow: Flow, k: int) -> list[dict[str, Any]]:
    thin = _thinned(flow)
    shadow = plane.coordinates(flow.path[thin])
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": shadow[:, 0],
        "y": shadow[:, 1],
        "line": {"color": "#ffffff", "width": 2.5},
        "hoverinfo": "skip",
    }
    edge = {**line, "line": {"color": "#141c24", "width": 5}}
    ends = {
        **line,
        "mode": "markers",
        "x": shadow[[0, -1], 0],
        "y": shadow[[0, -1], 1],
        "customdata": [flow.losses[0], flow.losses[-1]],
        "hoverinfo": "all",
        "hovertemplate": f"path {k + 1}, loss %{{customdata:.8f}}<extra></extra>",
        "marker": {
            "symbol": [_SYMBOLS[k], "circle-open"],
            "size": [12, 16],
            "color": COLOURS[k % len(COLOURS)],
            "line": {"color": "#ffffff", "width": 1.5},
        },
    }
    return [edge, {**line, "line": {"color": COLOURS[k % len(COLOURS)], "width": 3}}, ends]


def _thinned(flow: Flow) -> NDArray[np.intp]:
    """Return places on the path, at most :data:`_PATH_POINTS`, the first and the last among them."""
    count = min(len(flow.time), _PATH_POINTS)
    return np.unique(np.linspace(0, len(flow.time) - 1, count).round().astype(int))


def _draw_profile(flows: list[Flow], form: ClosedForm) -> dict[str, Any]:
    """Draw the loss along each path against the time of the flow."""
    traces = []
    for k, flow in enumerate(flows):
        thin = _thinned(flow)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"path {k + 1}",
                "x": np.maximum(flow.time[thin], 1e-3),
                "y": np.maximum(flow.losses[thin] - form.loss, 1e-12),
                "line": {"color": COLOURS[k % len(COLOURS)], "width": 2, "dash": ("solid", "dash", "dot")[k % 3]},
                "marker": {"symbol": _SYMBOLS[k], "size": 7, "maxdisplayed": 6},
                "hovertemplate": "time %{x:.3g}, loss above f~* %{y:.4g}<extra></extra>",
            }
        )
    layout = {
        "height": 560,
        "showlegend": True,
        "margin": {"l": 64, "r": 8, "t": 32, "b": 44},
        "xaxis": {"type": "log", "title": {"text": "time of the gradient flow"}, "exponentformat": "power"},
        "yaxis": {"type": "log", "title": {"text": "loss − f~*"}, "exponentformat": "power", "dtick": 1},
    }
    if not flows:
        note = {"text": "no starts", "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
        layout["annotations"] = [note]
    return {"data": traces, "layout": layout}


def _section_alt(fit: Fit, flows: list[Flow]) -> str:
    return (
        f"Colour map of the one-layer loss on a plane through local minima ({len(fit.minima)} are known), with "
        f"{len(flows)} paths of the gradient flow from their starts to their ends"
    )


def _profile_alt(plane: Plane) -> str:
    along = plane.losses(np.linspace(0, 1, 41), np.zeros(1))[0]
    return (
        "Loss above the enlarged optimum along each path, against the time of the flow. On the straight line between "
        f"the two points the loss goes from {along[0]:.5f} over {along.max():.5f} to {along[-1]:.5f}"
    )


def _words(fit: Fit, plane: Plane, flows: list[Flow], form: ClosedForm, values: Values) -> str:
    along = plane.losses(np.linspace(0, 1, 201), np.zeros(1))[0]
    barrier = float(along.max() - max(along[0], along[-1]))
    losses = [one.loss for one in fit.minima]
    said = [
        f"**{len(losses)} local minim{'um' if len(losses) == 1 else 'a'}** found from "
        f"{fit.random_starts + fit.informed_starts} starts, losses {losses[0]:.6f} to {losses[-1]:.6f}; the enlarged "
        f"optimum f~\\* is {form.loss:.6f}. On the straight line between the two points the loss rises "
        f"{barrier:.3g} above the higher of them."
    ]
    for k, flow in enumerate(flows):
        where = _reached(fit, flow) if not _held(values) else ""
        rest = "" if flow.stationary else " (still falling)"
        said.append(f"Path {k + 1} falls from {flow.losses[0]:.5f} to {flow.losses[-1]:.5f}{where}{rest}.")
    return " ".join(said)


def _reached(fit: Fit, flow: Flow) -> str:
    near = [k for k, one in enumerate(fit.minima) if abs(one.loss - flow.losses[-1]) <= 1e-6 * abs(one.loss)]
    return f", minimum {near[0] + 1}" if near else ""


def _rows(fit: Fit, plane: Plane, flows: list[Flow], values: Values) -> tuple[dict[str, object], ...]:
    minima = [
        {
            "what": f"minimum {k + 1}",
            "loss": one.loss,
            "random starts": one.random_starts,
            "Hessian -/0/+": f"{one.signature.negative}/{one.signature.zero}/{one.signature.positive}",
        }
        for k, one in enumerate(fit.minima)
    ]
    ends = []
    for k, flow in enumerate(flows):
        s, t = plane.coordinates(flow.path[-1])
        reached = "" if _held(values) else _reached(fit, flow).removeprefix(", ")
        ends.append({"what": f"path {k + 1}", "loss": flow.losses[-1], "s": s, "t": t, "reached": reached})
    return (*minima, *ends)


def _sized(values: Values) -> None:
    states, length = int(str(values["states"])), int(str(values["length"]))
    if states > 2 and length > 4:
        raise Refused("length", f"expected at most 4 with {states} states; got {length}")
    starts = values["starts"]
    assert isinstance(starts, tuple)
    if any(len(point) != 2 or max(map(abs, point)) > 20 for point in starts):
        raise Refused("starts", "expected pairs s,t within -20 to 20; got others")


def _readable(values: Values) -> None:
    read_task(values)


def _slow(values: Values) -> bool:
    starts = values["starts"]
    assert isinstance(starts, tuple)
    return int(str(values["length"])) > 4 or len(starts) > 2


PAGE = View(
    name="landscape",
    title="Landscape",
    summary=(
        "The loss of one real layer is not convex. A plane through two of its local minima, and where gradient flow "
        "goes from the starts you choose."
    ),
    controls=(
        P,
        CONTEXT,
        replace(LENGTH, high=8, help="Above 4 in the background."),
        replace(STATES, high=3),
        PRIOR,
        *_CONTROLS,
    ),
    compute=compute,
    command=lambda values: f"markov-icl best {task_options(values)} --starts {_STARTS}",
    slow=_slow,
    checks=(_sized, _readable),
)
