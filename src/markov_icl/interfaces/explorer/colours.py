"""Colours of the explorer, safe for colour-blind eyes, and how a figure gets its light or dark look.

Views name the constants below; :func:`themed` replaces each by its counterpart when the reader prefers dark. Colour
scales are the same in both, so that a picture keeps its meaning.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BLUE",
    "DIVERGING",
    "GREEN",
    "INK",
    "LINE",
    "MUTED",
    "ORANGE",
    "PAPER",
    "PURPLE",
    "SEQUENTIAL",
    "SERIES",
    "text_on",
    "themed",
]

PAPER, INK, MUTED, LINE = "#ffffff", "#1c2733", "#55606e", "#d9dee5"
BLUE, ORANGE, GREEN, PURPLE = "#0b63a5", "#b84a00", "#1d7a4f", "#7a4a9e"
SERIES = (BLUE, ORANGE, GREEN, PURPLE)
"""Curves of one picture, in this order; give them different dashes or markers too."""

_DARK = {
    PAPER: "#14181d",
    INK: "#e6eaef",
    MUTED: "#a5b0bd",
    LINE: "#323b46",
    BLUE: "#6cb6f5",
    ORANGE: "#ff9e57",
    GREEN: "#5fcf9a",
    PURPLE: "#c9a2ec",
}

DIVERGING = [
    [0.0, "#08407e"],
    [0.25, "#5b9bcb"],
    [0.5, "#f7f6f2"],
    [0.75, "#e9975a"],
    [1.0, "#8a3703"],
]
"""Blue to orange with zero almost white; put zero in the middle with ``zmid=0``."""

SEQUENTIAL = "Cividis"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def text_on(share: float) -> str:
    """Return the colour of text on :data:`DIVERGING` at ``share`` in [-1, 1] of its range."""
    return "#ffffff" if abs(share) > 0.72 else "#15202b"


def themed(figure: dict[str, Any], dark: bool) -> dict[str, Any]:
    """Return a figure as plain data with the template and the colours of the light or dark page."""
    painted = _painted(figure, _DARK) if dark else figure
    layout = {**painted.get("layout", {}), "template": template(dark)}
    return {"data": painted.get("data", []), "layout": layout}


def template(dark: bool) -> dict[str, Any]:
    """Return the plotly template of the page: quiet axes, no background of its own."""
    axis = {
        "automargin": True,
        "gridcolor": LINE,
        "linecolor": MUTED,
        "zerolinecolor": LINE,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": LINE,
        "title": {"standoff": 8},
    }
    layout = {
        "font": {"family": FONT, "size": 13, "color": INK},
        "title": {"font": {"size": 14, "color": INK}, "x": 0, "xref": "paper", "xanchor": "left"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(SERIES),
        "xaxis": axis,
        "yaxis": axis,
        "margin": {"l": 56, "r": 16, "t": 40, "b": 48},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"family": FONT, "size": 13, "color": INK}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "annotationdefaults": {"font": {"color": INK}, "arrowcolor": MUTED},
    }
    bar = {"outlinewidth": 0, "thickness": 12, "ticklen": 4, "tickcolor": LINE}
    data = {kind: [{"colorbar": bar}] for kind in ("heatmap", "contour")}
    made = {"layout": layout, "data": data}
    return _painted(made, _DARK) if dark else made


def _painted(value: Any, colours: dict[str, str]) -> Any:
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, dict):
        return {key: _painted(one, colours) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_painted(one, colours) for one in value]
    return value
