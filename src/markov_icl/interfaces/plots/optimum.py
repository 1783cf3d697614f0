"""Pictures of one task: its minimizer, minima, heads, certificate, losses and prompts.

The functions draw results and compute nothing; matplotlib is loaded when the first picture is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from markov_icl.features import split_blocks, vech_indices
from markov_icl.interfaces.plots.style import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from markov_icl.analysis.evaluation import Evaluation
    from markov_icl.analysis.ladder import Ladder
    from markov_icl.analysis.realizability import RealizabilityMap
    from markov_icl.landscape.closed_form import ClosedForm
    from markov_icl.landscape.slices import Slices
    from markov_icl.recovery.certificate.certificate import Certificate
    from markov_icl.recovery.heads.heads import HeadsCurve
    from markov_icl.recovery.search.fit import Fit
    from markov_icl.tasks.sampling import Prompts

__all__ = [
    "plot_blocks",
    "plot_certificate",
    "plot_evaluation",
    "plot_heads",
    "plot_ladder",
    "plot_map",
    "plot_minima",
    "plot_nearest",
    "plot_prompts",
    "plot_slices",
]


def plot_blocks(form: ClosedForm) -> Figure:
    """Draw every block of ``X*`` as the upper triangle it is; one scale for all, zero is white."""
    blocks = split_blocks(form.X, form.moments.blocks)
    J, D = len(blocks), form.moments.dimension
    columns = min(J, 5)
    figure, axes = new_figure(-(-J // columns), columns, 2.6, 2.8)
    top = float(np.abs(blocks).max()) or 1.0
    rows, cols = vech_indices(D)
    for axis in axes.flat[J:]:
        axis.set_visible(False)
    shown = axes.flat[:J]
    for j, axis in enumerate(shown):
        square = np.full((D, D), np.nan)
        square[rows, cols] = blocks[j]
        image = axis.imshow(square, cmap="RdBu_r", vmin=-top, vmax=top)
        axis.set_title(f"block {j + 1}", fontsize=10)
        axis.set_xticks(range(D), [str(i + 1) for i in range(D)], fontsize=7)
        axis.set_yticks(range(D), [str(i + 1) for i in range(D)], fontsize=7)
        if D <= 6:
            for i, k, value in zip(rows, cols, blocks[j], strict=True):
                dark = abs(value) > 0.6 * top
                axis.text(k, i, f"{value:.2g}", ha="center", va="center", fontsize=7, color="w" if dark else "k")
    figure.colorbar(image, ax=list(shown), shrink=0.8, label="coefficient")
    figure.suptitle(f"Minimizer in the enlarged space, loss {form.loss:.6g}", fontsize=11)
    return figure


def plot_slices(slices: Slices) -> Figure:
    """Draw the loss along each coordinate with the minimizer marked (Fig. 10)."""
    count = len(slices.coordinates)
    columns = min(count, 3)
    figure, axes = new_figure(-(-count // columns), columns, 3.1, 2.4)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for c, axis in enumerate(axes.flat[:count]):
        axis.plot(slices.values[c], slices.losses[c], color=INK, lw=1.6)
        axis.plot([slices.minimizer[c]], [slices.loss], "o", color=MARK, ms=6, label="minimizer")
        axis.axhline(slices.loss, color="0.7", lw=0.8, zorder=0)
        axis.set_xlabel(slices.labels[c], fontsize=9)
        axis.tick_params(labelsize=8)
        if c % columns == 0:
            axis.set_ylabel("population loss", fontsize=9)
    axes.flat[0].legend(fontsize=8, frameon=False)
    return figure


def plot_map(result: RealizabilityMap) -> Figure:
    """Draw the discriminant over ``(n, p)`` with the unreachable part hatched, and the theorem's ``b_2`` beside it."""
    from matplotlib.colors import SymLogNorm

    figure, axes = new_figure(1, 2, 5.6, 4.2)
    left, right = axes[0]
    n, p = _edges(np.array(result.n, dtype=float)), _edges(np.array(result.p, dtype=float))
    shown = ((left, result.discriminant.astype(float), "PuOr"), (right, result.b[:, :, 1], "RdBu_r"))
    for axis, values, colours in shown:
        top = float(np.abs(values[np.isfinite(values)]).max(initial=1.0))
        norm = SymLogNorm(linthresh=0.5, vmin=-top, vmax=top)
        cells = axis.pcolormesh(n, p, values, cmap=colours, norm=norm, rasterized=True)
        axis.set_xlabel("context n")
        figure.colorbar(cells, ax=axis, ticks=_ticks(top))
        _hatch_unreachable(axis, result, n, p)
    left.set_ylabel("start probability p")
    left.set_title("discriminant X2² − 4 X1 X3\n(hatched: no real (b, A) reaches the optimum)", fontsize=10)
    right.set_title("Theorem 3.3's b2, with b1 = 1\n(hatched: not real; white: X1 = 0, so b1 = 0)", fontsize=10)
    return figure


def _hatch_unreachable(axis: Axes, result: RealizabilityMap, n: np.ndarray, p: np.ndarray) -> None:
    unreachable = np.repeat(np.repeat(~result.realizable, 2, axis=0), 2, axis=1).astype(float)
    inside_n, inside_p = (np.repeat(e, 2)[1:-1] for e in (n, p))  # each cell twice: its own two edges
    if unreachable.any():
        axis.contourf(inside_n, inside_p, unreachable, levels=[0.5, 1.5], colors="none", hatches=["///"])
    if unreachable.any() and not unreachable.all():
        axis.contour(inside_n, inside_p, unreachable, levels=[0.5], colors="k", linewidths=1.3)


def _ticks(top: float) -> list[float]:
    powers = [10.0**k for k in range(int(np.log10(top)) + 1)]
    return [-v for v in reversed(powers)] + [0.0, *powers]


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return cell edges halfway between sorted centres, ``[N + 1]``."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def plot_prompts(prompts: Prompts) -> Figure:
    """Draw up to four prompts as pictures: a column a chain, the query last with its label hidden."""
    shown = min(4, len(prompts.target))
    figure, axes = new_figure(1, shown, 3.2, 2.6)
    matrix = prompts.matrix[:shown]
    for k, axis in enumerate(axes.flat):
        masked = matrix[k].copy()
        masked[-1, -1] = np.nan
        axis.imshow(masked, cmap="cividis", aspect="auto", vmin=matrix.min(), vmax=matrix.max())
        axis.axvline(masked.shape[1] - 1.5, color=MARK, lw=1.5)
        axis.set_title(f"prompt {k + 1}, answer {prompts.target[k]:g}", fontsize=9)
        axis.set_xlabel("chain (query last)", fontsize=8)
        axis.tick_params(labelsize=7)
    axes.flat[0].set_ylabel("entry", fontsize=8)
    return figure


def plot_minima(fit: Fit, floor: float) -> Figure:
    """Draw each local minimum's loss against the share of random starts that ended there."""
    figure, axes = new_figure(1, 1, 6.0, 3.6)
    axis = axes[0, 0]
    losses = [one.loss for one in fit.minima]
    starts = [one.random_starts for one in fit.minima]
    axis.vlines(losses, 0, starts, color=INK, lw=2)
    axis.plot(losses, starts, "o", color=INK, ms=6, label="local minimum")
    axis.plot([fit.loss], [0], "^", color=MARK, ms=9, clip_on=False, label=f"best found, {fit.loss:.8g}")
    axis.axvline(floor, color="0.5", ls="--", lw=1, label=f"enlarged optimum, {floor:.8g}")
    axis.set_xlabel("loss")
    axis.set_ylabel("random starts")
    axis.set_ylim(0, 1.35 * max(starts, default=1))
    axis.legend(fontsize=8, loc="upper center", ncols=3, frameon=False, columnspacing=1.0)
    return figure


def plot_nearest(form: ClosedForm, X: np.ndarray) -> Figure:
    """Draw every block of ``X*`` above the nearest realizable one, one scale for all."""
    top_row, bottom_row = (split_blocks(v, form.moments.blocks) for v in (form.X, X))
    J, D = len(top_row), form.moments.dimension
    figure, axes = new_figure(2, J, 2.2, 2.3)
    top = float(np.abs(form.X).max()) or 1.0
    rows, cols = vech_indices(D)
    for r, (name, blocks) in enumerate((("X*", top_row), ("nearest", bottom_row))):
        for j in range(J):
            square = np.full((D, D), np.nan)
            square[rows, cols] = blocks[j]
            image = axes[r, j].imshow(square, cmap="RdBu_r", vmin=-top, vmax=top)
            axes[r, j].set_title(f"{name}, block {j + 1}", fontsize=9)
            axes[r, j].set_xticks([])
            axes[r, j].set_yticks([])
    figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8, label="coefficient")
    return figure


def plot_heads(curve: HeadsCurve) -> Figure:
    """Draw the gap to the enlarged optimum against the number of heads; no gap is drawn on the floor."""
    figure, axes = new_figure(1, 1, 5.4, 3.6)
    axis = axes[0, 0]
    gaps = np.asarray(curve.gaps)
    r = np.arange(1, len(gaps) + 1)
    open_gap = gaps > curve.tolerance
    axis.semilogy(r[open_gap], gaps[open_gap], "o-", color=INK, label="gap")
    axis.set_xlim(0.6, len(r) + 0.4)
    for k in r[~open_gap]:
        axis.axvspan(k - 0.4, k + 0.4, color="0.9", lw=0)
        axis.annotate("no gap", (k, 0.5), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
    axis.set_xticks(r)
    axis.set_xlabel("heads")
    axis.set_ylabel("best loss found, minus enlarged optimum")
    return figure


def plot_certificate(certificate: Certificate, trace: list[tuple[float, float, float]], floor: float) -> Figure:
    """Draw the lower bound and the incumbent against time, and the certified interval."""
    figure, axes = new_figure(1, 1, 6.0, 3.6)
    axis = axes[0, 0]
    if trace:
        seconds, lower, upper = np.array(trace).T
        axis.plot(seconds, upper, drawstyle="steps-post", color=MARK, label="best parameters so far")
        axis.plot(seconds, np.maximum(lower, floor - 3 * (certificate.upper - floor) - 1e-3), color=INK, label="bound")
    axis.axhspan(certificate.lower, certificate.upper, color=MARK, alpha=0.25, lw=0)
    axis.axhline(floor, color="0.5", ls="--", lw=1, label=f"enlarged optimum, {floor:.8g}")
    axis.set_title(f"{certificate.status}: {certificate.lower:.9g} to {certificate.upper:.9g}", fontsize=10)
    axis.set_xlabel("seconds")
    axis.set_ylabel("loss")
    axis.legend(fontsize=8, frameon=False)
    return figure


def plot_ladder(result: Ladder) -> Figure:
    """Draw the losses of a task as bars, the largest above; the part that real parameters cost is marked."""
    figure, axes = new_figure(1, 1, 7.2, 0.55 * len(result.rungs) + 0.9)
    axis = axes[0, 0]
    names = [f"{one.name}\n{one.kind}" for one in result.rungs]
    losses = np.array([one.loss for one in result.rungs])
    colours = [
        MARK if one.kind in ("certified", "bound") else "0.62" if one.kind == "estimate" else INK
        for one in result.rungs
    ]
    axis.barh(names, losses, height=0.62, color=colours, xerr=[one.error for one in result.rungs], ecolor="k")
    for place, one in enumerate(result.rungs):
        digits = f"{one.loss:.6f}" if one.error < 1e-6 else f"{one.loss:.4f} ± {one.error:.0e}"
        axis.text(one.loss + 0.012 * losses.max(), place, digits, va="center", fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.18 * losses.max())
    axis.set_xlabel("mean squared error")
    axis.tick_params(axis="y", length=0, labelsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def plot_evaluation(table: Evaluation) -> Figure:
    """Draw every predictor's loss and accuracy with two standard errors; the line is the ceiling.

    A loss far above the others is drawn at the edge with its number, so that it does not flatten the rest.
    """
    rows = table.rows[::-1]
    panels = [("loss", "squared states")] + ([("accuracy", "share right")] if rows[0].accuracy is not None else [])
    figure, axes = new_figure(1, len(panels), 5.2, 1.1 + 0.28 * len(rows))
    ceiling = next((r for name in ("Bayes", "kernel known") for r in rows if r.predictor == name), None)
    for axis, (field, unit) in zip(axes[0], panels, strict=True):
        value, error = (np.array([getattr(r, f) for r in rows], dtype=float) for f in (field, f"{field}_se"))
        top = 5 * float(np.nanquantile(value, 0.5, method="lower")) if field == "loss" else np.inf
        far = ~(value <= top) if top > 1e-9 else ~np.isfinite(value)
        y = np.arange(len(rows))
        axis.errorbar(value[~far], y[~far], xerr=2 * np.nan_to_num(error[~far]), fmt="o", color=INK, capsize=3, ms=5)
        for k in np.flatnonzero(far):
            text = f"{value[k]:.3g} →" if np.isfinite(value[k]) else "not finite"
            axis.annotate(text, (0.98, k), xycoords=("axes fraction", "data"), ha="right", va="center", color=MARK)
        if ceiling is not None:
            axis.axvline(getattr(ceiling, field), color=MARK, lw=1.2, zorder=1, label=f"ceiling: {ceiling.predictor}")
            axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.12))
        axis.set_yticks(y, [r.predictor for r in rows] if axis is axes[0, 0] else [])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xlabel(f"{field}, {unit} (± 2 standard errors)")
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
    return figure
