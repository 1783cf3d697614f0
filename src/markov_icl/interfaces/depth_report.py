"""The report's section on depth: Theorem 4.1 and Fig. 2."""

from __future__ import annotations

import html
from collections.abc import Iterable

from markov_icl.depth.profile import FRONTS
from markov_icl.experiments.depth_claims import preconditioned_descent
from markov_icl.experiments.fig02 import SCALES
from markov_icl.experiments.finished import figure_two
from markov_icl.interfaces.depth_plots import plot_figure_two
from markov_icl.interfaces.page import picture, table

__all__ = ["depth_section"]


def depth_section() -> str:
    """Return the section as HTML."""
    result = figure_two()
    scale = SCALES["quick"]
    finding = preconditioned_descent()
    columns = (result.losses, result.accuracies, *(result.distances[name] for name in FRONTS))
    rows = [(str(k), *(_over(column[:, k]) for column in columns)) for k in range(result.losses.shape[1])]
    header = ("layers", "loss", "accuracy", *(f"distance, {html.escape(text)}" for text in FRONTS.values()))
    ceiling = f" Bayes: loss {result.bayes[0]:.4f}, accuracy {result.bayes[1]:.3f}."
    shown = picture(
        plot_figure_two(result),
        "Objectives of both groups, squared loss and distance to the Pareto front, layer by layer",
        f"The paper's Fig. 2: {result.losses.shape[1] - 1} restricted layers on prompts of 100 chains of length 5, "
        f"{len(result.losses)} seeds, {scale.steps} steps of Adam on {scale.batch} fresh prompts each; objectives are "
        f"means over {scale.prompts:,} prompts (first seed), the distances over {result.front_prompts} prompts. "
        "<code>markov-icl reproduce fig2</code>",
    )
    return (
        f"<h2>Depth: layers as descent (Theorem 4.1, Fig. 2)</h2><p>{html.escape(finding.computed)}</p>"
        f"<p>Layer by layer, least to largest over {len(result.losses)} seeds.{ceiling}</p>"
        + table(header, rows, numeric=True)
        + shown
    )


def _over(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.3f} to {found[-1]:.3f}"
