"""What the explorer's pictures share: colours, an empty figure, a heat map. Results go in, nothing is computed.

Backgrounds and text are left to the page, which sets them for light and dark; the colours here stand on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["COLOURS", "FAINT", "MUTED", "SEQUENCE", "SIGNED", "cell_text", "heat_map", "largest", "new_figure"]

COLOURS = ("#3b7dbd", "#d0591c", "#0f9274", "#b0679b", "#a9780c", "#6f7fd0")
"""Blue, vermilion, green, purple, amber, indigo: apart for the colour-blind, and at least 3:1 on white and on black."""

MUTED = "rgba(128, 128, 128, 0.85)"
FAINT = "rgba(128, 128, 128, 0.3)"

SEQUENCE = "Cividis"
"""Colour scale of quantities."""

SIGNED = ((0.0, "#1f5a96"), (0.25, "#78aad3"), (0.5, "#f2efe9"), (0.75, "#e0955f"), (1.0, "#a8430f"))
"""Colour scale of signed quantities, with 0 in its middle."""


def new_figure(height: int, rows: int = 1, columns: int = 1, **subplots: Any) -> go.Figure:
    """Return an empty figure on a transparent ground, ``height`` pixels high and as wide as its place.

    Args:
        height: in pixels.
        rows: panels above each other.
        columns: panels side by side.
        subplots: for ``plotly.subplots.make_subplots``.
    """
    import plotly.graph_objects as go

    axis = {"gridcolor": FAINT, "zerolinecolor": FAINT, "linecolor": MUTED, "automargin": True}
    layout: dict[str, Any] = {
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 48, "b": 48},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "hoverlabel": {"namelength": -1},
    }
    if rows == columns == 1 and not subplots:  # in milliseconds: every further call on a figure checks all of it
        return go.Figure(layout={**layout, "xaxis": axis, "yaxis": axis})
    from plotly.subplots import make_subplots

    figure = make_subplots(rows, columns, **subplots)
    figure.update_layout(layout)
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_annotations(font_size=13)
    return figure


def heat_map(
    values: NDArray[Any],
    x: Sequence[Any] | None = None,
    y: Sequence[Any] | None = None,
    *,
    signed: bool = False,
    hover: str = "%{z:.4g}<extra></extra>",
    bar: dict[str, Any] | None = None,
) -> go.Heatmap:
    """Return a heat map with the first row on top (on an axis drawn reversed); nan cells stay empty.

    Args:
        values: one cell each, ``[rows, columns]``.
        x: names of the columns.
        y: names of the rows.
        signed: whether the scale runs from minus the largest size to it, rather than from 0.
        hover: template of the words beside the pointer.
        bar: of the colours; none if None.
    """
    import plotly.graph_objects as go

    most = largest(values)
    return go.Heatmap(
        z=values,
        x=None if x is None else list(x),
        y=None if y is None else list(y),
        zmin=-most if signed else 0.0,
        zmax=most,
        colorscale=[list(stop) for stop in SIGNED] if signed else SEQUENCE,
        showscale=bar is not None,
        colorbar=bar,
        xgap=1,
        ygap=1,
        hovertemplate=hover,
        hoverongaps=False,
    )


def largest(values: NDArray[Any]) -> float:
    """Return the largest size of the finite values, a little above 0 if there is none."""
    finite = values[np.isfinite(values)]
    return max(float(np.abs(finite).max()) if finite.size else 0.0, 1e-12)


def _written(value: float, digits: str) -> str:
    """Return a number without the sign of what is rounded to 0."""
    text = format(value, digits)
    return text if float(text) else text.lstrip("-")


def cell_text(
    values: NDArray[Any], x: Sequence[Any], y: Sequence[Any], digits: str, colour: Callable[[float], str]
) -> go.Scatter:
    """Return the numbers of a heat map, which plotly would write in colours of its own.

    Args:
        values: one cell each, ``[rows, columns]``; nan cells get none.
        x: names of the columns.
        y: names of the rows.
        digits: format of a number, such as ``.2f``.
        colour: of the text on a value.
    """
    import plotly.graph_objects as go

    cells = [(x[k], y[i], float(values[i, k])) for i, k in np.ndindex(*values.shape) if np.isfinite(values[i, k])]
    return go.Scatter(
        x=[cell[0] for cell in cells],
        y=[cell[1] for cell in cells],
        text=[_written(cell[2], digits) for cell in cells],
        mode="text",
        textfont={"size": 11, "color": [colour(cell[2]) for cell in cells]},
        hoverinfo="skip",
        showlegend=False,
    )
