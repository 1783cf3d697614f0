"""Our own figures from finished runs: map, certified gap, heads, local minima, hardness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from markov_icl.experiments.figures import gap as gap_figure
from markov_icl.experiments.figures import hardness as hardness_figure
from markov_icl.experiments.figures import map as map_figure
from markov_icl.experiments.figures import minima as minima_figure
from markov_icl.experiments.runs.points import FinishedRun, curves, series
from markov_icl.interfaces.plots.optimum import plot_map
from markov_icl.interfaces.plots.style import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "OWN_PLOTS",
    "plot_gap_figure",
    "plot_hardness",
    "plot_heads_curves",
    "plot_map_figure",
    "plot_minima_shares",
]

_MARKERS = "osD^v<>phx"


def plot_map_figure(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw the discriminant over ``(n, p)`` with the unreachable part hatched, and the theorem's ``b_2``."""
    return plot_map(map_figure.assemble(outcomes))


def plot_gap_figure(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw ``f* - f~*`` against length and against context; bars span the certified interval."""
    gap = gap_figure.assemble(outcomes)
    figure, axes = new_figure(1, 2, 5.4, 3.9)
    left, right = axes[0]
    low, high = np.maximum(gap.lower - gap.floor, 0), gap.upper - gap.floor
    middle, bars = (low + high) / 2, (high - low) / 2
    shown = high > outcomes[0].spec.settings["tolerance"]  # below it there is nothing to see
    chosen = [k for k, n in enumerate(gap.contexts) if str(n)[0] == "1"]
    for k, marker in zip(chosen, _MARKERS, strict=False):
        at = shown[:, k]
        left.errorbar(
            np.array(gap.lengths)[at], middle[at, k], bars[at, k], marker=marker, capsize=3, ms=4,
            label=f"n = {gap.contexts[k]}",
        )  # fmt: skip
    for i, marker in zip(range(len(gap.lengths)), _MARKERS, strict=False):
        at = shown[i]
        right.errorbar(
            np.array(gap.contexts)[at], middle[i, at], bars[i, at], marker=marker, capsize=3, ms=4,
            label=f"length {gap.lengths[i]}",
        )  # fmt: skip
    left.set_xticks(gap.lengths)
    left.set_xlabel("length")
    left.set_ylabel("certified gap to the enlarged optimum")
    right.set_xscale("log")
    right.set_xlabel("context n")
    for axis in (left, right):
        axis.set_yscale("log")
        axis.legend(fontsize=7, frameon=False)
    return figure


def plot_heads_curves(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw the gap against the number of heads, a panel a context; where there is none the curve ends in a bar."""
    names = curves(outcomes, "loss")
    contexts = sorted({int(name.rpartition("n = ")[2]) for name in names})
    figure, axes = new_figure(1, len(contexts), 3.6, 3.6)
    tolerance = outcomes[0].spec.settings["tolerance"]
    for axis, n in zip(axes[0], contexts, strict=True):
        for k, name in enumerate(sorted(one for one in names if one.endswith(f"n = {n}"))):
            line = series(outcomes, name, "gap")
            gaps = line.values[0]
            colour, there = f"C{k}", gaps > tolerance
            axis.plot(line.x[there], gaps[there], "o-", color=colour, ms=4, label=name.partition(",")[0])
            first = line.x[~there][0]
            axis.plot([first], [0.02], "|", color=colour, ms=14, mew=3, transform=axis.get_xaxis_transform())
        axis.set_yscale("log")
        axis.set_xticks(range(1, 1 + max(int(series(outcomes, one, "gap").x[-1]) for one in names)))
        axis.set_xlabel("heads (bar: no gap from here on)")
        axis.set_title(f"n = {n}", fontsize=10)
    axes[0, 0].set_ylabel("best loss minus enlarged optimum")
    axes[0, -1].legend(fontsize=8, frameon=False)
    return figure


def plot_minima_shares(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw each minimum's share of starts against its excess loss, and the chance that k starts all miss the best."""
    found = minima_figure.basins(outcomes)
    figure, axes = new_figure(1, 2, 5.4, 3.9)
    left, right = axes[0]
    k = np.unique(np.round(np.geomspace(1, 100, 40)))
    for index, (name, one) in enumerate(found.items()):
        colour, marker = f"C{index}", _MARKERS[index % len(_MARKERS)]
        excess = np.maximum(one.losses - one.losses[0], 0)
        deviation = one.shares.std(0, ddof=1) if len(one.shares) > 1 else np.zeros(len(one.losses))
        left.errorbar(
            excess, one.shares.mean(0), deviation, fmt=f"{marker}-", color=colour, capsize=3, ms=4, label=name
        )
        right.loglog(k, (1 - one.global_share.mean()) ** k, color=colour, label=name)
    left.set_xscale("symlog", linthresh=1e-4)
    left.set_xlim(left=-3e-5)
    left.set_ylim(0, 1.02)
    left.set_xlabel("loss above the lowest minimum (at 0: the global one)")
    left.set_ylabel("share of random starts")
    right.set_ylim(1e-3, 1.2)
    right.set_xlabel("random starts")
    right.set_ylabel("chance that all miss the global minimum")
    left.legend(fontsize=7, frameon=False)
    return figure


def plot_hardness(outcomes: Sequence[FinishedRun]) -> Figure:
    """Draw branch and bound nodes against ``d``; open marks met the limit, exact recovery needs no branching."""
    figure, axes = new_figure(1, 1, 6.0, 4.2)
    axis = axes[0, 0]
    limit = outcomes[0].spec.settings["nodes"]
    for name, marker, colour in ((hardness_figure.NEAREST, "s", MARK), (hardness_figure.GENERAL, "^", "#5b7f3a")):
        nodes, solved = series(outcomes, name, "nodes"), series(outcomes, name, "solved")
        axis.plot(nodes.x, np.nanmedian(nodes.values, 0), "-", color=colour, label=f"{name}, SCIP (median)")
        for values, done in zip(nodes.values, solved.values, strict=True):
            axis.plot(nodes.x[done == 1], values[done == 1], marker, color=colour, ms=5)
            axis.plot(nodes.x[done == 0], values[done == 0], marker, color=colour, ms=7, mfc="w")
    exact = series(outcomes, hardness_figure.EXACT, "nodes")
    axis.plot(exact.x, np.full(len(exact.x), 0.5), "o-", color=INK, label=f"{hardness_figure.EXACT}: no branching")
    axis.axhline(limit, color="0.6", ls=":", lw=1, label="limit (open marks)")
    axis.set_xscale("log")
    axis.set_yscale("log")
    ticks = sorted({*exact.x, *series(outcomes, hardness_figure.GENERAL, "nodes").x})
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_xlabel("d")
    axis.set_ylabel("nodes of branch and bound")
    axis.legend(fontsize=8, frameon=False, loc="center right")
    return figure


OWN_PLOTS = {
    "map": plot_map_figure,
    "gap": plot_gap_figure,
    "heads": plot_heads_curves,
    "minima": plot_minima_shares,
    "hardness": plot_hardness,
}
"""Name of a figure to what draws it."""
