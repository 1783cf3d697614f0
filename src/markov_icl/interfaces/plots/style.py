"""The two colours of every picture, and a figure with its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "MARK", "new_figure"]

INK = "#1f3b57"
"""Colour of the result."""
MARK = "#c4501b"
"""Colour of what the picture is about: the optimum, the query, the ceiling."""


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, ``[rows, columns]``, each of ``width`` by ``height`` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, np.atleast_2d(figure.subplots(rows, columns, squeeze=False))
