"""The paper's claim about depth: Theorem 4.1."""

from __future__ import annotations

import numpy as np

from markov_icl.depth.descent import descend, equivalence
from markov_icl.depth.objectives import decompose
from markov_icl.experiments.claims.claim import Claim, Finding
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts

__all__ = ["DEPTH_CLAIMS", "preconditioned_descent"]


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


DEPTH_CLAIMS = (
    Claim(
        "Theorem 4.1",
        "The forward pass of restricted layers is preconditioned gradient descent on several objectives.",
        preconditioned_descent,
        "markov-icl layers --length 5 --context 100 --json",
    ),
)
