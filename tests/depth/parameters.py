"""Random restricted models whose iterates do not explode."""

import numpy as np
import torch

from markov_icl.models.lsa import LinearSelfAttention


def random_model(dimension, depth, heads, seed, trace=1.0, size=1.0, form="restricted"):
    """Return a model in float64 with unit ``b`` and ``|A_h| = size / (depth heads trace)``.

    A step is at most ``|A| |b| tr G_w`` and ``tr G_w`` is at most quadratic in ``w``, so with ``trace`` the largest
    ``tr G`` of the prompts the iterates stay of order ``size``.
    """
    rng = np.random.default_rng(seed)
    model = LinearSelfAttention(dimension, depth, heads, form, dtype=torch.float64)
    b = rng.standard_normal((depth, heads, dimension))
    A = rng.standard_normal((depth, heads, dimension, dimension - 1))
    b /= np.linalg.norm(b, axis=-1, keepdims=True)
    A *= size / (depth * heads * trace) / np.linalg.norm(A, axis=(-2, -1), keepdims=True)
    with torch.no_grad():
        model.b.copy_(torch.from_numpy(b))
        model.A.copy_(torch.from_numpy(A))
    return model


def largest_trace(prompts):
    """Return the largest ``tr G``, at least 1."""
    return max(1.0, float(np.trace(prompts.gram, axis1=1, axis2=2).max()))
