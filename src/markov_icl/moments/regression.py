"""Exact moments of the Gaussian regression task by Isserlis' theorem: the outside check."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np

from markov_icl.features import Numbers, vech_indices
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import rational
from markov_icl.tasks.prompts import RegressionTask

__all__ = ["absolute_moments", "rational_regression_moments", "regression_moments"]


def regression_moments(task: RegressionTask) -> Moments:
    """Return the moments in float64, exact up to rounding."""
    H, h, y2 = _assemble(np.array(task.covariance, dtype=float), float(task.context))
    return Moments(H, h, float(y2), task.blocks, task.dimension, "regression")


def absolute_moments(task: RegressionTask) -> tuple[Numbers, float]:
    """Return ``H`` and ``E y^2`` of the covariances' moduli: what the rounding of a sum is relative to."""
    H, _, y2 = _assemble(np.abs(np.array(task.covariance, dtype=float)), float(task.context))
    return H, float(y2)


def rational_regression_moments(task: RegressionTask) -> RationalMoments:
    """Return the moments as fractions."""
    sigma = np.array([[rational(v) for v in row] for row in task.covariance], dtype=object)
    H, h, y2 = _assemble(sigma, rational(task.context))
    return RationalMoments(
        flint.fmpq_mat(H.tolist()),
        flint.fmpq_mat([[e] for e in h]),
        y2,
        task.blocks,
        task.dimension,
        "regression",
    )


def _assemble(sigma: Numbers, n: Any) -> tuple[Numbers, Numbers, Any]:
    """Average over ``w ~ N(0, I)`` the moments of ``z = (x, w.x) ~ N(0, C(w))``.

    Given ``w``, ``E[z_a z_b z_c z_e] = C_ab C_ce + C_ac C_be + C_ae C_bc`` and ``mu = vech C``.
    """
    second = _product_of_covariances(sigma)
    rows, columns = vech_indices(sigma.shape[0] + 1)
    i, k, p, q = rows[:, None], columns[:, None], rows[None], columns[None]
    mean_square = second[i, k, p, q]
    fourth = mean_square + second[i, p, k, q] + second[i, q, k, p]
    gram_square = fourth / n + (1 - 1 / n) * mean_square
    size = sigma.shape[0] * len(rows)
    H = (sigma[:, None, :, None] * gram_square[None, :, None, :]).reshape(size, size)
    d = sigma.shape[0]
    with_label = columns == d
    square = sigma @ sigma
    h = np.zeros((d, len(rows)), dtype=sigma.dtype)
    h[:, with_label & (rows < d)] = square
    return H, h.reshape(-1), sum(sigma[j, j] for j in range(d))


def _product_of_covariances(sigma: Numbers) -> Numbers:
    """Return ``E_w[C_ab C_ce]``, ``[D, D, D, D]``; ``C = [[S, S w], [w^T S, w^T S w]]``."""
    d = sigma.shape[0]
    square = sigma @ sigma
    trace, trace_square = sum(sigma[j, j] for j in range(d)), sum(square[j, j] for j in range(d))
    out = np.zeros((d + 1,) * 4, dtype=sigma.dtype)
    x, y = slice(0, d), d
    out[x, x, x, x] = sigma[:, :, None, None] * sigma[None, None]
    out[x, x, y, y] = out[y, y, x, x] = sigma * trace
    for left in ((x, y), (y, x)):
        for right in ((x, y), (y, x)):
            out[(*left, *right)] = square
    out[y, y, y, y] = trace * trace + 2 * trace_square
    return out
