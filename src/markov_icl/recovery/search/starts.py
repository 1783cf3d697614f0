"""Subspaces from which the local search sets out: random ones, and guesses taken from ``X*``."""

from __future__ import annotations

import numpy as np

from markov_icl.features import Array, to_symmetric
from markov_icl.recovery.search.quadratic import Quadratic

__all__ = ["balance", "informed_starts", "random_starts"]


def balance(quadratic: Quadratic, E: Array) -> Array:
    """Return ``W = T^{-1/2}`` ``[D, D]``: the loss treats all directions ``u`` of ``b = W u`` about alike.

    ``T`` is the partial trace over ``a`` of the average block of ``H`` lifted to ``b (x) a``.

    Args:
        quadratic: the loss.
        E: :func:`~markov_icl.recovery.search.projection.forms` of its dimension.
    """
    T = np.einsum("mpl,mn,nql->pq", E, quadratic.mean_block(), E, optimize=True)
    values, vectors = np.linalg.eigh((T + T.T) / 2)
    floor = max(1e-12 * float(values[-1]), 1e-300)
    return np.asarray((vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T)


def random_starts(W: Array, heads: int, count: int, rng: np.random.Generator) -> list[Array]:
    """Draw ``count`` Gaussian subspaces ``[D, r]``, every second one in :func:`balance`'s coordinates."""
    D = W.shape[0]
    drawn = rng.standard_normal((count, D, heads))
    return [W @ one if index % 2 else one for index, one in enumerate(drawn)]


def informed_starts(X: Array, blocks: int, W: Array, heads: int) -> list[Array]:
    """Guess subspaces from an unrealizable ``X``.

    They are: the leading left singular vectors of ``[M_1 .. M_J]``; for each block the span of its
    nearest product's factors (one head: either factor) or its leading eigenvectors; and each coordinate
    axis beside the leading singular vectors (one head: ``b = e_i``; ``e_D`` is the label's coordinate).

    Args:
        X: ``[N]``.
        blocks: ``J``.
        W: :func:`balance`; singular and eigenvectors are taken in its coordinates.
        heads: ``r``.

    Returns:
        subspaces ``[D, r]``.
    """
    inverse = np.linalg.inv(W)
    M = inverse @ np.asarray(to_symmetric(X, blocks), dtype=float) @ inverse
    D = M.shape[1]
    leading = np.linalg.svd(M.transpose(1, 0, 2).reshape(D, -1))[0]
    found = [W @ leading[:, :heads]]
    values, vectors = np.linalg.eigh(M)
    for j in range(blocks):
        found += [W @ guess for guess in _block_guesses(values[j], vectors[j], heads)]
    axes = np.eye(D)
    for i in range(D):
        found.append(np.column_stack([axes[i], W @ leading[:, : heads - 1]]))
    return [guess for guess in found if np.linalg.matrix_rank(guess, tol=1e-10) == heads]


def _block_guesses(values: Array, vectors: Array, heads: int) -> list[Array]:
    """Return the factors of the product nearest to one form, or its ``r`` leading eigenvectors."""
    if heads == 1:
        plus = np.sqrt(max(float(values[-1]), 0.0)) * vectors[:, -1:]
        minus = np.sqrt(max(-float(values[0]), 0.0)) * vectors[:, :1]
        return [plus + minus, plus - minus]
    order = np.argsort(-np.abs(values), kind="stable")
    return [vectors[:, order[:heads]]]
