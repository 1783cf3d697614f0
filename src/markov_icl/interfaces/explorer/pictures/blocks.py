"""The picture of ``X*``: every block as the upper triangle it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.features import split_blocks, vech_indices
from markov_icl.interfaces.explorer.pictures.colours import text_on
from markov_icl.interfaces.explorer.pictures.drawing import SIGNED

if TYPE_CHECKING:
    from markov_icl.landscape.closed_form import ClosedForm

__all__ = ["blocks_alt", "draw_blocks"]

_BETWEEN, _AROUND = 44, 104
"""Pixels between rows of blocks, and above and below them all."""


def draw_blocks(form: ClosedForm) -> dict[str, Any]:
    """Return a figure of every block of ``X*`` as the upper triangle it is, one scale for all."""
    blocks = split_blocks(form.X, form.moments.blocks)
    J, D = len(blocks), form.moments.dimension
    columns = _columns(J)
    lines = -(-J // columns)
    height = round(lines * (300 if J == 1 else 430 / columns) + _BETWEEN * (lines - 1) + _AROUND)
    top = float(np.abs(form.X).max()) or 1.0
    bar = {"orientation": "h", "y": -30 / (height - _AROUND), "yanchor": "top", "len": 0.7, "thickness": 10}
    scale = {"colorscale": [list(stop) for stop in SIGNED], "cmin": -top, "cmax": top}
    layout: dict[str, Any] = {
        "height": height,
        "coloraxis": {**scale, "colorbar": {**bar, "outlinewidth": 0}},
        "margin": {"l": 24, "r": 8, "t": 28, "b": _AROUND - 28},
        "showlegend": False,
        "annotations": [],
    }
    data: list[dict[str, Any]] = []
    ticks = list(range(1, D + 1)) if D <= 6 or columns <= 2 else []
    for j, block in enumerate(blocks):
        x, y = (
            _domain(j % columns, columns, 0.06),
            _domain(lines - 1 - j // columns, lines, _BETWEEN / (height - _AROUND)),
        )
        for letter, domain, ends in (("x", x, [0.5, D + 0.5]), ("y", y, [D + 0.5, 0.5])):
            layout[f"{letter}axis{j + 1}"] = {
                "domain": domain,
                "anchor": f"{'y' if letter == 'x' else 'x'}{j + 1}",
                "range": ends,
                "tickvals": ticks,
                "showgrid": False,
                "zeroline": False,
                "showline": False,
                "ticks": "",
            }
        name = {"text": f"block {j + 1}", "x": sum(x) / 2, "y": y[1], "xref": "paper", "yref": "paper"}
        layout["annotations"].append({**name, "yanchor": "bottom", "showarrow": False})
        data += _block_traces(j, D, block, top, numbers=columns * D <= 8)
    return {"data": data, "layout": layout}


def _block_traces(j: int, D: int, block: Any, top: float, numbers: bool) -> list[dict[str, Any]]:
    rows, cols = vech_indices(D)
    square = np.full((D, D), np.nan)
    square[rows, cols] = block
    axes = {"xaxis": f"x{j + 1}", "yaxis": f"y{j + 1}"}
    heat = {
        "type": "heatmap",
        "z": square,
        "x": list(range(1, D + 1)),
        "y": list(range(1, D + 1)),
        "coloraxis": "coloraxis",
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": f"block {j + 1}, (%{{y}}, %{{x}}): %{{z:.6g}}<extra></extra>",
        **axes,
    }
    if not numbers:
        return [heat]
    text = {
        "type": "scatter",
        "x": cols + 1,
        "y": rows + 1,
        "mode": "text",
        "text": [f"{value:.2f}".replace("-", "−") for value in block],
        "textfont": {"size": 11, "color": [text_on(value / top) for value in block]},
        "hoverinfo": "skip",
        **axes,
    }
    return [heat, text]


def _domain(place: int, count: int, gap: float) -> list[float]:
    size = (1 - gap * (count - 1)) / count
    start = place * (size + gap)
    return [max(start, 0.0), min(start + size, 1.0)]


def _columns(blocks: int) -> int:
    return next(columns for most, columns in ((1, 1), (4, 2), (9, 3), (16, 4), (1000, 6)) if blocks <= most)


def blocks_alt(form: ClosedForm) -> str:
    """Return the picture in words."""
    J, D, top = form.moments.blocks, form.moments.dimension, float(np.abs(form.X).max())
    return f"{J} upper triangles of {D} by {D} coefficients of X*, blue negative and orange positive up to {top:.3g}"
