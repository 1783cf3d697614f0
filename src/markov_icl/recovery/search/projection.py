"""The loss with ``A`` eliminated: a function of the subspace spanned by the heads' vectors ``b_1..b_r``.

A point is realizable by ``r`` heads iff every form ``M_j = sum_s sym(b_s a_sj^T)`` vanishes on the
complement of one ``r``-dimensional subspace. For a fixed subspace the loss is a linear least-squares
problem in ``A``; what is left, ``f(U) = y2 - h_U^T H_U^{-1} h_U``, depends on the subspace alone, and
its first two derivatives are cheap. With one head the subspace is the line of ``b``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markov_icl.features import Array, phi
from markov_icl.recovery.search.quadratic import Normal, Quadratic, normal

__all__ = ["Projection", "forms", "frame", "products_of", "project"]


@dataclass(frozen=True, eq=False)
class Projection:
    """The loss at one subspace, with everything a second-order step needs.

    Attributes:
        frame: orthonormal ``[D, D]``; its first ``r`` columns span the subspace.
        heads: ``r``.
        A: the best key-query columns for ``b_s = frame[:, s]``, ``[r, D, J]``.
        X: ``sum_s phi(b_s, A_s)``, ``[N]``.
        loss: ``y2 - h_U^T H_U^+ h_U``, in squared states.
        explained: ``h^T X``, what the fit takes off ``y2``; the unit of relative gradients.
        gradient: derivative in ``Theta``, ``[(D-r) r]``, where ``b_s`` moves by ``sum_q n_q Theta_qs``.
        hessian: of the reduced loss, ``[(D-r) r, (D-r) r]``.
        curved: size of ``H_U``; ``flat`` of its eigenvalues vanish and the others are positive.
        flat: see ``curved``.
    """

    frame: Array
    heads: int
    A: Array
    X: Array
    loss: float
    explained: float
    gradient: Array
    hessian: Array
    curved: int
    flat: int


def frame(subspace: Array) -> Array:
    """Complete ``r`` spanning columns ``[D, r]`` to an orthonormal basis ``[D, D]``."""
    full, upper = np.linalg.qr(subspace, mode="complete")
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    full[:, : signs.size] *= signs
    return np.asarray(full)


def forms(dimension: int) -> Array:
    """Return ``E`` ``[m, D, D]`` with ``phi(b, a) = E : (b (x) a)`` for one block."""
    eye = np.eye(dimension)
    maps = [[phi(p, q[:, None]) for q in eye] for p in eye]
    return np.asarray(maps, dtype=float).transpose(2, 0, 1)


def products_of(E: Array, V: Array, heads: int) -> tuple[Array, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return ``phi(V_s, V_t)`` for one block, ``[m, p]``, and the pairs ``s <= t``, ``s < r`` of its columns."""
    s, t = np.triu_indices(heads, m=V.shape[0])
    return np.einsum("mpl,pk,lk->mk", E, V[:, s], V[:, t], optimize=True), (s, t)


def project(quadratic: Quadratic, E: Array, V: Array, heads: int) -> Projection:
    """Minimize over ``A`` for ``b_s = V[:, s]``, ``s < r``, and differentiate in the subspace.

    ``Hessian = f_TT - f_TA f_AA^+ f_AT`` (variable projection). Redundant directions of ``A``,
    ``a_s += c b_t, a_t -= c b_s``, are removed by keeping one product for each pair ``s <= t`` of frame
    vectors with ``s < r``.

    Args:
        quadratic: the loss.
        E: :func:`forms` of its dimension.
        V: orthonormal ``[D, D]``.
        heads: ``r``.

    Source: Golub & Pereyra (1973) for the elimination; ``H_b = J_b^T H J_b`` of Remark C.15.
    """
    # The best A for this frame: linear least squares in one product for each pair.
    J, D, r = quadratic.blocks, quadratic.dimension, heads
    products = np.einsum("mpl,pa,lt->mat", E, V, V, optimize=True)
    s, t = np.triu_indices(r, m=D)
    K = products[:, s, t]
    factored = normal(quadratic, K)
    h_U = (quadratic.h.reshape(J, -1) @ K).reshape(-1)
    c = factored.solve(h_U)
    coefficients = c.reshape(J, -1)
    X = (coefficients @ K.T).reshape(-1)
    # At the best A only the explicit dependence on the frame counts for the gradient; the Hessian needs the rest too.
    residual = 2 * (quadratic.apply(X) - quadratic.h)
    inner = np.zeros((r, D, J))
    inner[s, t] = coefficients.T
    gradient, hessian = _derivatives(quadratic, products, K, (s, t), inner, residual, factored)
    return Projection(
        frame=V,
        heads=r,
        A=np.einsum("lt,stj->slj", V, inner),
        X=X,
        loss=float(quadratic.y2 - h_U @ c),
        explained=float(h_U @ c),
        gradient=gradient,
        hessian=hessian,
        curved=factored.size,
        flat=factored.zeros,
    )


def _derivatives(
    quadratic: Quadratic,
    products: Array,
    K: Array,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    inner: Array,
    residual: Array,
    factored: Normal,
) -> tuple[Array, Array]:
    """Return the reduced gradient and Hessian; ``inner`` is ``A`` in the frame, ``[r, D, J]``."""
    r, D, J = inner.shape
    free = (D - r) * r
    moved = np.einsum("mqt,stj->jmqs", products[:, r:], inner, optimize=True).reshape(residual.size, free)
    gradient = moved.T @ residual
    pushed = quadratic.apply(moved)
    bent = np.einsum("jm,mqt->jqt", residual.reshape(J, -1), products[:, r:], optimize=True)
    s, t = pairs
    cross = 2 * np.matmul(K.T, pushed.reshape(J, K.shape[0], free)).reshape(J, s.size, D - r, r)
    cross[:, np.arange(s.size), :, s] += bent[:, :, t].transpose(2, 0, 1)
    cross = cross.reshape(J * s.size, free)
    hessian = 2 * moved.T @ pushed - cross.T @ factored.solve(cross) / 2
    return gradient, (hessian + hessian.T) / 2
