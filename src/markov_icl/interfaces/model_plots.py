"""Pictures of trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from markov_icl.interfaces.plots import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from markov_icl.experiments.placement import Placement
    from markov_icl.models.population import PopulationResult
    from markov_icl.models.training import TrainResult

__all__ = ["plot_population", "plot_training"]


def plot_training(result: TrainResult, placed: Placement) -> Figure:
    """Draw the training loss, the held-out scores and the levels they are measured by."""
    figure, axes = new_figure(1, 1, 6.6, 4.0)
    axis = axes[0, 0]
    steps = np.arange(1, len(result.losses) + 1)
    axis.plot(steps, result.losses, color=INK, lw=0.6, alpha=0.35, label="batch loss")
    width = max(len(steps) // 50, 1)
    smooth = np.convolve(result.losses, np.ones(width) / width, "valid")
    axis.plot(steps[width - 1 :], smooth, color=INK, lw=1.6, label=f"mean of {width} steps")
    at = [one.step for one in result.evaluations]
    bars = [3 * one.loss_se for one in result.evaluations]
    held_out = [one.loss for one in result.evaluations]
    axis.errorbar(at, held_out, bars, fmt="o", color=MARK, ms=4, capsize=3, label="held out, 3 standard errors")
    _levels(axis, placed)
    low = min([*held_out, *([placed.bayes.loss] if placed.bayes else []), float(smooth.min())])
    axis.set_ylim(low - 0.08 * (float(np.median(result.losses)) - low) - 0.005, float(np.percentile(result.losses, 98)))
    axis.set_xlabel("step")
    axis.set_ylabel("mean squared error")
    axis.legend(fontsize=8, frameon=False)
    return figure


def _levels(axis: Axes, placed: Placement) -> None:
    for k, loss in enumerate(placed.minima[:6]):
        label = "local minima of one layer" if k == 0 else None
        axis.axhline(loss, color=MARK, ls=":", lw=1, label=label)
    if placed.floor is not None:
        axis.axhline(placed.floor, color="0.5", ls="--", lw=1, label=f"enlarged optimum, {placed.floor:.5g}")
    if placed.bayes is not None:
        axis.axhline(placed.bayes.loss, color="k", lw=1, label=f"Bayes, {placed.bayes.loss:.5g}")


def plot_population(result: PopulationResult, placed: Placement) -> Figure:
    """Draw the population loss above the final one, step by step, on a logarithmic axis."""
    figure, axes = new_figure(1, 1, 6.0, 3.8)
    axis = axes[0, 0]
    best = float(placed.minima[0]) if len(placed.minima) else result.loss
    excess = result.losses - min(best, result.loss)
    shown = excess > 0
    axis.semilogy(np.flatnonzero(shown), excess[shown], color=INK, lw=1.5)
    axis.set_xlabel(f"{result.optimizer} step")
    axis.set_ylabel("population loss minus the best minimum found")
    axis.set_title(f"ends at {result.loss:.10g}", fontsize=10)
    return figure
