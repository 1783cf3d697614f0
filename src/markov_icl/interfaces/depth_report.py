"""The report's section on depth: Theorem 4.1 and Fig. 2."""

from __future__ import annotations

import html
from collections.abc import Iterable

from markov_icl.depth.profile import FRONTS
from markov_icl.experiments.depth_claims import preconditioned_descent
from markov_icl.experiments.fig02 import SCALES, figure_two
from markov_icl.interfaces.depth_plots import plot_figure_two
from markov_icl.interfaces.page import picture, table

__all__ = ["depth_section"]


def depth_section() -> str:
    """Return the section as HTML."""
    result = figure_two()
    scale = SCALES["quick"]
    finding = preconditioned_descent()
    rows = []
    for layer in range(result.losses.shape[1]):
        one = [p.layers[layer] for p in result.profiles]
        rows.append(
            (
                str(layer),
                _over(row.loss for row in one),
                _over(row.accuracy for row in one),
                *(_over(row.distance[name].mean for row in one) for name in FRONTS),
            )
        )
    header = ("layers", "loss", "accuracy", *(f"distance, {html.escape(text)}" for text in FRONTS.values()))
    bayes = result.profiles[0].bayes
    ceiling = f" Bayes: loss {bayes.loss:.4f}, accuracy {bayes.accuracy:.3f}." if bayes is not None else ""
    shown = picture(
        plot_figure_two(result),
        "Objectives of both groups, squared loss and distance to the Pareto front, layer by layer",
        f"The paper's Fig. 2: {result.losses.shape[1] - 1} restricted layers on prompts of 100 chains of length 5, "
        f"{scale.seeds} seeds, {scale.steps} steps of Adam on {scale.batch} fresh prompts each; the objectives are "
        f"means over {scale.prompts:,} prompts (first seed), the distances over {scale.fronts} prompts. "
        "<code>markov-icl layers --length 5 --context 100 --plot layers.png</code>",
    )
    return (
        f"<h2>Depth: layers as descent (Theorem 4.1, Fig. 2)</h2><p>{html.escape(finding.computed)}</p>"
        f"<p>Layer by layer, least to largest over {scale.seeds} seeds.{ceiling}</p>"
        + table(header, rows, numeric=True)
        + shown
    )


def _over(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.3f} to {found[-1]:.3f}"
