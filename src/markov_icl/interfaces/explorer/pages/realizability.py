"""The page Realizability: over start probability and context size, where real parameters reach the optimum."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from markov_icl.interfaces.explorer.pictures.drawing import SIGNED
from markov_icl.interfaces.explorer.task_controls import CONTEXT, PRIOR, P, prior_option, read_task
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell

if TYPE_CHECKING:
    from markov_icl.analysis.realizability import RealizabilityMap

__all__ = ["PAGE"]

_AT_ONCE = 60
"""Points of a map that is answered in the request itself; each takes about 2 ms."""
_KNEE = 0.5
"""Discriminants are drawn linearly below this size and by their logarithm above it."""


def compute(values: Values, tell: Tell) -> Outcome:
    """Solve the grid exactly, mark the chosen point."""
    from markov_icl.analysis.realizability import realizability_map

    steps, most = int(str(values["steps"])), int(str(values["most"]))
    task = read_task(_at_length_two(values))
    grid = [Fraction(k, steps + 1) for k in range(1, steps + 1)]
    result = realizability_map(grid, range(1, most + 1), task.prior, tell)
    picture = Picture("map", _alt(result), _draw(result, values), "Discriminant X₂² − 4 X₁ X₃")
    p, n = values["p"], int(str(values["n"]))
    links = ((f"Open p = {p:g}, n = {n} on Optimum", _address(Fraction(f"{p:.12g}"), n, values)),)
    return Outcome((picture,), _words(result), _rows(result), links)


def _at_length_two(values: Values) -> dict[str, Any]:
    return {**values, "length": 2, "states": 2}


def _address(p: Fraction, n: int, values: Values) -> str:
    query = {"p": f"{float(p):.12g}", "n": str(n), "length": "2", "prior": str(values["prior"])}
    return "/optimum?" + urlencode(query, safe=":,;/")


def _draw(result: RealizabilityMap, values: Values) -> dict[str, Any]:
    exact = result.discriminant.astype(float)
    bent = np.sign(exact) * np.log10(1 + np.abs(exact) / _KNEE)
    top = float(np.abs(bent).max()) or 1.0
    marks = [0.0, *(10.0**k for k in range(int(np.log10(max(np.abs(exact).max(), 1.0))) + 1))]
    marks = sorted({sign * mark + 0.0 for mark in marks for sign in (-1, 1)})
    p, n = [float(v) for v in result.p], list(result.n)
    heat = {
        "type": "heatmap",
        "x": n,
        "y": p,
        "z": bent,
        "zmin": -top,
        "zmax": top,
        "colorscale": [list(stop) for stop in SIGNED],
        "customdata": [[_address(start, context, values) for context in n] for start in result.p],
        "text": [[f"{value:.4g}" for value in row] for row in exact],
        "hovertemplate": "p = %{y:.3f}, n = %{x}<br>discriminant %{text}<br>click opens it<extra></extra>",
        "colorbar": {
            "tickvals": [float(np.sign(m) * np.log10(1 + abs(m) / _KNEE)) for m in marks],
            "ticktext": [f"{m:g}".replace("-", "−") for m in marks],
            "outlinewidth": 0,
            "thickness": 12,
        },
    }
    crossed = np.argwhere(~result.realizable)
    crosses = {
        "type": "scatter",
        "mode": "markers",
        "x": [n[k] for _, k in crossed],
        "y": [p[i] for i, _ in crossed],
        "customdata": [_address(result.p[i], n[k], values) for i, k in crossed],
        "marker": {"symbol": "x-thin", "size": 7, "line": {"width": 1.4, "color": "#141c24"}},
        "hoverinfo": "skip",
    }
    chosen = {
        "type": "scatter",
        "mode": "markers",
        "x": [values["n"]],
        "y": [values["p"]],
        "marker": {"symbol": "circle-open", "size": 18, "color": "#141c24", "line": {"width": 3}},
        "hoverinfo": "skip",
    }
    halo = {**chosen, "marker": {"symbol": "circle-open", "size": 18, "color": "#ffffff", "line": {"width": 7}}}
    layout = {
        "height": 560,
        "showlegend": False,
        "margin": {"l": 56, "r": 8, "t": 8, "b": 48},
        "xaxis": {"title": {"text": "context size n"}, "showgrid": False, "range": [0.5, n[-1] + 0.5]},
        "yaxis": {"title": {"text": "start probability p"}, "showgrid": False, "zeroline": False, "range": [0, 1]},
    }
    return {"data": [heat, crosses, halo, chosen], "layout": layout}


def _alt(result: RealizabilityMap) -> str:
    return (
        f"Map over {len(result.p)} start probabilities and {len(result.n)} context sizes: orange where real parameters "
        f"reach the optimum, {int(result.realizable.sum())} points; blue and crossed where none do"
    )


def _words(result: RealizabilityMap) -> str:
    yes, total = int(result.realizable.sum()), result.realizable.size
    said = (
        f"**{yes} of {total} points** are realizable: real (b, A) reach the enlarged optimum X\\* there, as the "
        "discriminant X₂² − 4 X₁ X₃ is not negative. Crosses mark the others. Every sign is decided in fractions "
        "(chains of length 2, two states)."
    )
    if np.isfinite(result.formula_error):
        said += f" Where it is real, the formula of Theorem 3.3 misses X\\* by at most {result.formula_error:.1g}."
    return said + " Click a point, or set p and n and follow the link, to open it on Optimum."


def _rows(result: RealizabilityMap) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "p": str(p),
            "n": n,
            "discriminant": float(result.discriminant[i, k]),
            "realizable": "yes" if result.realizable[i, k] else "no",
            "f~*": float(result.loss[i, k]),
        }
        for i, p in enumerate(result.p)
        for k, n in enumerate(result.n)
    )


def _readable(values: Values) -> None:
    read_task(_at_length_two(values))


def _inside(values: Values) -> None:
    if int(str(values["n"])) > int(str(values["most"])):
        raise Refused("n", f"expected a point of the map, at most n = {values['most']}; got {values['n']}")


def _slow(values: Values) -> bool:
    return int(str(values["steps"])) * int(str(values["most"])) > _AT_ONCE


def _command(values: Values) -> str:
    steps = int(str(values["steps"]))
    grid = ",".join(str(Fraction(k, steps + 1)) for k in range(1, steps + 1))
    contexts = ",".join(str(n) for n in range(1, int(str(values["most"])) + 1))
    source = prior_option(_at_length_two(values))
    return f"markov-icl map {source} --p {grid} --contexts {contexts}"


PAGE = View(
    name="realizability",
    title="Realizability",
    summary="Where does one real layer reach the optimum of the enlarged space? The map over start and context.",
    controls=(
        replace(P, label="Chosen start probability p"),
        replace(CONTEXT, label="Chosen context size n", high=60),
        PRIOR,
        Control("steps", "Start probabilities on the map", "integer", 19, 3, 49),
        Control("most", "Context sizes up to", "integer", 20, 2, 60),
    ),
    compute=compute,
    command=_command,
    slow=_slow,
    checks=(_readable, _inside),
)
