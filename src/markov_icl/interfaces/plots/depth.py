"""Pictures of depth: a model layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.depth.profile import FRONTS, Profile
from markov_icl.interfaces.plots.style import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from markov_icl.depth.dense_layers import Remainder
    from markov_icl.experiments.figures.fig02 import FigureTwo

__all__ = ["plot_figure_two", "plot_profile", "plot_remainder"]

_FLOOR = 1e-4  # where a distance of 0 would stand on a logarithmic axis
_DASHES = ("-", "--", "-.", ":")


def _objectives(axis: Any, layers: np.ndarray, values: np.ndarray, name: str) -> None:
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 0.85, values.shape[1]))
    for k, column in enumerate(values.T):
        last = k == values.shape[1] - 1
        colour = MARK if last else colours[k]
        axis.plot(layers, column, "o-", ms=3, color=colour, label=f"{name}$_{{{k + 1}}}$")
    axis.set_title(f"objectives {name}, mean over prompts", fontsize=10)
    axis.legend(fontsize=7, frameon=False, ncols=2)


def plot_profile(profile: Profile) -> Figure:
    """Draw the objectives of both groups, the loss and accuracy beside Bayes, and the distances to the fronts."""
    figure, axes = new_figure(2, 2, 4.2, 3.3)
    rows = profile.layers
    layers = np.array([row.layer for row in rows])
    _objectives(axes[0, 0], layers, np.array([row.first for row in rows]), "R1")
    _objectives(axes[0, 1], layers, np.array([row.second for row in rows]), "R2")
    _scores(axes[1, 0], profile, layers)
    axis = axes[1, 1]
    for (name, text), dash in zip(FRONTS.items(), _DASHES, strict=True):
        mean = np.array([row.distance[name].mean for row in rows])
        error = np.array([row.distance[name].mean_se for row in rows])
        axis.plot(layers, mean, dash, color=INK, label=text.split(",")[0])
        axis.fill_between(layers, np.maximum(mean - error, _FLOOR), mean + error, color=INK, alpha=0.15, lw=0)
    axis.set_yscale("log")
    axis.set_ylim(bottom=_FLOOR)
    axis.set_title(f"Generational Distance, box ±{profile.box:g}, {profile.front_prompts} prompts", fontsize=10)
    axis.legend(fontsize=7, frameon=False)
    _finish(axes, layers)
    return figure


def _scores(axis: Any, profile: Profile, layers: np.ndarray) -> None:
    rows = profile.layers
    loss, error = (np.array([getattr(row, k) for row in rows]) for k in ("loss", "loss_se"))
    axis.errorbar(layers, loss, error, fmt="o-", ms=3, color=INK, label="squared loss")
    accuracy = np.array([row.accuracy for row in rows])
    if np.isfinite(accuracy).all():
        axis.errorbar(layers, accuracy, [row.accuracy_se for row in rows], fmt="s-", ms=3, color=MARK, label="accuracy")
    if profile.bayes is not None:
        axis.axhline(profile.bayes.loss, color=INK, ls=":", lw=1.2, label="Bayes loss")
        axis.axhline(profile.bayes.accuracy, color=MARK, ls=":", lw=1.2, label="Bayes accuracy")
    axis.set_title("prediction read out after each layer", fontsize=10)
    axis.legend(fontsize=7, frameon=False)


def plot_remainder(result: Remainder) -> Figure:
    """Draw, layer by layer, the parts of a dense model's update and what dropping the remainder does."""
    figure, axes = new_figure(1, 2, 4.2, 3.3)
    left, right = axes[0]
    layers = np.arange(1, len(result.share) + 1)
    total = result.restricted + result.label + result.features
    total = np.where(total > 0, total, 1.0)
    below = np.zeros(len(layers))
    parts = (("restricted form", result.restricted, INK), ("label by label", result.label, "0.6"))
    for name, part, colour in (*parts, ("features", result.features, MARK)):
        left.bar(layers, part / total, bottom=below, color=colour, label=name, width=0.75)
        below = below + part / total
    left.set_title("share of each layer's update", fontsize=10)
    left.legend(fontsize=7, frameon=False)
    right.bar(layers, result.effect, color=MARK, width=0.75)
    right.axhline(result.effect_all, color=INK, ls="--", lw=1.2, label="every remainder dropped")
    right.set_title("change of the prediction without the remainder", fontsize=10)
    right.legend(fontsize=7, frameon=False)
    _finish(axes, layers)
    return figure


def plot_figure_two(result: FigureTwo) -> Figure:
    """Draw Fig. 2: the first seed's objectives, and loss and Generational Distance of every seed."""
    figure, axes = new_figure(2, 2, 4.2, 3.3)
    layers = np.arange(result.losses.shape[1])
    _objectives(axes[0, 0], layers, result.first[0], "R1")
    _objectives(axes[0, 1], layers, result.second[0], "R2")
    for k, losses in enumerate(result.losses):
        axes[1, 0].plot(layers, losses, "o-", ms=3, color=INK, alpha=0.4 + 0.6 * (k == 0), label=_once(k, "loss"))
    axes[1, 0].axhline(result.bayes[0], color="k", ls=":", lw=1.2, label="Bayes")
    axes[1, 0].set_title("squared loss, every seed", fontsize=10)
    axes[1, 0].legend(fontsize=7, frameon=False)
    for name, colour in (("R1", INK), ("R2, w_J", MARK), ("both", "0.5")):
        for k, values in enumerate(result.distances[name]):
            axes[1, 1].semilogy(
                layers, np.maximum(values, _FLOOR), "o-", ms=2, lw=1, color=colour, label=_once(k, FRONTS[name])
            )
    axes[1, 1].set_title("Generational Distance, every seed", fontsize=10)
    axes[1, 1].legend(fontsize=7, frameon=False)
    _finish(axes, layers)
    return figure


def _once(k: int, label: str) -> str | None:
    return label.split(",")[0] if k == 0 else None


def _finish(axes: Any, layers: np.ndarray) -> None:
    step = max(1, len(layers) // 10)
    for axis in axes.flat:
        axis.set_xticks(layers[::step])
        axis.set_xlabel("layers", fontsize=9)
        axis.tick_params(labelsize=8)
