"""Every page of the explorer, in the order of its navigation."""

from __future__ import annotations

from pathlib import Path

from markov_icl.interfaces.explorer.pages import attention, hardness, landscape, layers, optimum, realizability, runs
from markov_icl.interfaces.explorer.view import View

__all__ = ["all_views"]


def all_views(store: Path | None = None) -> tuple[View, ...]:
    """Return the views; ``store`` is the folder of runs, that of the environment if None."""
    exact = (optimum.PAGE, landscape.PAGE, realizability.PAGE)
    return (*exact, layers.PAGE, attention.PAGE, hardness.PAGE, runs.PAGE if store is None else runs.page_of(store))
