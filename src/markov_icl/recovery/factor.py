"""Exact recovery: transformer parameters ``(b, A)`` with ``phi(b, A) = X``, or a witness that none exist.

Block ``j`` is the quadratic form ``(b.v)(a_j.v)``: a product of two linear forms, one of them shared.
Factorization of forms is unique, so one nonzero block leaves at most two directions for ``b``, and
Problem C.9 is polynomial (theory, section 5). For rational ``X`` all work is in ``Q(sqrt(Delta))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markov_icl.features import Numbers, phi, split_blocks, to_symmetric
from markov_icl.recovery.surd import Surd
from markov_icl.tasks.kernels import as_fraction

__all__ = ["Recovery", "Witness", "recover"]


@dataclass(frozen=True, eq=False)
class Witness:
    """Why no real ``(b, A)`` maps to ``X``; every number can be checked by hand.

    Attributes:
        kind: ``rank`` (a 3x3 minor of a block is nonzero), ``definite`` (a block of rank 2 has
            eigenvalues of one sign, so it is no product of real linear forms) or ``mismatch`` (the
            blocks share no linear factor).
        block: the offending block, zero-based.
        rows: rows of the minor; None for ``mismatch``.
        columns: columns of the minor.
        value: the minor, or for ``mismatch`` the form's value at ``vector``.
        vector: for ``mismatch``, a ``v`` with ``b.v = 0`` for the last candidate ``b`` but ``v^T M v != 0``.
        text: the same in words.
    """

    kind: str
    block: int
    text: str
    value: Fraction | float | None = None
    rows: tuple[int, ...] | None = None
    columns: tuple[int, ...] | None = None
    vector: Numbers | None = None


@dataclass(frozen=True, eq=False)
class Recovery:
    """Parameters, or a witness.

    Attributes:
        recoverable: whether real ``(b, A)`` with ``phi(b, A) = X`` exist.
        b: ``[D]``, largest entry 1 where rational; None if not recoverable.
        A: ``[D, J]``.
        witness: None if recoverable.
        exact: True: a proof in exact arithmetic. False: a verdict at ``tolerance``.
        tolerance: relative to the largest entry of ``X``; None when exact.
        residual: ``max |phi(b, A) - X| / max |X|``, exactly 0 when exact; nan if not recoverable.
        b_exact: entries as fractions or :class:`~markov_icl.recovery.surd.Surd`, ``[D]``.
        A_exact: the same, ``[D, J]``.
    """

    recoverable: bool
    exact: bool
    b: NDArray[np.float64] | None = None
    A: NDArray[np.float64] | None = None
    witness: Witness | None = None
    tolerance: float | None = None
    residual: float = np.nan
    b_exact: NDArray[np.object_] | None = None
    A_exact: NDArray[np.object_] | None = None


def recover(X: ArrayLike, blocks: int | None = None, tolerance: float = 1e-9) -> Recovery:
    """Find real ``(b, A)`` with ``phi(b, A) = X``, or a witness that there are none.

    Integers, fractions and strings such as ``"3/10"`` are solved exactly; floats (NumPy arrays and
    torch tensors too) get a verdict at ``tolerance``. Polynomial time, any number of blocks.

    Args:
        X: ``[J m]`` or ``[J, m]``.
        blocks: ``J``, when ``X`` is flat and not of the plain form ``J = D - 1``.
        tolerance: relative, for floats only.

    Raises:
        ValueError: for a malformed shape, a number that is not finite, or a tolerance outside (0, 1).

    Source: Problem C.9; theory, section 5.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"expected a tolerance between 0 and 1; got {tolerance}")
    given = np.asarray(X)
    inexact = given.dtype.kind == "f" or any(isinstance(v, float) for v in given.ravel().tolist())
    if given.dtype.kind in "iuOU" and not inexact:
        exact = np.array([as_fraction(v, "each entry of X") for v in given.ravel()] + [None], dtype=object)
        return _recover_exactly(to_symmetric(exact[:-1].reshape(given.shape), blocks))
    try:
        if given.dtype.kind == "c":
            raise TypeError
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("expected X to hold real numbers; got something else") from None
    if not np.isfinite(numbers).all():
        raise ValueError("expected X to hold finite numbers; got nan or infinity")
    split_blocks(numbers, blocks)
    return _recover_numerically(to_symmetric(numbers, blocks), tolerance)


def _recover_exactly(M: Numbers) -> Recovery:
    # Every block on its own must be a product of two linear forms; X = 0 is any b with A = 0.
    dimension = M.shape[1]
    nonzero = [j for j in range(len(M)) if np.any(M[j] != 0)]
    if not nonzero:
        b = np.array([Fraction(int(i == dimension - 1)) for i in range(dimension)], dtype=object)
        return _exact_result(b, np.full((dimension, len(M)), Fraction(0), dtype=object), M)
    factors = {}
    for j in nonzero:
        found = _linear_factors(M[j], j)
        if isinstance(found, Witness):
            return Recovery(False, True, witness=found)
        factors[j] = found
    # b divides the first nonzero block, so it is one of its two factors; the other blocks decide.
    first = nonzero[0]
    witness: Witness | None = None
    for b, partner in factors[first]:
        if isinstance(b[0], Surd):
            ratios = _multiples(M, first)
            if not isinstance(ratios, Witness):
                return _exact_result(b, np.outer(partner, ratios), M)
            witness = ratios
            break
        A = _partners(M, b)
        witness = _mismatch(M, b, A)
        if witness is None:
            return _exact_result(b, A, M)
    return Recovery(False, True, witness=witness)


def _exact_result(b: Numbers, A: Numbers, M: Numbers) -> Recovery:
    expected = np.array([_product(b, A[:, j]) for j in range(len(M))], dtype=object)
    if np.any(expected != M):
        raise ArithmeticError("recovered parameters do not reproduce X: this is a bug, please report it")
    return Recovery(True, True, b.astype(float), A.astype(float), residual=0.0, b_exact=b, A_exact=A)


def _product(b: Numbers, a: Numbers) -> Numbers:
    result: Numbers = (np.outer(b, a) + np.outer(a, b)) * Fraction(1, 2)
    return result


def _linear_factors(M: Numbers, block: int) -> list[tuple[Numbers, Numbers]] | Witness:
    """Write ``v^T M v = (f.v)(g.v)``; return ``(f, g)`` and ``(g, f)``, or why it is impossible."""
    # Rank above 2 is no product of two forms.
    rows, columns, minor = _minor(M)
    if len(rows) == 3:
        at = f"rows {_one_based(rows)}, columns {_one_based(columns)}"
        text = f"block {block + 1} has rank above 2: its minor at {at} is {_short(minor)}, not 0"
        return Witness("rank", block, text, minor, tuple(rows), tuple(columns))
    # Complete the square: M[i, i] (leading.v)^2 plus a rest of rank one at most.
    diagonal = [i for i in range(len(M)) if M[i, i] != 0]
    if not diagonal:
        i, k = (int(v[0]) for v in np.nonzero(M))
        f, g = M[i], M[k] * (2 / M[i, k])
        return [_normalized(f, g), _normalized(g, f)]
    i = diagonal[0]
    leading = M[i] / M[i, i]
    rest = M - np.outer(M[i], leading)
    pivots = [k for k in range(len(M)) if rest[k, k] != 0]
    if not pivots:
        return [_normalized(leading, M[i])]
    k = pivots[0]
    second, radicand = rest[k] / rest[k, k], -rest[k, k] / M[i, i]
    if radicand < 0:
        value = M[i, i] * M[k, k] - M[i, k] ** 2
        at = f"rows and columns {_one_based([i, k])}"
        text = f"block {block + 1} has rank 2 and eigenvalues of one sign: its minor at {at} is {_short(value)} > 0"
        return Witness("definite", block, text, value, (i, k), (i, k))
    # A difference of squares splits over the rationals, or over the root of the radicand.
    root = _rational_root(radicand)
    if root is not None:
        f, g = leading + root * second, M[i, i] * (leading - root * second)
        return [_normalized(f, g), _normalized(g, f)]
    square, radicand = _square_part(radicand)
    pairs = zip(leading, square * second, strict=True)
    f = np.array([Surd(u, v, radicand) for u, v in pairs], dtype=object)
    return [(f, np.array([M[i, i] * s.conjugate() for s in f], dtype=object))]


def _minor(M: Numbers, most: int = 3) -> tuple[list[int], list[int], Fraction]:
    """Return rows and columns of a largest nonzero minor, up to 3x3, and its value."""
    rest, value, sign = M.copy(), Fraction(1), 1
    rows: list[int] = []
    columns: list[int] = []
    while len(rows) < most and np.any(rest != 0):
        i, k = (int(v[0]) for v in np.nonzero(rest))
        value *= rest[i, k]
        rows.append(i)
        columns.append(k)
        rest = rest - np.outer(rest[:, k], rest[i]) / rest[i, k]
    for order in (rows, columns):
        sign *= (-1) ** sum(a > b for n, a in enumerate(order) for b in order[n + 1 :])
    return sorted(rows), sorted(columns), value * sign


def _normalized(f: Numbers, g: Numbers) -> tuple[Numbers, Numbers]:
    """Scale so that the entry of ``f`` largest in size is 1."""
    largest = max(f, key=abs)
    return f / largest, g * largest


def _rational_root(value: Fraction) -> Fraction | None:
    p, q = isqrt(value.numerator), isqrt(value.denominator)
    return Fraction(p, q) if p * p == value.numerator and q * q == value.denominator else None


def _square_part(value: Fraction) -> tuple[Fraction, Fraction]:
    """Return ``(s, r)`` with ``value = s^2 r``, ``r`` a whole number without small square factors."""
    outside, inside = Fraction(1, value.denominator), value.numerator * value.denominator
    for prime in range(2, 1000):
        while inside % prime**2 == 0:
            inside //= prime**2
            outside *= prime
    return outside, Fraction(inside)


def _partners(M: Numbers, b: Numbers) -> Numbers:
    """Return ``a_j = (2 M_j b - (b^T M_j b / |b|^2) b) / |b|^2`` for every block, ``[D, J]``."""
    square = b @ b
    images = M @ b
    result: Numbers = ((2 * images - np.outer(images @ b / square, b)) / square).T
    return result


def _mismatch(M: Numbers, b: Numbers, A: Numbers, tolerance: float = 0.0) -> Witness | None:
    """Return a block and a ``v`` with ``b.v = 0`` where the block's form is not 0; None if there is none.

    The columns of ``N_b``, ``b_p e_i - b_i e_p`` with ``b_p != 0``, span all ``v`` with ``b.v = 0``.
    """
    off = [float(np.max(np.abs(block - _product(b, A[:, j])))) for j, block in enumerate(M)]
    if max(off) <= tolerance:
        return None
    j = int(np.argmax(off))
    p = int(np.argmax(np.abs(b)))
    basis = np.array([[b[p] * (r == i) - b[i] * (r == p) for r in range(len(b))] for i in range(len(b))])
    values = basis @ M[j] @ basis.T
    i, k = np.unravel_index(int(np.argmax(np.abs(values))), values.shape)
    diagonal = max((i, k), key=lambda v: abs(values[v, v]))
    vector = basis[diagonal] if values[diagonal, diagonal] != 0 else basis[i] + basis[k]
    value = vector @ M[j] @ vector
    text = (
        f"block {j + 1} does not share the linear factor of the other blocks: "
        f"its form is {_short(value)} at a vector where that factor is 0"
    )
    return Witness("mismatch", j, text, value, vector=vector)


def _multiples(M: Numbers, first: int) -> Numbers | Witness:
    """Return ``c_j`` with ``M_j = c_j M_first``, needed when the factors of ``M_first`` are irrational."""
    i, k = (int(v[0]) for v in np.nonzero(M[first]))
    ratios = M[:, i, k] / M[first, i, k]
    for j, block in enumerate(M):
        off = block - ratios[j] * M[first]
        if np.any(off != 0):
            r, c = (int(v[0]) for v in np.nonzero(off))
            text = (
                f"block {j + 1} shares no linear factor with block {first + 1}, whose factors are irrational: "
                f"it would have to be its multiple, and entry ({r + 1},{c + 1}) differs by {_short(off[r, c])}"
            )
            return Witness("mismatch", j, text, off[r, c], (r,), (c,))
    result: Numbers | Witness = ratios
    return result


def _short(value: Fraction | float) -> str:
    text = str(value)
    return text if len(text) <= 30 else f"{float(value):.6g}"


def _one_based(indices: list[int]) -> str:
    return ",".join(str(i + 1) for i in indices)


def _recover_numerically(M: NDArray[np.float64], tolerance: float) -> Recovery:
    scale = float(np.abs(M).max())
    if scale == 0:
        dimension = M.shape[1]
        zero = np.zeros((dimension, len(M)))
        return Recovery(True, False, np.eye(dimension)[-1], zero, tolerance=tolerance, residual=0.0)
    # The same reasons against as in fractions, at a tolerance.
    values, vectors = np.linalg.eigh(M / scale)
    by_size = np.argsort(-np.abs(values), axis=1)
    ranked = np.take_along_axis(values, by_size, axis=1)
    witness = _spectral_witness(ranked, tolerance)
    if witness is not None:
        return Recovery(False, False, witness=witness, tolerance=tolerance)
    # Candidates from every block: which one rounding has spoilt least is not known beforehand.
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for j in np.flatnonzero(np.abs(ranked[:, 0]) > tolerance):
        plus, minus = np.sqrt(np.maximum(values[j, -1], 0)), np.sqrt(np.maximum(-values[j, 0], 0))
        for sign in (1, -1):
            b = plus * vectors[j, :, -1] + sign * minus * vectors[j, :, 0]
            b, A = _polished(M / scale, b / np.linalg.norm(b))
            residual = _residual(M / scale, b, A)
            if best is None or residual < best[0]:
                best = (residual, b, A)
    assert best is not None
    residual, b, A = best
    if residual > tolerance:
        found = _mismatch(M / scale, b, A, tolerance)
        return Recovery(False, False, witness=found, tolerance=tolerance)
    largest = b[np.argmax(np.abs(b))]
    return Recovery(True, False, b / largest, A * largest * scale, tolerance=tolerance, residual=residual)


def _spectral_witness(ranked: NDArray[np.float64], tolerance: float) -> Witness | None:
    if ranked.shape[1] > 2:
        j = int(np.argmax(np.abs(ranked[:, 2])))
        third = float(abs(ranked[j, 2]))
        if third > tolerance:
            text = f"block {j + 1} has rank above 2: its third eigenvalue is {third:.3g} of the largest entry"
            return Witness("rank", j, text, third)
    if ranked.shape[1] > 1:
        signs = ranked[:, 0] * ranked[:, 1]
        definite = (signs > 0) & (np.abs(ranked[:, 1]) > tolerance)
        if definite.any():
            j = int(np.flatnonzero(definite)[0])
            pair = f"{ranked[j, 0]:.3g} and {ranked[j, 1]:.3g}"
            text = f"block {j + 1} has rank 2 and eigenvalues of one sign, {pair} of the largest entry"
            return Witness("definite", j, text, float(ranked[j, 1]))
    return None


def _polished(
    M: NDArray[np.float64], b: NDArray[np.float64], sweeps: int = 20
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Alternate the exact least-squares steps in ``A`` and ``b`` of ``sum_j |M_j - sym(b a_j^T)|^2``."""
    A = _partners(M, b)
    for _ in range(sweeps):
        normal = (A**2).sum() * np.eye(len(b)) + A @ A.T
        b = np.linalg.solve(normal, 2 * np.einsum("jik,kj->i", M, A))
        b = b / np.linalg.norm(b)
        A = _partners(M, b)
    return b, A


def _residual(M: NDArray[np.float64], b: NDArray[np.float64], A: NDArray[np.float64]) -> float:
    return float(np.abs(to_symmetric(phi(b, A), len(M)) - M).max())
