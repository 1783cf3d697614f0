"""The report's table of Fig. 2, layer by layer."""

from __future__ import annotations

import html
from collections.abc import Iterable

from markov_icl.depth.profile import FRONTS
from markov_icl.experiments.figures.fig02 import FigureTwo
from markov_icl.interfaces.report.page import table

__all__ = ["layer_table"]


def layer_table(result: FigureTwo) -> str:
    """Return losses, accuracies and distances to the fronts, least to largest over seeds, as HTML."""
    columns = (result.losses, result.accuracies, *(result.distances[name] for name in FRONTS))
    rows = [(str(k), *(_over(column[:, k]) for column in columns)) for k in range(result.losses.shape[1])]
    header = ("layers", "loss", "accuracy", *(f"distance, {html.escape(text)}" for text in FRONTS.values()))
    ceiling = f"Bayes: loss {result.bayes[0]:.4f}, accuracy {result.bayes[1]:.3f}."
    text = f"<p>Layer by layer, least to largest over {len(result.losses)} seeds. {ceiling}</p>"
    return text + table(header, rows, numeric=True)


def _over(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.3f} to {found[-1]:.3f}"
