"""How attention follows the kernels: shares of a row, and their contrast within and between kernels, as in Fig. 7."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Contrast", "contrast", "shares"]


@dataclass(frozen=True)
class Contrast:
    """How one layer's attention follows the kernels.

    Attributes:
        correlation: of attention with similarity, over all pairs of chains that may attend.
        difference: attention to a chain of the same kernel minus that to another; nan with one kernel.
        error: its standard error over prompts.
    """

    correlation: float
    difference: float
    error: float


def shares(weights: Float[np.ndarray, "P n n"], allowed: Bool[np.ndarray, "n n"]) -> Float[np.ndarray, "P n n"]:
    """Return what a chain (row) takes from another over the mean of what it takes in size; nan where it may not.

    Linear attention has weights of both signs, so the mean is that of their sizes.
    """
    inside = np.where(allowed, np.abs(weights), 0.0)
    mean = inside.sum(-1, keepdims=True) / np.maximum(allowed.sum(-1), 1)[:, None]
    return np.where(allowed, weights / np.maximum(mean, 1e-12), np.nan)


def contrast(
    share: Float[np.ndarray, "P n n"],
    kernel: Int[np.ndarray, "P n"],
    alike: Float[np.ndarray, "P n n"],
) -> Contrast:
    """Compare attention within and between kernels, and with similarity.

    Args:
        share: of :func:`shares`; nan pairs are left out.
        kernel: number of each chain's kernel.
        alike: similarity of every pair.
    """
    there = np.isfinite(share)
    even = share[there].std() < 1e-12 or alike[there].std() < 1e-12
    correlation = 0.0 if even else float(np.corrcoef(share[there], alike[there])[0, 1])
    same = kernel[:, :, None] == kernel[:, None, :]
    if same.all():
        return Contrast(correlation, float("nan"), float("nan"))
    within, between = (
        np.where(there & chosen, share, 0).sum((1, 2)) / (there & chosen).sum((1, 2)) for chosen in (same, ~same)
    )
    difference = within - between
    return Contrast(correlation, float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference))))
