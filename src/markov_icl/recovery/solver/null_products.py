"""Singular ``H``: the product vectors on which every certificate must vanish.

A *null direction* is a ``b`` with ``H_b = J_b^T H J_b`` singular, where ``a`` in ``ker H_b`` changes no
prediction. ``M`` must vanish on ``b (x) a`` in every leaf whose cones contain ``b``, and nowhere else.
What is found here only chooses the proof; :mod:`markov_icl.recovery.certificate.verify` checks it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift, pack, unpack

__all__ = ["NullDirection", "exact_on_face", "kernel_of", "null_directions"]

_ZERO = 1e-11
_MOST_INTEGER = 4000
_GRID_BITS = 44


@dataclass(frozen=True, eq=False)
class NullDirection:
    """A ``b`` and the ``a`` with ``H phi(b, a) = 0``.

    Attributes:
        b: ``[D]``, largest entry 1 where it is rational.
        a: echelon basis, one ``a`` a row, ``[k, m]``.
    """

    b: Array
    a: Array

    @property
    def columns(self) -> Array:
        """Return the products ``b (x) a``, ``[N, k]``."""
        return np.asarray(np.kron(self.b[:, None], self.a.T), dtype=np.float64)


def null_directions(lifted: Lift, check: Callable[[], None], tries: int = 40) -> list[NullDirection]:
    """Return the null directions found: small integer vectors, then a random search.

    Args:
        lifted: the loss.
        check: called often; may raise.
        tries: random starts.
    """
    found: list[NullDirection] = []
    for b in _integer_vectors(lifted.dimension):
        check()
        _add(lifted, b, found)
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(lifted.Q)
    keep = values >= _ZERO * values[-1]
    root = (vectors[:, keep] * np.sqrt(values[keep])).T.reshape(int(keep.sum()), lifted.dimension, -1)
    for _ in range(tries):
        check()
        b = _descend(root, rng)
        _add(lifted, _snapped(b / b[np.argmax(np.abs(b))]), found)
    return found


def kernel_of(lifted: Lift) -> Array:
    """Return a basis of ``ker Q`` in echelon form, small fractions snapped, ``[N, k]``."""
    values, vectors = np.linalg.eigh(lifted.Q)
    return _echelon(vectors[:, values < _ZERO * values[-1]].T).T


def _given_b(lifted: Lift, b: Array) -> Array:
    """Return ``H_b``, ``[m, m]``."""
    D = lifted.dimension
    tensor = lifted.Q.reshape(D, lifted.size // D, D, -1)
    return np.asarray(np.einsum("i,isjt,j->st", b, tensor, b, optimize=True))


def _add(lifted: Lift, b: Array, found: list[NullDirection]) -> None:
    """Append ``b`` if it is null and new."""
    unit = b / np.linalg.norm(b)
    if any(abs(unit @ old.b) > (1 - 1e-7) * np.linalg.norm(old.b) for old in found):
        return
    values, vectors = np.linalg.eigh(_given_b(lifted, unit))
    null = values < _ZERO * values[-1]
    if null.any():
        found.append(NullDirection(b, _echelon(vectors[:, null].T)))


def _integer_vectors(D: int) -> list[Array]:
    """Return the vectors of entries -1, 0, 1 whose first nonzero entry is 1, fewest nonzero entries first."""
    if 3**D > 2 * _MOST_INTEGER:
        return []
    every = [np.array(v, dtype=np.float64) for v in itertools.product((0, 1, -1), repeat=D)]
    kept = [v for v in every if v.any() and v[np.nonzero(v)[0][0]] == 1]
    return sorted(kept, key=lambda v: int(np.abs(v).sum()))


def _snapped(x: Array) -> Array:
    """Return ``x`` with entries rounded to multiples of 1/60 if all are that close, else ``x``."""
    near = np.round(60 * x) / 60
    return near if float(np.abs(near - x).max(initial=0.0)) < 1e-7 else x


def _echelon(rows: Array) -> Array:
    """Return a reduced echelon basis of the row space, small fractions snapped."""
    rows = rows.copy()
    for k in range(len(rows)):
        pivot = int(np.argmax(np.abs(rows[k:]).max(axis=0) > 0.1 * np.abs(rows[k:]).max()))
        best = k + int(np.argmax(np.abs(rows[k:, pivot])))
        rows[[k, best]] = rows[[best, k]]
        rows[k] /= rows[k, pivot]
        others = np.arange(len(rows)) != k
        rows[others] -= np.outer(rows[others, pivot], rows[k])
    return _snapped(rows)


def _descend(root: Array, rng: np.random.Generator) -> Array:
    """Return a unit ``b`` that with some ``a`` locally minimizes ``|root (b (x) a)|``, root ``[r, D, m]``."""
    D = root.shape[1]
    b: Array = rng.standard_normal((D,))
    for _ in range(20):
        a = np.linalg.eigh(_square(np.tensordot(root, b, axes=(1, 0))))[1][:, 0]
        b = np.linalg.eigh(_square(root @ a))[1][:, 0]
    for _ in range(8):
        given_b, given_a = np.tensordot(root, b, axes=(1, 0)), root @ a
        step = np.linalg.lstsq(np.hstack([given_a, given_b]), given_b @ a, rcond=1e-9)[0]
        b, a = b - step[:D], a - step[D:]
        b, a = b / np.linalg.norm(b), a / np.linalg.norm(a)
    return np.asarray(b)


def _square(X: Array) -> Array:
    return np.asarray(X.T @ X)


def exact_on_face(z: Array, S: tuple[Array, ...], null: NullDirection, blocks: int) -> tuple[Array, tuple[Array, ...]]:
    """Return packed ``Z`` and the ``S_c`` moved a little so that they vanish on ``b (x) a``.

    They vanish to the last bit where ``b`` and ``a`` are integral with pivots 1: in the basis where those are
    basis vectors, numbers are rounded to a common grid and the entries that must vanish are set to zero;
    everything else is sums of a few integers.

    Args:
        z: as :func:`markov_icl.recovery.certificate.lift.pack` returns it.
        S: ``[m, m]`` each.
        null: the direction of the leaf's face.
        blocks: ``J``.
    """
    D, m = len(null.b), null.a.shape[1]
    at = int(np.argmax(np.abs(null.b)))
    pivots = [int(np.nonzero(row)[0][0]) for row in null.a]
    Tb, Ta = np.eye(D), np.eye(m)
    Tb[:, at], Ta[:, pivots] = null.b, null.a.T
    back_b, back_a = np.round(np.linalg.inv(Tb), 12), np.round(np.linalg.inv(Ta), 12)
    Z = unpack(_on_grid(z), blocks, D)
    turned = _turn(Z, Tb, Ta).reshape(D, m, D, m)
    turned[at, pivots] = 0
    turned[:, :, at, pivots] = 0
    for s in pivots:
        turned[:, s, at, :] = 0
        turned[at, :, :, s] = 0
    Z = _turn(turned.reshape(D * m, -1), back_b, back_a)
    out = []
    for block in S:
        T = Ta.T @ _on_grid(block) @ Ta
        T[pivots], T[:, pivots] = 0, 0
        T = back_a.T @ T @ back_a
        out.append((T + T.T) / 2)
    return pack(Z, D), tuple(out)


def _turn(Z: Array, Tb: Array, Ta: Array) -> Array:
    T = np.kron(Tb, Ta)
    return np.asarray(T.T @ Z @ T)


def _on_grid(x: Array) -> Array:
    """Return ``x`` rounded to a power of two far below its largest entry."""
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0:
        return x
    step = 2.0 ** (np.ceil(np.log2(largest)) - _GRID_BITS)
    return np.asarray(np.round(x / step) * step)
