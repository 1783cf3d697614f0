"""The paper's claims about depth: Theorem 4.1 and Fig. 2."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from markov_icl.depth.descent import descend, equivalence
from markov_icl.depth.objectives import decompose
from markov_icl.experiments.claim import Claim, Finding
from markov_icl.experiments.fig02 import FigureTwo, figure_two
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts

__all__ = ["DEPTH_CLAIMS", "figure_two_finding", "preconditioned_descent"]


def preconditioned_descent() -> Finding:
    """Theorem 4.1 on random layers, and the sign of its readout."""
    errors = [
        _errors(MarkovTask(states=states, length=length, context=context), depth)
        for depth in (1, 4, 12)
        for states, length, context in ((2, 2, 1), (2, 5, 100), (3, 9, 200))
    ]
    layers, terms, signs = (max(column) for column in zip(*errors, strict=True))
    return Finding(
        "holds, with the sign of the readout corrected" if max(layers, terms, signs) <= 1e-12 else "differs",
        f"Random layers, depth 1..12, d = 1..8, n = 1..200: every entry of every layer's prompt matrix equals the "
        f"recursion to {layers:.0e}, every step the preconditioned sum of the 2(d + 1) derivatives to {terms:.0e}. It "
        "holds for every prompt, not in expectation, and for several heads, whose steps add. The label row holds "
        f"y - w.x, so the prediction w.x is minus the bottom-right entry (to {signs:.0e}); the paper prints it without "
        "the minus. Neither b nor the preconditioners need be positive: a step may raise an objective.",
        f"{max(layers, terms, signs):.0e}",
    )


def _errors(task: MarkovTask, depth: int) -> tuple[float, float, float]:
    """Return the largest errors of the layers, of the steps term by term, and of the sign of the readout."""
    import torch

    from markov_icl.models.lsa import LinearSelfAttention

    drawn = sample_prompts(task, 8, seed=depth)
    trace = max(1.0, float(drawn.gram.trace(axis1=1, axis2=2).max()))
    scale = (depth * task.dimension**1.5 * trace) ** -0.5  # |A| |b| about 1 / (depth trace), so that nothing explodes
    model = LinearSelfAttention(
        task.dimension, depth, 1, "restricted", scale=scale, seed=depth, dtype=torch.float64
    ).requires_grad_(False)
    path = descend(model, drawn.gram)
    steps = [path.step(layer) for layer in range(1, depth + 1)]
    terms = max(float(np.abs(decompose(step).parts.sum((1, 2)) - step.move).max()) for step in steps)
    corner = model.layers(torch.from_numpy(drawn.matrix))[-1][:, -1, -1].numpy()
    sign = float(np.abs(corner + path.predictions(drawn.query)[-1]).max())
    return equivalence(model, drawn).max_abs, terms, sign


def figure_two_finding() -> Finding:
    """Fig. 2: do the first layers approach the front, and do all objectives rise together later?"""
    return read_figure_two(figure_two())


def read_figure_two(figure: FigureTwo) -> Finding:
    """Read the two statements off the figure, seed by seed.

    A seed approaches a front if some layer is at less than half the input's distance.
    """
    seeds, depth = len(figure.profiles), figure.losses.shape[1] - 1
    said, approaches = [], []
    for name, front in (("R1", "R1"), ("R2 in w_d", "R2, w_J"), ("both groups", "both")):
        distance = figure.distance(front)
        approaches.append(distance.min(1) < distance[:, 0] / 2)
        start, least, last = (_listed(v, "{:.3f}") for v in (distance[:, 0], distance.min(1), distance[:, -1]))
        where = _listed(figure.closest(front), "{}")
        said.append(f"{name} {start} at the input, least {least} (layers {where}), {last} at the end")
    together = [k for k in figure.rises("both") if k is not None]
    approach = "holds" if np.all(approaches) else "holds for some seeds"
    rise = "not seen" if not together else f"seen in {len(together)} of {seeds} seeds"
    first = figure.profiles[0]
    bayes = f" (Bayes {first.bayes.loss:.4f})" if first.bayes is not None else ""
    losses = _listed((fit.loss for fit in figure.fits), "{:.4f}")
    corner = figure.distance("R2")
    return Finding(
        f"{approach} for the approach; joint rise {rise}",
        f"{depth} layers, {seeds} seeds, Adam on fresh prompts, loss {losses}{bayes}. "
        f"Generational Distance, |w_k| <= {first.box:g}: {'; '.join(said)}. Seeds in which all "
        f"{2 * figure.task.dimension} objectives rise up to the last layer: {len(together)}. Instead, in "
        f"{sum(figure.trades)} of {seeds} the sum of R1's linear objectives rises late while its squared loss falls. "
        "All but that loss are unbounded below, so a front exists only in a box: R1's is every w at or above least "
        "squares, and w starts below it, at 0; R2's with all of w free is a corner of the box, to which the nearest "
        f"layer is at {(corner.min(1) / corner[:, 0]).min():.0%} of the input's distance.",
        f"{first.front_prompts} prompts with fronts a seed",
    )


def _listed(values: Iterable[float | int], form: str) -> str:
    return ", ".join(form.format(v) for v in values)


DEPTH_CLAIMS = (
    Claim(
        "Theorem 4.1",
        "The forward pass of restricted layers is preconditioned gradient descent on several objectives.",
        preconditioned_descent,
        "markov-icl layers --length 5 --context 100 --json",
    ),
    Claim(
        "Fig. 2",
        "Ten trained layers: the first approach the Pareto front; beyond some depth all objectives rise together.",
        figure_two_finding,
        "markov-icl layers --length 5 --context 100 --plot layers.png",
    ),
)
