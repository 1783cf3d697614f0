"""The ladder of losses as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.colours import INK, QUIET
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS

if TYPE_CHECKING:
    from markov_icl.analysis.ladder import Rung

__all__ = ["draw_ladder", "ladder_alt"]


def draw_ladder(rungs: tuple[Rung, ...]) -> dict[str, Any]:
    """Return a figure of the losses as bars from 0, the largest on top, each with its number."""
    names = [rung.name for rung in rungs]
    losses = [rung.loss for rung in rungs]
    marks = {"always 0": QUIET, "best con": QUIET, "one laye": COLOURS[1], "Bayes": COLOURS[2]}
    colours = [marks.get(name[:8], COLOURS[0]) for name in names]
    bars = {
        "type": "bar",
        "x": losses,
        "y": names,
        "orientation": "h",
        "width": 0.5,
        "marker": {"color": colours},
        "customdata": [f"{rung.kind}: {rung.note}" for rung in rungs],
        "hovertemplate": "%{y}<br>%{x:.8g}<br>%{customdata}<extra></extra>",
    }
    unsure = [rung for rung in rungs if rung.error]
    errors = {
        "type": "scatter",
        "x": [rung.loss for rung in unsure],
        "y": [rung.name for rung in unsure],
        "mode": "markers",
        "marker": {"size": 1, "color": INK},
        "error_x": {"array": [2 * rung.error for rung in unsure], "color": INK, "thickness": 1.5, "width": 5},
        "hoverinfo": "skip",
    }
    numbers = [
        {
            "x": rung.loss + 2 * rung.error,
            "y": rung.name,
            "text": f"{rung.loss:.5f}",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 6,
        }
        for rung in rungs
    ]
    layout = {
        "height": 60 * len(rungs) + 110,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 48},
        "xaxis": {"title": {"text": "loss, squared states"}, "range": [0, 1.25 * max(losses)], "nticks": 5},
        "yaxis": {"autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6},
        "annotations": numbers,
    }
    return {"data": [bars, errors], "layout": layout}


def ladder_alt(rungs: tuple[Rung, ...]) -> str:
    """Return the picture in words."""
    return "Bars of losses: " + "; ".join(f"{rung.name} {rung.loss:.5f}" for rung in rungs)
