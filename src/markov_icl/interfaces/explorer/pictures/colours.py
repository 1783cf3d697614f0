"""The light and the dark look of every figure: what a view leaves unsaid, the page's template says.

A view may name the constants below; :func:`themed` replaces each by its counterpart when the reader prefers dark.
Colours of data are in :mod:`.drawing` and are the same in both, so that a picture keeps its meaning.
"""

from __future__ import annotations

from typing import Any

from markov_icl.interfaces.explorer.pictures.drawing import SIGNED

__all__ = ["INK", "LINE", "PAPER", "QUIET", "template", "text_on", "themed"]

PAPER, INK, QUIET, LINE = "#fffffe", "#1c2733", "#55606e", "#d9dee5"
_DARK = {PAPER: "#14181d", INK: "#e6eaef", QUIET: "#a5b0bd", LINE: "#323b46"}
_EVEN = 0.179
"""The relative luminance on which black and white stand out alike, 4.58 to 1."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def text_on(share: float) -> str:
    """Return black or white, whichever stands out on the scale of signed quantities at ``share`` in [-1, 1]."""
    place = (share + 1) / 2
    upper = next((k for k, (stop, _) in enumerate(SIGNED) if stop >= place and k), len(SIGNED) - 1)
    (low, one), (high, other) = SIGNED[upper - 1], SIGNED[upper]
    weight = min(max((place - low) / (high - low), 0.0), 1.0)
    mixed = [(1 - weight) * int(one[k : k + 2], 16) + weight * int(other[k : k + 2], 16) for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in mixed)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < _EVEN else "#000000"


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
        "linecolor": QUIET,
        "zerolinecolor": LINE,
        "tickcolor": QUIET,
        "title": {"standoff": 8, "font": {"size": 13}},
    }
    font = {"family": _FONT, "size": 13, "color": INK}
    layout = {
        "font": font,
        "title": {"font": {"size": 14, "color": INK}, "x": 0, "xref": "paper", "xanchor": "left"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis,
        "yaxis": axis,
        "margin": {"l": 56, "r": 16, "t": 40, "b": 48},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": QUIET, "font": font},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "annotationdefaults": {"font": {"color": INK}, "arrowcolor": QUIET},
    }
    bar = {"outlinewidth": 0, "thickness": 12}
    made = {"layout": layout, "data": {kind: [{"colorbar": bar}] for kind in ("heatmap", "contour")}}
    return _painted(made, _DARK) if dark else made


def _painted(value: Any, colours: dict[str, str]) -> Any:
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, dict):
        return {key: _painted(one, colours) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_painted(one, colours) for one in value]
    return value
