"""Least-squares solutions of least norm for a batch of small systems."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from markov_icl.threads import blas_threads

__all__ = ["least_norm"]

_BATCH = 4_000_000
"""Matrix entries decomposed at once: 32 MB."""


def least_norm(
    X: Float[np.ndarray, "P n J"], y: Float[np.ndarray, "P n"], cutoff: float | None = None
) -> Float[np.ndarray, "P J"]:
    """Return, for each prompt, the ``w`` of least norm among the minimizers of ``|X w - y|``.

    Args:
        X: design matrices.
        y: right-hand sides.
        cutoff: singular values up to this share of the largest count as zero; ``max(n, J)`` roundings if None.
    """
    prompts, rows, columns = X.shape
    if cutoff is None:
        cutoff = max(rows, columns) * float(np.finfo(float).eps)
    solution = np.empty((prompts, columns))
    step = max(1, _BATCH // (rows * columns))
    with blas_threads(max(rows, columns)):
        for start in range(0, prompts, step):
            part = slice(start, start + step)
            U, s, Vt = np.linalg.svd(X[part], full_matrices=False)
            kept = s > cutoff * s[:, :1]
            inverse = np.divide(1.0, s, out=np.zeros_like(s), where=kept)
            coefficients = inverse * np.einsum("pns,pn->ps", U, y[part])
            solution[part] = np.einsum("psj,ps->pj", Vt, coefficients)
    return solution
