"""The paper's figures from finished runs: means over seeds, their deviation as a band, ceilings and exact values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.experiments.figures import fig02, fig03, fig04, fig05, fig06, fig07
from markov_icl.experiments.runs.points import FinishedRun, Series, curves, series
from markov_icl.interfaces.plots.depth import plot_figure_two
from markov_icl.interfaces.plots.optimum import plot_slices
from markov_icl.interfaces.plots.own_figures import OWN_PLOTS
from markov_icl.interfaces.plots.style import INK, MARK, new_figure
from markov_icl.landscape.slices import Slices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "plot_fig2", "plot_fig3", "plot_fig4", "plot_fig5", "plot_fig6", "plot_fig7", "plot_fig10"]

_COLOURS = (INK, MARK, "#4b8b3b", "#7a4fa3", "#b08900")


def _band(axis: Any, line: Series, colour: str, label: str, style: str = "o-") -> None:
    axis.plot(line.x, line.mean, style, color=colour, ms=4, lw=1.6, label=label)
    if len(line.values) > 1:
        axis.fill_between(
            line.x, line.mean - line.deviation, line.mean + line.deviation, color=colour, alpha=0.18, lw=0
        )


def _level(axis: Any, value: float, label: str, style: str, colour: str = "k") -> None:
    axis.axhline(value, color=colour, ls=style, lw=1.2, label=label)


def plot_fig4(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw both loss curves over the seeds beside the certified minimum and Bayes, and their exact final losses."""
    figure, axes = new_figure(1, 2, 5.0, 3.6)
    left, right = axes[0]
    best = series(outcomes, "best layer", "population loss").values[0, 0]
    for form, colour in zip(fig04.FORMS, _COLOURS, strict=False):
        line = series(outcomes, form, "loss")
        _band(left, line, colour, f"{form}, {len(line.values)} seeds", "-")
        excess = series(outcomes, form, "population loss").values[:, -1] - best
        right.plot(np.full(len(excess), fig04.FORMS.index(form)), np.maximum(excess, 1e-9), "o", color=colour)
    _level(left, best, "certified minimum", "--")
    _level(left, series(outcomes, "Bayes", "loss").values[0, 0], "Bayes", ":")
    left.set_xlabel("steps")
    left.set_ylabel("loss on fresh prompts")
    left.legend(fontsize=8, frameon=False)
    right.set_yscale("log")
    right.set_xticks(range(len(fig04.FORMS)), fig04.FORMS)
    right.set_xlim(-0.5, len(fig04.FORMS) - 0.5)
    right.set_ylabel("exact final loss above the minimum")
    return figure


def plot_fig5(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw accuracy against ``d``: as published, on fresh prompts, and the exact points; the ceiling in black."""
    figure, axes = new_figure(1, 2, 5.6, 4.0)
    left, right = axes[0]
    names = (fig05.OWN, fig05.FRESH, fig05.OPTIMUM, fig05.BEST, fig05.ADAM)
    for name, colour in zip(names, _COLOURS, strict=True):
        exact = name in (fig05.OPTIMUM, fig05.BEST)
        _band(left, series(outcomes, name, "accuracy"), colour, name, "s--" if exact else "o-")
    ceiling = series(outcomes, fig05.BAYES, "accuracy")
    left.plot(ceiling.x, ceiling.mean, "k:", lw=1.8, label="Bayes ceiling")
    left.set_ylabel("accuracy")
    left.legend(fontsize=7, frameon=False)
    best, optimum = (series(outcomes, name, "population loss") for name in (fig05.BEST, fig05.OPTIMUM))
    right.plot(best.x, best.mean, "s--", color=_COLOURS[3], ms=4, label=fig05.BEST)
    right.plot(optimum.x, optimum.mean, "s--", color=_COLOURS[2], ms=4, label=fig05.OPTIMUM)
    bayes = series(outcomes, fig05.BAYES, "loss")
    right.plot(bayes.x, bayes.mean, "k:", lw=1.8, label="Bayes")
    right.set_ylabel("loss over all prompts")
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.set_xlabel("d")
        axis.set_xticks(ceiling.x)
    return figure


def plot_fig3(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw accuracy against layers, a panel a prior, with each number of states below its ceiling."""
    figure, axes = new_figure(1, len(fig03.PRIORS), 3.8, 3.8)
    for axis, prior in zip(axes[0], fig03.PRIORS, strict=True):
        for states, colour in zip(fig03.STATES, _COLOURS, strict=False):
            name = fig03.curve_name(states, prior)
            _band(axis, series(outcomes, name, "accuracy"), colour, f"{states} states")
            _level(axis, series(outcomes, name, "Bayes, accuracy").values[0, 0], "", ":", colour)
            if states > 2:
                _level(axis, series(outcomes, name, "Bayes, rounded mean, accuracy").values[0, 0], "", "-.", colour)
        axis.plot(list(fig03.PAPER), list(fig03.PAPER.values()), "x", color="k", ms=8, label="paper, 3 states")
        axis.set_title(f"rows Dirichlet({prior})", fontsize=10)
        axis.set_xticks(fig03.LAYERS)
        axis.set_xlabel("layers")
        axis.set_ylim(0, 1.02)
    axes[0, 0].set_ylabel("accuracy (dotted: Bayes; dash-dotted: Bayes rounded)", fontsize=8)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def plot_fig10(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw the loss along each coordinate with the minimizer marked."""
    names = curves(outcomes, "loss")
    lines = [series(outcomes, name, "loss") for name in names]
    marks = [series(outcomes, name, "minimizer") for name in names]
    values, losses = np.array([line.x for line in lines]), np.array([line.values[0] for line in lines])
    places, loss = np.array([mark.x[0] for mark in marks]), float(marks[0].values[0, 0])
    return plot_slices(Slices(tuple(range(len(names))), tuple(names), values, losses, places, loss))


def plot_fig6(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw accuracy against context, a panel a law of first states; bars: 90% bootstrap intervals of seed 0."""
    figure, axes = new_figure(1, len(fig06.LAWS), 5.2, 4.0)
    for axis, law in zip(axes[0], fig06.LAWS, strict=True):
        for name in (n for n in curves(outcomes, "accuracy") if n.endswith(f", {law}")):
            label = name.removesuffix(f", {law}")
            line = series(outcomes, name, "accuracy")
            if label == "Bayes":
                axis.plot(line.x, line.mean, "k:", lw=1.8, label="Bayes ceiling")
                continue
            colour = _COLOURS[(fig06.BASELINES.index(label) if label in fig06.BASELINES else 4) % len(_COLOURS)]
            low, high = (series(outcomes, name, f"accuracy, {q}%").values[0] for q in (5, 95))
            middle = line.values[0]
            spread = np.stack([np.maximum(middle - low, 0), np.maximum(high - middle, 0)])
            axis.errorbar(line.x, middle, spread, fmt="o", ms=3, color=colour, capsize=2, lw=1)
            _band(axis, line, colour, label if label in fig06.BASELINES else f"{label}, {len(line.values)} seeds", "-")
        axis.set_xscale("log")
        axis.set_xticks(line.x, [f"{v:g}" for v in line.x])
        axis.minorticks_off()
        axis.set_xlabel("context chains")
        axis.set_title(f"{law} first states", fontsize=10)
    axes[0, 0].set_ylabel("accuracy")
    axes[0, 0].legend(fontsize=7, frameon=False)
    return figure


def plot_fig7(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw seed 0's maps (rows over their mean) beside similarity, a row a number of kernels, then the contrast."""
    layers = [m for m in dict.fromkeys(p.measure for p in outcomes[0].points) if m.startswith("attention")]
    figure, axes = new_figure(len(fig07.GROUPS), len(layers) + 2, 2.7, 2.6)
    for row, groups in zip(axes, fig07.GROUPS, strict=True):
        name = f"{groups} kernels, {fig07.ORDERS[0]}"
        for axis, measure in zip(row, ("similarity", *layers), strict=False):
            axis.imshow(_map(outcomes[0], name, measure), cmap="viridis")
            axis.set_title(f"{groups} kernel{'s' * (groups > 1)}: {measure}", fontsize=8)
            axis.tick_params(labelsize=6)
        if groups == 1:
            row[-1].set_visible(False)
            continue
        for order, colour in zip(fig07.ORDERS, _COLOURS, strict=False):
            _band(row[-1], series(outcomes, f"{groups} kernels, {order}", "within minus between"), colour, order)
        row[-1].axhline(0, color="0.6", lw=0.8)
        row[-1].set_title("same kernel minus others", fontsize=8)
        row[-1].set_xlabel("layer", fontsize=8)
        row[-1].set_xticks(range(1, len(layers) + 1))
        row[-1].legend(fontsize=6, frameon=False)
    return figure


def _map(outcome: FinishedRun, curve: str, measure: str) -> np.ndarray:
    cells = [p for p in outcome.points if (p.curve, p.measure) == (curve, measure) and p.y is not None]
    size = 1 + int(max(p.x for p in cells))
    values = np.full((size, size), np.nan)
    for p in cells:
        assert p.y is not None
        values[int(p.x), int(p.y)] = p.value
    if measure != "similarity":
        values[np.triu_indices(size)] = np.nan  # a chain's look at itself would hide the others; later ones get none
        values[:2] = np.nan
        values[2:] /= np.nanmean(values[2:], axis=1, keepdims=True)  # late chains spread the same sum over more
    return values


def plot_fig2(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw the objectives, losses and distances to the fronts, layer by layer."""
    return plot_figure_two(fig02.assemble(outcomes))


PLOTS = {
    "fig2": plot_fig2,
    "fig3": plot_fig3,
    "fig4": plot_fig4,
    "fig5": plot_fig5,
    "fig6": plot_fig6,
    "fig7": plot_fig7,
    "fig10": plot_fig10,
    **OWN_PLOTS,
}
"""Name of a figure to what draws it."""
