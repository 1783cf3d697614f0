"""The loss with ``A`` eliminated: a function of the subspace spanned by the heads' vectors ``b_1..b_r``.

A point is realizable by ``r`` heads iff every form ``M_j = sum_s sym(b_s a_sj^T)`` vanishes on the
complement of one ``r``-dimensional subspace. For a fixed subspace the loss is a linear least-squares
problem in ``A``; what is left, ``f(U) = y2 - h_U^T H_U^{-1} h_U``, depends on the subspace alone, and
its first two derivatives are cheap. With one head the subspace is the line of ``b``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg as sla
from numpy.typing import NDArray

from markov_icl.features import phi, vech_size
from markov_icl.moments.system import Moments

__all__ = ["Dense", "Normal", "Projection", "Quadratic", "Separable", "forms", "frame", "project"]

Array = NDArray[np.float64]

_ZERO = 1e-13
"""Eigenvalues of ``H_U`` below this fraction of the largest count as zero."""


@dataclass(frozen=True, eq=False)
class Normal:
    """The symmetric matrix ``H_U``, one ``[s, s]`` diagonal block or several, ready for solves.

    Attributes:
        factors: a Cholesky factor for each diagonal block, or the minimum-norm inverse's square root.
        regular: whether the Cholesky factors were taken.
        zeros: number of zero eigenvalues over all blocks.
        size: number of rows over all blocks.
    """

    factors: tuple[Array, ...]
    regular: bool
    zeros: int
    size: int

    @classmethod
    def of(cls, matrices: tuple[Array, ...]) -> Normal:
        """Factor the diagonal blocks; singular ones are inverted on their range only."""
        size = sum(F.shape[0] for F in matrices)
        try:
            factors = tuple(sla.cholesky(F, lower=True, check_finite=False) for F in matrices)
        except np.linalg.LinAlgError:
            factors = ()
        if factors and all(np.diag(L).min() ** 2 > _ZERO * np.diag(L).max() ** 2 for L in factors):
            return cls(factors, True, 0, size)
        roots = [_range_root(F) for F in matrices]
        return cls(tuple(roots), False, size - sum(R.shape[1] for R in roots), size)

    def solve(self, right: Array) -> Array:
        """Return ``H_U^+ right`` for ``right`` of shape ``[size]`` or ``[size, k]``."""
        columns = right.reshape(len(self.factors), self.size // len(self.factors), *right.shape[1:])
        if self.regular:
            parts = [
                sla.cho_solve((L, True), c, check_finite=False) for L, c in zip(self.factors, columns, strict=True)
            ]
        else:
            parts = [R @ (R.T @ c) for R, c in zip(self.factors, columns, strict=True)]
        return np.concatenate(parts)


def _range_root(F: Array) -> Array:
    values, vectors = np.linalg.eigh(F)
    keep = values > _ZERO * max(values[-1], 0.0)
    return np.asarray(vectors[:, keep] / np.sqrt(values[keep]))


class Quadratic(Protocol):
    """What the search needs of ``y2 - 2 h^T X + X^T H X``."""

    @property
    def h(self) -> Array:
        """The linear term, ``[N]``."""
        ...

    @property
    def y2(self) -> float:
        """The constant."""
        ...

    @property
    def blocks(self) -> int:
        """``J``."""
        ...

    @property
    def dimension(self) -> int:
        """``D``."""
        ...

    def apply(self, points: Array) -> Array:
        """Return ``H X`` for ``X`` of shape ``[N]`` or ``[N, k]``."""
        ...

    def normal(self, K: Array) -> Normal:
        """Return ``(I_J (x) K)^T H (I_J (x) K)`` for ``K`` of shape ``[m, p]``."""
        ...

    def metric(self) -> Array:
        """Return the average of the diagonal blocks of ``H``, ``[m, m]``."""
        ...

    def minimizer(self) -> Array:
        """Return the unrestricted minimum-norm minimizer, ``[N]``."""
        ...

    def loss(self, X: Array) -> float:
        """Return the quadratic's value at ``X`` ``[N]``."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """The quadratic of a task: any ``H`` ``[N, N]``."""

    H: Array
    h: Array
    y2: float
    blocks: int
    dimension: int

    @classmethod
    def of(cls, moments: Moments) -> Dense:
        """Take the arrays of a task's moments."""
        H = np.asarray(moments.H, dtype=float)
        return cls(H, np.asarray(moments.h, dtype=float), moments.y2, moments.blocks, moments.dimension)

    def apply(self, points: Array) -> Array:
        """Return ``H X``."""
        return np.asarray(self.H @ points)

    def normal(self, K: Array) -> Normal:
        """Return the one dense block ``[J p, J p]``."""
        J, (m, p) = self.blocks, K.shape
        right = (self.H.reshape(-1, m) @ K).reshape(J, m, J * p)
        F = np.matmul(K.T, right).reshape(J * p, J * p)
        return Normal.of(((F + F.T) / 2,))

    def metric(self) -> Array:
        """Return the sum of the diagonal blocks of ``H`` over ``J``."""
        m = vech_size(self.dimension)
        blocks = self.H.reshape(self.blocks, m, self.blocks, m)
        return np.asarray(np.einsum("jajb->ab", blocks) / self.blocks)

    def minimizer(self) -> Array:
        """Return ``H^+ h``."""
        return self.normal(np.eye(vech_size(self.dimension))).solve(self.h)

    def loss(self, X: Array) -> float:
        """Return ``y2 - 2 h^T X + X^T H X``."""
        return float(self.y2 + X @ (self.apply(X) - 2 * self.h))


@dataclass(frozen=True, eq=False)
class Separable:
    """A weighted distance ``sum_j sum_e weights_e (X^(j)_e - target^(j)_e)^2``; never forms ``H``.

    Attributes:
        weights: positive, ``[m]``.
        target: ``[N]``.
        blocks: ``J``.
        dimension: ``D``.
    """

    weights: Array
    target: Array
    blocks: int
    dimension: int

    @property
    def h(self) -> Array:
        """Return ``H target``."""
        return self.apply(self.target)

    @property
    def y2(self) -> float:
        """Return ``target^T H target``."""
        return float(self.target @ self.h)

    def apply(self, points: Array) -> Array:
        """Return ``H X``."""
        shaped = points.reshape(self.blocks, self.weights.size, -1)
        return (shaped * self.weights[:, None]).reshape(points.shape)

    def normal(self, K: Array) -> Normal:
        """Return ``J`` equal blocks ``K^T diag(weights) K``."""
        F = K.T @ (self.weights[:, None] * K)
        one = Normal.of(((F + F.T) / 2,))
        J = self.blocks
        return Normal(one.factors * J, one.regular, one.zeros * J, one.size * J)

    def metric(self) -> Array:
        """Return ``diag(weights)``."""
        return np.diag(self.weights)

    def minimizer(self) -> Array:
        """Return the target."""
        return self.target

    def loss(self, X: Array) -> float:
        """Return the squared distance from ``X`` to the target, without cancellation."""
        return float((X - self.target) @ self.apply(X - self.target))


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
    J, D, r = quadratic.blocks, quadratic.dimension, heads
    products = np.einsum("mpl,pa,lt->mat", E, V, V, optimize=True)
    s, t = np.triu_indices(r, m=D)
    K = products[:, s, t]
    normal = quadratic.normal(K)
    h_U = (quadratic.h.reshape(J, -1) @ K).reshape(-1)
    c = normal.solve(h_U)
    coefficients = c.reshape(J, -1)
    X = (coefficients @ K.T).reshape(-1)
    residual = 2 * (quadratic.apply(X) - quadratic.h)
    inner = np.zeros((r, D, J))
    inner[s, t] = coefficients.T
    gradient, hessian = _derivatives(quadratic, products, K, (s, t), inner, residual, normal)
    return Projection(
        frame=V,
        heads=r,
        A=np.einsum("lt,stj->slj", V, inner),
        X=X,
        loss=float(quadratic.y2 - h_U @ c),
        explained=float(h_U @ c),
        gradient=gradient,
        hessian=hessian,
        curved=normal.size,
        flat=normal.zeros,
    )


def _derivatives(
    quadratic: Quadratic,
    products: Array,
    K: Array,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    inner: Array,
    residual: Array,
    normal: Normal,
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
    hessian = 2 * moved.T @ pushed - cross.T @ normal.solve(cross) / 2
    return gradient, (hessian + hessian.T) / 2
