"""Every page of the explorer, in the order of its navigation."""

from __future__ import annotations

from pathlib import Path

from markov_icl.interfaces.explorer.pages import attention, hardness, layers
from markov_icl.interfaces.explorer.pages.landscape import LANDSCAPE
from markov_icl.interfaces.explorer.pages.optimum import OPTIMUM
from markov_icl.interfaces.explorer.pages.realizability import REALIZABILITY
from markov_icl.interfaces.explorer.pages.runs import runs_view
from markov_icl.interfaces.explorer.view import View

__all__ = ["all_views"]


def all_views(store: Path | None = None) -> tuple[View, ...]:
    """Return the views; ``store`` is the folder of runs, that of the environment if None."""
    return (OPTIMUM, LANDSCAPE, REALIZABILITY, layers.VIEW, attention.VIEW, hardness.VIEW, runs_view(store))
