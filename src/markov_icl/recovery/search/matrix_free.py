"""The local search on long chains: the loss of real parameters and its gradient through products with ``H``.

For fixed ``b`` the loss is a least-squares problem in ``A`` whose matrix ``J_b^T H J_b`` is one pass over the
kernels, as cheap as a product with ``H``; only its Newton steps need many products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from markov_icl.features import Array, vech_size
from markov_icl.landscape.realizable import both_sides
from markov_icl.memory import require
from markov_icl.moments.long_nodes import is_binary
from markov_icl.recovery.search.projection import frame, products_of
from markov_icl.recovery.search.quadratic import Quadratic, normal
from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["approach", "is_beyond_dense", "reduced_loss", "require_search_gigabytes"]

_DENSE_LENGTH = 21
"""Up to it ``H`` takes at most 0.2 GB."""
_ENOUGH = 1e-6
"""Gradient, relative to ``y2``, at which L-BFGS hands over: at length 8 after 13 to 16 evaluations, 4 Newton steps are
left; at 1e-4 after 9 to 13 with 5 left."""
_MEMORY = 30
"""Pairs kept by L-BFGS; 10 and 60 take as many evaluations at length 8."""
_MOST_STEPS = 200


def is_beyond_dense(task: Task) -> bool:
    """Return whether the search should go without the matrix: binary chains of order 1 beyond length 21."""
    return isinstance(task, MarkovTask) and is_binary(task) and task.length > _DENSE_LENGTH


def require_search_gigabytes(task: Task, memory: float) -> None:
    """Check that the normal equations of order ``d D`` and the forms of a block fit in memory.

    Raises:
        ValueError: if they do not.
    """
    J, D = task.blocks, task.dimension
    require(8 * (4 * (J * D) ** 2 + 3 * vech_size(D) * D**2) / 1e9, memory, f"a search at length {J + 1}")


def reduced_loss(quadratic: Quadratic, E: Array, subspace: Array, slope: bool = False) -> tuple[float, Array]:
    """Return the loss with ``A`` eliminated at the span of ``subspace`` ``[D, r]``, and its gradient, ``[D, r]``.

    Args:
        quadratic: the loss.
        E: :func:`~markov_icl.recovery.search.projection.forms` of its dimension.
        subspace: independent columns.
        slope: whether to compute the gradient, one product with ``H`` more; zero otherwise.

    Source: the envelope theorem: at the best ``A`` only the explicit dependence on ``b`` counts.
    """
    r = subspace.shape[1]
    V = frame(subspace)
    K, (s, t) = products_of(E, V, r)
    h_U = (quadratic.h.reshape(quadratic.blocks, -1) @ K).reshape(-1)
    c = normal(quadratic, K).solve(h_U)
    loss = float(quadratic.y2 - h_U @ c)
    if not slope:
        return loss, np.zeros_like(subspace)
    coefficients = c.reshape(quadratic.blocks, -1)
    X = (coefficients @ K.T).reshape(-1)
    G = both_sides(2 * (quadratic.apply(X) - quadratic.h), quadratic.blocks)
    inner = np.zeros((r, quadratic.dimension, quadratic.blocks))
    inner[s, t] = coefficients.T
    at_frame = np.einsum("jik,kt,stj->is", G, V, inner, optimize=True)
    change = V[:, :r].T @ subspace  # subspace = V[:, :r] change
    return loss, np.asarray(np.linalg.solve(change, at_frame.T).T)


def approach(quadratic: Quadratic, E: Array, subspace: Array, W: Array) -> Array:
    """Go most of the way down by L-BFGS from ``subspace`` ``[D, r]``.

    Args:
        quadratic: the loss.
        E: :func:`~markov_icl.recovery.search.projection.forms` of its dimension.
        subspace: independent columns.
        W: coordinates in which the loss is about equally curved, :func:`~markov_icl.recovery.search.starts.balance`.

    Source: Liu & Nocedal (1989).
    """
    from scipy.optimize import minimize

    shape = subspace.shape

    def evaluate(flat: Array) -> tuple[float, Array]:
        loss, gradient = reduced_loss(quadratic, E, W @ flat.reshape(shape), slope=True)
        return loss, (W.T @ gradient).reshape(-1)

    start = frame(np.asarray(np.linalg.solve(W, subspace), dtype=float))[:, : shape[1]].reshape(-1)
    options: Any = {"maxiter": _MOST_STEPS, "gtol": _ENOUGH * abs(quadratic.y2), "ftol": 1e-13, "maxcor": _MEMORY}
    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(W @ found.x.reshape(shape))
