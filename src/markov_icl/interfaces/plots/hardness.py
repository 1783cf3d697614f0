"""Pictures of separability, its placement into (b, A), independent sets, and scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.hardness.program import Entry
from markov_icl.interfaces.plots.style import INK, MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from markov_icl.analysis.hardness_scaling import Scaling
    from markov_icl.hardness.independent_set import IndependentSet
    from markov_icl.hardness.reduction import Reduction
    from markov_icl.hardness.separability import Instance, Planes

__all__ = ["plot_independent_set", "plot_placement", "plot_scaling", "plot_separability"]

_SOFT = "#7f9db9"


def _single(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = new_figure(1, 1, width, height)
    return figure, axes[0, 0]


def plot_separability(instance: Instance, planes: Planes | None, title: str) -> Figure:
    """Draw both point sets of a planar instance, the two lines, and the region near both.

    Raises:
        ValueError: unless the points lie in a plane.
    """
    if instance.dimension != 2:
        raise ValueError(f"expected points in 2 dimensions for a picture; got {instance.dimension}")
    figure, axis = _single(5.2, 4.8)
    inner, outer = np.array(instance.inner, dtype=float), np.array(instance.outer, dtype=float)
    low, high = np.vstack([inner, outer]).min(axis=0), np.vstack([inner, outer]).max(axis=0)
    pad = 0.15 * max(float((high - low).max()), 1.0)
    spans = [np.linspace(a - pad, b + pad, 300) for a, b in zip(low, high, strict=True)]
    if planes is not None:
        x, y = np.meshgrid(*spans)
        heights = [float(w[0]) * x + float(w[1]) * y - float(g) for w, g in zip(planes.w, planes.g, strict=True)]
        axis.contourf(x, y, np.minimum(*heights), levels=[0, np.inf], colors=[_SOFT], alpha=0.35)
        for height, w, style in zip(heights, planes.w, ("-", "--"), strict=True):
            if any(w):
                axis.contour(x, y, height, levels=[0], colors=[INK], linestyles=[style], linewidths=1.6)
    axis.plot(*inner.T, "o", color=INK, ms=8, label="inner: near both planes")
    axis.plot(*outer.T, "x", color=MARK, ms=9, mew=2.2, label="outer: beyond at least one")
    axis.set_aspect("equal")
    axis.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def plot_placement(reduction: Reduction) -> Figure:
    """Draw ``b`` and the columns of ``A``: unknowns by name, fixed entries by value, the rest empty."""
    from matplotlib.patches import Rectangle

    program = reduction.program
    D, d = program.dimension, program.d
    figure, axis = _single(max(4.0, 0.62 * (d + 2)), max(3.0, 0.42 * (D + 1)))
    small = 8 if D <= 14 else 5
    for row in range(D):
        for column in [None, *range(d)]:
            entry, x = Entry(row, column), 0.0 if column is None else column + 1.5
            free = entry in program.names and entry not in program.fixed
            colour = "#f3d9cc" if free else "#dde6ee" if entry in program.fixed else "none"
            text = program.names.get(entry, "") if free else str(program.fixed.get(entry, ""))
            axis.add_patch(Rectangle((x, row), 1, 1, facecolor=colour, edgecolor="0.75", lw=0.6))
            axis.text(x + 0.5, row + 0.5, text, ha="center", va="center", fontsize=small)
    axis.set_xlim(-0.2, d + 1.7)
    axis.set_ylim(D + 0.2, -0.2)
    names = ["z₂", *(f"in {i + 1}" for i in range(len(reduction.instance.inner)))]
    names += [f"out {i + 1}" for i in range(len(reduction.instance.outer))]
    labels = ["b", *(f"a{j + 1}\n{names[j] if j < len(names) else ''}" for j in range(d))]
    axis.set_xticks([0.5, *(j + 2.0 for j in range(d))], labels, fontsize=small)
    axis.set_yticks([i + 0.5 for i in range(D)], [str(i + 1) for i in range(D)], fontsize=small)
    axis.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for side in axis.spines.values():
        side.set_visible(False)
    figure.suptitle(f"{reduction.placement} placement, d = {d}: red unknown, blue fixed, white unused", fontsize=10)
    return figure


def plot_independent_set(result: IndependentSet, graph: Any) -> Figure:
    """Draw the graph with the set read off nearest recovery, and the interval of the squared distance."""
    import networkx

    figure, axis = _single(5.0, 4.8)
    places = networkx.kamada_kawai_layout(graph)
    points = np.array([places[v] for v in graph.nodes])
    for i, j in result.instance.edges:
        axis.plot(*points[[i, j]].T, color="0.6", lw=1.1, zorder=1)
    members = np.isin(np.arange(len(points)), result.members)
    axis.scatter(points[~members, 0], points[~members, 1], s=130, color="w", edgecolors=INK, linewidths=1.4, zorder=2)
    axis.scatter(points[members, 0], points[members, 1], s=170, color=MARK, edgecolors=INK, linewidths=1.4, zorder=3)
    interval = f"{float(result.nearest):.8g}"
    if result.status != "optimal":
        interval = f"between {float(result.lower):.8g} and {interval}"
    relation = "=" if result.status == "optimal" else "≥"
    axis.set_title(f"squared distance {interval}: independence number {relation} {result.alpha}", fontsize=10)
    axis.set_aspect("equal")
    axis.set_axis_off()
    return figure


def plot_scaling(scaling: Scaling) -> Figure:
    """Draw time against ``d`` on log axes; open marks met the time limit."""
    figure, axis = _single(6.0, 4.2)
    series = (
        ("exact recovery, in fractions", scaling.exact, "o-", INK),
        ("nearest recovery, SCIP", scaling.nearest, "s-", MARK),
        ("general class, SCIP", scaling.general, "^-", "#5b7f3a"),
    )
    for label, timings, style, colour in series:
        axis.loglog([t.d for t in timings], [t.seconds for t in timings], style, color=colour, label=label)
        stopped = [t for t in timings if not t.solved]
        axis.plot([t.d for t in stopped], [t.seconds for t in stopped], style[0], color=colour, mfc="w", ms=9, zorder=3)
    axis.axhline(scaling.time_limit, color="0.6", ls=":", lw=1, label="time limit of SCIP (open marks)")
    ticks = sorted({t.d for _, timings, _, _ in series for t in timings} & {1, 2, 4, 8, 10, 15, 30, 60})
    axis.set_xticks(ticks, [str(d) for d in ticks])
    axis.minorticks_off()
    axis.set_xlabel("d")
    axis.set_ylabel("seconds")
    axis.legend(frameon=False, fontsize=8)
    return figure
