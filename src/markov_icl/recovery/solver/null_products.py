"""Singular ``H``: the product vectors on which every certificate must vanish.

A *null direction* is a ``b`` with ``H_b = J_b^T H J_b`` singular, where ``a`` in ``ker H_b`` changes no
prediction. ``M`` must vanish on ``b (x) a`` in every leaf whose cones contain ``b``, and nowhere else.
What is found here only chooses the proof; :mod:`markov_icl.recovery.certificate.verify` checks it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import lcm

import numpy as np

from markov_icl.features import Array, vech_indices
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import fraction, null_space
from markov_icl.recovery.certificate.lift import Lift, lift_positions, pack, unpack

__all__ = ["Kernel", "NullDirection", "exact_kernel", "exact_on_face", "kernel_of", "lifted_kernel", "null_directions"]

_UNPROVABLE = 1e-12
"""After scaling to unit diagonal, an eigenvalue up to this times the order counts as zero where nothing exact is known.
Moments are within 1e-14 to 1e-13, so there may be a negative one, and no proof in floats could use it."""
_MOST_INTEGER = 4000
"""Vectors of entries -1, 0, 1 tried one by one, in all up to ``D = 8``: a bias on two states has no others."""
_GRID_BITS = 44
"""Entries rounded to this many bits below the largest can be added up without rounding in 53."""
_LARGEST_INTEGER = 2**20
"""Columns with larger entries are as good as dependent to ``null_columns.kept``, which wants pivots above 1e-6."""


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


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of ``Q`` and the rest of it.

    Attributes:
        columns: a basis of the kernel, ``[N, k]``.
        root: ``R`` with ``R^T R = Q``, ``[N_H - nullity, N]``.
        floor: ``f~*``, what ``Z = 0`` proves.
    """

    columns: Array
    root: Array
    floor: float


def kernel_of(matrix: Array, size: Array) -> tuple[Array, Array]:
    """Return a basis of the kernel ``[n, k]`` of a positive semidefinite matrix, and ``R`` with ``R^T R`` the rest.

    Args:
        matrix: ``[n, n]``.
        size: the rank is decided after scaling by these, ``[n]``: roots of the diagonal, or of the diagonal's terms
            where the matrix is a sum that may cancel.
    """
    scale = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    null = values <= _UNPROVABLE * len(matrix)
    return vectors[:, null] / scale[:, None], (vectors[:, ~null] * np.sqrt(values[~null])).T * scale


def exact_kernel(moments: Moments | RationalMoments) -> Array | None:
    """Return integral columns that span the kernel of ``H``, ``[N_H, k]``; None where floats cannot say them."""
    if not isinstance(moments, RationalMoments):
        return None
    columns = np.zeros((moments.size, 0))
    for row in null_space(moments.H):
        entries = [fraction(entry) for entry in row]
        common = lcm(*(entry.denominator for entry in entries))
        integers = np.array([float(entry * common) for entry in entries])
        if np.abs(integers).max() > _LARGEST_INTEGER:
            return None
        columns = np.column_stack([columns, integers])
    return columns


def lifted_kernel(lifted: Lift, exact: Array | None = None) -> Kernel:
    """Return the kernel of ``Q``: that of ``H``, and the vectors antisymmetric in the two indices of an entry.

    Args:
        lifted: the loss.
        exact: columns that span the kernel of ``H``, if they are known.

    Raises:
        ValueError: if ``q`` is not orthogonal to the kernel, so that the loss has no lower bound.
    """
    # H itself is half the size of Q: take it out of Q, one place for each coordinate of X.
    D, J = lifted.dimension, lifted.blocks
    at = lift_positions(J, D)
    place = np.arange(lifted.size).reshape(D, J, D)
    i, k = vech_indices(D)
    first = place[i, :, k].T.reshape(-1)
    H, h = lifted.Q[np.ix_(first, first)], lifted.q[first]
    found, root = kernel_of(H, np.sqrt(np.maximum(np.diag(H), 0.0)))
    columns = _echelon(found.T).T if exact is None else exact
    # Along a null direction the loss is linear; a slope there that is more than rounding has no lower bound.
    along = np.abs(columns.T @ h) / np.linalg.norm(columns, axis=0)
    if along.max(initial=0.0) > 1e-8 * float(np.linalg.norm(h)):
        raise ValueError("expected h orthogonal to the null directions of H; got a loss without lower bound")
    # In product coordinates e_i (x) e_jk - e_k (x) e_ji is null whatever the task.
    i, k = np.triu_indices(D, 1)
    upper, lower = place[i, :, k].reshape(-1), place[k, :, i].reshape(-1)
    null = np.zeros((lifted.size, columns.shape[1] + len(upper)))
    null[first, : columns.shape[1]] = columns
    swapped = columns.shape[1] + np.arange(len(upper))
    null[upper, swapped], null[lower, swapped] = 1.0, -1.0
    solved = np.linalg.lstsq(root.T, h, rcond=None)[0]
    return Kernel(null, root[:, at], lifted.y2 - float(solved @ solved))


def null_directions(lifted: Lift, kernel: Kernel, check: Callable[[], None], tries: int = 40) -> list[NullDirection]:
    """Return the null directions found: small integer vectors, then a random search.

    Args:
        lifted: the loss.
        kernel: of its ``Q``.
        check: called often; may raise.
        tries: random starts.
    """
    found: list[NullDirection] = []
    sizes = np.sqrt(np.maximum(np.diag(lifted.Q), 0.0)).reshape(lifted.dimension, -1)
    for b in _integer_vectors(lifted.dimension):
        check()
        _add(lifted, sizes, b, found)
    rng = np.random.default_rng(0)
    root = kernel.root.reshape(len(kernel.root), lifted.dimension, -1)
    for _ in range(tries):
        b = _local_minimum(root, rng, check)
        _add(lifted, sizes, _snapped(b / b[np.argmax(np.abs(b))]), found)
    return found


def _given_b(lifted: Lift, b: Array) -> Array:
    """Return ``H_b``, ``[m, m]``."""
    D = lifted.dimension
    half = (b @ lifted.Q.reshape(D, -1)).reshape(lifted.size // D, D, -1)
    return np.tensordot(half, b, axes=(1, 0))


def _add(lifted: Lift, sizes: Array, b: Array, found: list[NullDirection]) -> None:
    """Append ``b`` if it is null and new."""
    unit = b / np.linalg.norm(b)
    if any(abs(unit @ old.b) > (1 - 1e-7) * np.linalg.norm(old.b) for old in found):
        return
    null, _ = kernel_of(_given_b(lifted, unit), np.abs(unit) @ sizes)
    if null.shape[1]:
        found.append(NullDirection(b, _echelon(null.T)))


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


def _local_minimum(root: Array, rng: np.random.Generator, check: Callable[[], None]) -> Array:
    """Return a unit ``b`` that with some ``a`` locally minimizes ``|root (b (x) a)|``, root ``[r, D, m]``."""
    D = root.shape[1]
    b: Array = rng.standard_normal((D,))
    # Alternate exact minimization: linear convergence, from anywhere.
    for _ in range(20):
        check()
        a = np.linalg.eigh(_square(np.tensordot(root, b, axes=(1, 0))))[1][:, 0]
        b = np.linalg.eigh(_square(root @ a))[1][:, 0]
    # Gauss-Newton in both factors: quadratic convergence where the minimum is zero, down to rounding.
    for _ in range(8):
        check()
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
    # Coordinates in which b and the rows of a are basis vectors.
    D, m = len(null.b), null.a.shape[1]
    at = int(np.argmax(np.abs(null.b)))
    pivots = [int(np.nonzero(row)[0][0]) for row in null.a]
    Tb, Ta = np.eye(D), np.eye(m)
    Tb[:, at], Ta[:, pivots] = null.b, null.a.T
    back_b, back_a = np.round(np.linalg.inv(Tb), 12), np.round(np.linalg.inv(Ta), 12)
    # There, entries that touch a null product are set to zero; Gamma swaps them among each other.
    Z = unpack(_on_grid(z), blocks, D)
    turned = _turn(Z, Tb, Ta).reshape(D, m, D, m)
    turned[at, pivots] = 0
    turned[:, :, at, pivots] = 0
    for s in pivots:
        turned[:, s, at, :] = 0
        turned[at, :, :, s] = 0
    # Back again: on the common grid no sum is rounded, so what vanished still does.
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
