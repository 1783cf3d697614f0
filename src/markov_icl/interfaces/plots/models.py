"""Pictures of trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.interfaces.plots.style import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from markov_icl.analysis.kernel_attention import KernelAttention
    from markov_icl.analysis.standing import Standing
    from markov_icl.models.population import PopulationResult
    from markov_icl.models.training import TrainResult

__all__ = ["plot_attention", "plot_population", "plot_training"]


def plot_training(result: TrainResult, placed: Standing) -> Figure:
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


def _levels(axis: Axes, placed: Standing) -> None:
    for k, loss in enumerate(placed.minima[:6]):
        label = "local minima of one layer" if k == 0 else None
        axis.axhline(loss, color=MARK, ls=":", lw=1, label=label)
    if placed.floor is not None:
        axis.axhline(placed.floor, color="0.5", ls="--", lw=1, label=f"enlarged optimum, {placed.floor:.5g}")
    if placed.bayes is not None:
        axis.axhline(placed.bayes.loss, color="k", lw=1, label=f"Bayes, {placed.bayes.loss:.5g}")


def plot_population(result: PopulationResult, placed: Standing) -> Figure:
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


def plot_attention(found: KernelAttention) -> Figure:
    """Draw similarity, every layer's map, and attention to the same kernel minus others; means over prompts."""
    kernels, maps = int(found.kernel.max()) + 1, [one.mean(0) for one in found.shares]
    framed = kernels if (np.diff(found.kernel, axis=1) >= 0).all() else 1
    middle = 0.0 if min(np.nanmin(one) for one in maps) < 0 else 1.0
    away = max(float(np.nanquantile(np.abs(one - middle), 0.99)) for one in maps) or 1.0
    scale = {"cmap": "RdBu_r", "vmin": middle - away, "vmax": middle + away}
    alike = np.where(np.eye(len(maps[0]), dtype=bool), np.nan, found.alike.mean(0))
    contrasted = bool(np.isfinite(found.contrasts[0].difference))
    count = len(maps) + 1 + contrasted
    figure, axes = new_figure(-(-count // 5), min(count, 5), 3.3, 3.0)
    _square(figure, axes.flat[0], alike, framed, "similarity", {"cmap": "viridis"})
    for layer, values in enumerate(maps, start=1):
        _square(figure, axes.flat[layer], values, framed, f"layer {layer}, over its row's mean", scale)
    if contrasted:
        _contrasts(axes.flat[count - 1], found)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure


def _square(figure: Figure, axis: Axes, values: np.ndarray, groups: int, title: str, scale: dict[str, Any]) -> None:
    """Draw a map between chains, a frame around those of each kernel."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    n = len(values)
    image = axis.imshow(values, extent=(0.5, n + 0.5, n + 0.5, 0.5), **scale)
    figure.colorbar(image, ax=axis, shrink=0.8)
    size = n // groups
    for corner in np.arange(0.5, n, size) if groups > 1 else ():
        axis.add_patch(Rectangle((corner, corner), size, size, fill=False, ec="k", lw=1.2))
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("from chain", fontsize=8)
    axis.set_ylabel("chain", fontsize=8)
    axis.tick_params(labelsize=7)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(MaxNLocator("auto", integer=True))


def _contrasts(axis: Axes, found: KernelAttention) -> None:
    layers = np.arange(1, len(found.contrasts) + 1)
    differences, errors = zip(*((one.difference, one.error) for one in found.contrasts), strict=True)
    axis.errorbar(layers, differences, errors, fmt="o", color=MARK, ms=5, capsize=4)
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set_xticks(layers)
    axis.set_xlabel("layer", fontsize=8)
    axis.set_title("same kernel minus others ± s.e.", fontsize=9)
    axis.tick_params(labelsize=7)
