"""A small rule over binary order-1 kernels, in the coordinates where moments are polynomials of low degree.

With ``lambda = p11 - p01`` and the stationary probability ``s`` of state 1, ``(P^k)_11 = s + (1 - s) lambda^k``.
Every integrand of ``H``, ``h`` and ``E y^2`` has degree at most 6 in ``s``, so four Gauss points in ``s`` for
each ``lambda`` are exact, and degree at most ``3 d`` in ``lambda``: about ``38 sqrt(d)`` nodes in all, where the
grid over ``(p01, p11)`` has ``(3 d / 2)^2``. A start law that is stationary is the polynomial ``s``, and so exact too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

from markov_icl.features import Numbers
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.threads import one_blas_thread

__all__ = ["SpectralRule", "spectral_rule"]

_S_NODES = 4
_S_DEGREE = 6
_DECADES = 40.0
"""Parts of a density below ``exp(-40)`` of its largest value are left out."""
_WIDEST = 400.0
"""Logits beyond this are within ``exp(-400)`` of 0 or 1."""
_RANK = 1e-15
_SKETCH = 160
_V_NUMBERS = 2_000_000


@dataclass(frozen=True, eq=False)
class SpectralRule:
    """Weighted kernels with ``p01 = s (1 - lambda)``, ``p11 = s + (1 - s) lambda``.

    Attributes:
        eigenvalue: ``lambda`` of each node, in (-1, 1), ``[K]``.
        stationary: ``s``, in (0, 1), ``[K]``.
        weights: positive, ``[K]``; they sum to one up to ``error``.
        error: largest difference of a moment ``E[lambda^k s^j]``, ``k <= 3 d``, ``j <= 6``, from that of a rule a
            half step aside, whose errors have the other sign. Each of these moments is at most one in size.
    """

    eigenvalue: Float[np.ndarray, "K"]
    stationary: Float[np.ndarray, "K"]
    weights: Float[np.ndarray, "K"]
    error: float

    @property
    def size(self) -> int:
        """Return the number of kernels."""
        return int(self.weights.shape[0])

    def chunk(self, start: int, stop: int) -> tuple[Numbers, Numbers]:
        """Return kernels ``[K, 2, 2]`` and weights ``[K]`` of nodes ``start .. stop``."""
        lam, s = self.eigenvalue[start:stop], self.stationary[start:stop]
        stay = np.stack([1 - s * (1 - lam), s + (1 - s) * lam], axis=1)
        kernels = np.stack([stay, 1 - stay], axis=2)
        kernels[:, 1] = kernels[:, 1, ::-1]
        return kernels, self.weights[start:stop]


def spectral_rule(prior: DirichletPrior, transitions: int) -> SpectralRule:
    """Return a rule for ``p01 ~ Beta``, ``p11 ~ Beta``, exact up to its ``error`` for chains of ``d`` transitions.

    Either sign of ``lambda`` has its own rule in ``|lambda|``: trapezoids in the logit, compressed by nonnegative
    least squares onto the moments that occur. Nonnegative weights keep ``H`` positive semidefinite.

    Args:
        prior: two rows of two Dirichlet parameters.
        transitions: ``d >= 1``.

    Raises:
        ValueError: for another kind of prior.

    Source: long-chains.md, section 1; Lawson & Hanson (1974) for the least squares.
    """
    if prior.shape != (2, 2):
        raise ValueError(f"expected a prior over binary kernels of order 1; got rows and states {prior.shape}")
    (b0, a0), (b1, a1) = ((float(q) for q in row) for row in prior.alpha)
    halves = [_Half(a0, b0, a1, b1, 1), _Half(a1, b1, a0, b0, -1)]
    with one_blas_thread():
        parts = [half.compressed(transitions) for half in halves]
        lam, s, weights = (np.concatenate([part[i] for part in parts]) for i in range(3))
        found = _moments(lam, s, weights, transitions)
        aside = sum((half.moments(transitions, 0.5) for half in halves), np.zeros_like(found))
    return SpectralRule(lam, s, weights, float(np.abs(found - aside).max()))


def _moments(lam: Numbers, s: Numbers, weights: Numbers, transitions: int) -> Numbers:
    """Return ``sum w lambda^k s^j``, ``[3 d + 1, 7]``."""
    powers = np.vander(lam, 3 * transitions + 1, increasing=True)
    result: Numbers = (powers * weights[:, None]).T @ np.vander(s, _S_DEGREE + 1, increasing=True)
    return result


@dataclass(frozen=True)
class _Half:
    """One sign of ``lambda``, by its density in ``v`` and ``mu = |lambda|``.

    Up to a constant it is
    ``v^(A0-1) (1-v)^(B1-1) (1-v+v mu)^(B0-1) (mu+v(1-mu))^(A1-1) (1-mu)^(A0+B1-1)``.
    """

    A0: float
    B0: float
    A1: float
    B1: float
    sign: int

    @property
    def step(self) -> float:
        """Return a step at which the trapezoid rule is exact to rounding.

        The density's poles allow 0.2; a sharp prior is about as wide as one over the root of its mass.
        """
        return min(0.2, 0.7 / sqrt(self.A0 + self.B0 + self.A1 + self.B1))

    def log_density(self, x: Numbers, y: Numbers) -> Numbers:
        """Return the log density with respect to ``dx dy``, ``mu = logistic(x)``, ``v = logistic(y)``, ``[M, V]``."""
        from scipy.special import betaln, log_expit

        mu, x, y = log_expit(x)[:, None], x[:, None], y[None, :]
        alone = self.A0 * log_expit(y) + (self.B1 + self.A1 + self.B0 - 2) * log_expit(-y)
        beside = (self.A0 + self.B1) * log_expit(-x) + mu - betaln(self.A0, self.B0) - betaln(self.A1, self.B1)
        # 1 - v + v mu = (1 + e^y mu) / (1 + e^y), mu + v (1 - mu) = (mu + e^y) / (1 + e^y)
        result = alone + beside
        if self.B0 != 1:
            result += (self.B0 - 1) * np.logaddexp(0.0, y + mu)
        if self.A1 != 1:
            result += (self.A1 - 1) * np.logaddexp(mu, y)
        return np.asarray(result)

    def trapezoid(self, shift: float = 0.0) -> tuple[Numbers, Numbers]:
        """Return logits ``x`` of ``mu`` ``[M]`` and of ``v`` ``[V]`` that cover the density, ``shift`` steps aside."""
        step = self.step
        x = y = np.linspace(-_WIDEST, _WIDEST, 401)
        for _ in range(6):  # the box around the density, ever closer: a sharp prior hides between coarse points
            value = self.log_density(x, y)
            seen = value > value.max() - _DECADES
            x, y = (_around(points, seen.any(axis)) for points, axis in ((x, 1), (y, 0)))
        across, along = (p[0] + step * (np.arange((p[-1] - p[0]) // step + 2) + shift) for p in (x, y))
        return across, along

    def conditional(self, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
        """Return ``s`` and the weights of the trapezoid rule, both ``[M, V]``."""
        from scipy.special import expit

        mu, v = expit(x)[:, None], expit(y)[None, :]
        s = np.broadcast_to(v, (len(x), len(y))) if self.sign > 0 else (mu + (1 - mu) * v) / (1 + mu)
        return s, np.exp(self.log_density(x, y)) * self.step**2

    def moments(self, transitions: int, shift: float) -> Numbers:
        """Return ``E[lambda^k s^j]`` on this half by the trapezoid rule, ``[3 d + 1, 7]``."""
        x, y = self.trapezoid(shift)
        return np.asarray(self._powers(x, transitions).T @ self._given_eigenvalue(x, y))

    def _powers(self, x: Numbers, transitions: int) -> Numbers:
        from scipy.special import expit

        return np.vander(self.sign * expit(x), 3 * transitions + 1, increasing=True)

    def _given_eigenvalue(self, x: Numbers, y: Numbers) -> Numbers:
        """Return ``w E[s^j | lambda]``, ``[M, 7]``."""
        out = np.empty((len(x), _S_DEGREE + 1))
        rows = max(1, _V_NUMBERS // len(y))
        for first in range(0, len(x), rows):
            s, weights = self.conditional(x[first : first + rows], y)
            for j in range(_S_DEGREE + 1):
                out[first : first + rows, j] = weights.sum(1)
                weights *= s
        return out

    def compressed(self, transitions: int) -> tuple[Numbers, Numbers, Numbers]:
        """Return ``lambda``, ``s`` and weights: few nodes with the trapezoid rule's moments."""
        from scipy.optimize import nnls
        from scipy.special import expit

        x, y = self.trapezoid()
        given = self._given_eigenvalue(x, y)
        kept = given[:, 0] > 1e-18 * given[:, 0].sum()
        x, given = x[kept], given[kept]
        root = np.sqrt(given[:, 0])
        functions = (self._powers(x, transitions)[:, :, None] * (given / root[:, None])[:, None, :]).reshape(len(x), -1)
        basis, sizes = _range(functions)
        basis = basis[:, sizes > _RANK * sizes[0]]
        shares, _ = nnls(basis.T, basis.T @ root, maxiter=100 * len(x))
        chosen = shares > 0
        s, conditional = self.conditional(x[chosen], y)
        nodes, inner = _gauss(np.ascontiguousarray(s), conditional, _S_NODES)
        lam = np.repeat(self.sign * expit(x[chosen]), _S_NODES)
        return lam, nodes.reshape(-1), ((shares * root)[chosen][:, None] * inner).reshape(-1)


def _range(functions: Numbers) -> tuple[Numbers, Numbers]:
    """Return orthonormal functions ``[M, r]`` and sizes that span the columns, by a random sketch if many."""
    if functions.shape[1] > _SKETCH:
        sketch = np.random.default_rng(0).standard_normal((functions.shape[1], _SKETCH))
        functions = functions @ (sketch / np.sqrt(_SKETCH))
    basis, sizes, _ = np.linalg.svd(functions, full_matrices=False)
    return basis, sizes


def _around(points: Numbers, seen: Numbers) -> Numbers:
    """Return 401 or more points over the stretch where ``seen``, one point wider on either side."""
    at = np.flatnonzero(seen)
    low, high = max(at[0] - 1, 0), min(at[-1] + 1, len(points) - 1)
    return np.linspace(points[low], points[high], 401)


def _gauss(points: Numbers, weights: Numbers, nodes: int) -> tuple[Numbers, Numbers]:
    """Return Gauss rules ``[M, nodes]``, weights summing to one, for discrete measures ``[M, V]``.

    Lanczos with full reorthogonalization. Source: Gragg & Harrod (1984); Golub & Welsch (1969).
    """
    root = np.sqrt(weights / weights.sum(1, keepdims=True))
    vectors = [root]
    diagonal, beside = np.zeros((len(points), nodes)), np.zeros((len(points), nodes - 1))
    for k in range(nodes):
        image = points * vectors[k]
        diagonal[:, k] = (image * vectors[k]).sum(1)
        if k == nodes - 1:
            break
        for _ in range(2):
            for vector in vectors:
                image -= (image * vector).sum(1, keepdims=True) * vector
        beside[:, k] = np.linalg.norm(image, axis=1)
        vectors.append(image / np.maximum(beside[:, k], 1e-300)[:, None])
    matrices = np.zeros((len(points), nodes, nodes))
    index = np.arange(nodes)
    matrices[:, index, index] = diagonal
    matrices[:, index[1:], index[:-1]] = beside
    values, rotation = np.linalg.eigh(matrices)
    return np.clip(values, 0.0, 1.0), rotation[:, 0, :] ** 2
