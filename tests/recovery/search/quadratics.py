"""Problems for the certificate's tests: Markov tasks, random quadratics, graph instances."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy.special import roots_legendre

from markov_icl.features import from_symmetric, to_symmetric, vech_indices, vech_size
from markov_icl.moments.system import Moments


def chain_moments(d: int, context: int, p: float = 0.5) -> Moments:
    """Binary chains, ``p01, p11 ~ U(0, 1)``, first state ``Bernoulli(p)``: averaged over a Legendre grid."""
    D = d + 1
    x, weight = roots_legendre(ceil(3 * d / 2))
    p01, p11 = (g.ravel() for g in np.meshgrid((x + 1) / 2, (x + 1) / 2, indexing="ij"))
    weights = np.outer(weight, weight).ravel() / 4
    again, first = np.ones((D, weights.size)), np.full((D, weights.size), p)
    for t in range(1, D):
        again[t] = again[t - 1] * p11 + (1 - again[t - 1]) * p01
        first[t] = first[t - 1] * p11 + (1 - first[t - 1]) * p01

    def moment(*times: np.ndarray) -> np.ndarray:
        ordered = np.sort(np.stack(np.broadcast_arrays(*times)), axis=0)
        out = first[ordered[0]]
        for gap in np.diff(ordered, axis=0):
            out = out * again[gap]
        return out

    i, k = vech_indices(D)
    mean = moment(i, k)
    fourth = moment(i[:, None], k[:, None], i[None], k[None])
    second = fourth / context + (1 - 1 / context) * mean[:, None] * mean[None]
    t = np.arange(d)
    Sxx = moment(t[:, None], t[None]) * weights
    H = np.einsum("jlp,abp->jalb", Sxx, second, optimize=True).reshape(d * i.size, -1)
    h = np.einsum("jp,ap->ja", moment(t, np.full(d, d)) * weights, mean).ravel()
    return Moments((H + H.T) / 2, h, float(first[d] @ weights), d, D, "quadrature", weights.size)


def random_moments(seed: int) -> Moments:
    """A random quadratic, every third one nearly singular; ``y2`` such that ``f~* = 0.1``."""
    rng = np.random.default_rng(seed)
    D, J = [(2, 1), (2, 2), (3, 1), (2, 3), (3, 2), (4, 1), (3, 3)][seed % 7]
    size = J * vech_size(D)
    vectors = np.linalg.qr(rng.standard_normal((size, size)))[0]
    low = -8.0 if seed % 3 == 0 else -2.0
    H = (vectors * 10 ** rng.uniform(low, 0.5, size)) @ vectors.T
    h = H @ rng.standard_normal(size)
    H = (H + H.T) / 2
    return Moments(H, h, float(h @ np.linalg.solve(H, h)) + 0.1, J, D, "sampled")


def nearest_moments(M: np.ndarray) -> Moments:
    """``sum_j |M_j - sym(b a_j^T)|_F^2`` as a quadratic in ``X``, for ``M`` ``[J, D, D]``."""
    J, D = M.shape[:2]
    rows, columns = vech_indices(D)
    weights = np.tile(np.where(rows == columns, 1.0, 0.5), J)
    X = from_symmetric(M)
    assert np.allclose(to_symmetric(X, J), M)
    return Moments(np.diag(weights), weights * X, float((weights * X) @ X), J, D, "enumeration")


def cycle_blocks(vertices: int) -> np.ndarray:
    """The blocks of the independent-set reduction for a cycle: ``[3 v, v, v]``."""
    blocks = []
    eye = np.eye(vertices)
    for i in range(vertices):
        k = (i + 1) % vertices
        blocks += [np.outer(eye[i], eye[k]) + np.outer(eye[k], eye[i])] + 2 * [np.outer(eye[i], eye[i])]
    return np.array(blocks)
