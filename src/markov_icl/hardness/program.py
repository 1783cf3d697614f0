"""The general class of Problems C.10 and C.11 as data: bilinear forms ``b^T D(r) a_j`` with free ``D(r)``.

An instance asks for ``b`` ``[D]`` and ``A`` ``[D, d]``, ``D = d + 1``, under one-sided or two-sided constraints on
such forms, with some entries fixed and some required nonnegative. Problem C.10 is its feasibility, Problem C.11
minimizes one more form. Exact recovery (Problem C.9) is the special case in which every ``D(r)`` is
``e_i e_k^T + e_k e_i^T`` and nothing is fixed; that one is polynomial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from markov_icl.features import Numbers

__all__ = ["BilinearProgram", "Constraint", "Entry", "Expansion", "Form"]

Sense = Literal["<=", "="]


class Entry(NamedTuple):
    """One entry of ``b`` (``column`` is None) or of a column of ``A``; zero-based."""

    row: int
    column: int | None = None


@dataclass(frozen=True)
class Form:
    """A bilinear form ``b^T D(r) a_j``.

    Attributes:
        column: ``j``, zero-based.
        terms: nonzero entries of ``D(r)`` as ``(row of b, row of a_j, coefficient)``.
    """

    column: int
    terms: tuple[tuple[int, int, Fraction], ...]

    def matrix(self, dimension: int) -> NDArray[np.object_]:
        """Return ``D(r)`` ``[D, D]`` in fractions."""
        D = np.full((dimension, dimension), Fraction(0), dtype=object)
        for i, k, coefficient in self.terms:
            D[i, k] += coefficient
        return D

    def value(self, b: Numbers, A: Numbers) -> Any:
        """Return ``b^T D(r) a_j``, in the arithmetic of ``b`` and ``A``."""
        exact = b.dtype == object
        return sum((c if exact else float(c)) * b[i] * A[k, self.column] for i, k, c in self.terms)


@dataclass(frozen=True)
class Constraint:
    """``b^T D(r) a_j <= right`` or ``= right``."""

    name: str
    form: Form
    sense: Sense
    right: Fraction = Fraction(0)


@dataclass(frozen=True)
class Expansion:
    """A form with the fixed entries put in: ``constant + linear + products of two free entries``."""

    constant: Fraction
    linear: Mapping[Entry, Fraction]
    products: Mapping[tuple[Entry, Entry], Fraction]


@dataclass(frozen=True)
class BilinearProgram:
    """An instance of Problem C.10 (``objective`` None) or C.11.

    Attributes:
        d: number of columns of ``A``; its columns and ``b`` have ``d + 1`` entries.
        constraints: on forms.
        objective: the form to minimize.
        fixed: entries with a given value.
        nonnegative: entries that must not be negative.
        names: what entries stand for, where they stand for something.
    """

    d: int
    constraints: tuple[Constraint, ...]
    objective: Form | None = None
    fixed: Mapping[Entry, Fraction] = field(default_factory=dict)
    nonnegative: frozenset[Entry] = frozenset()
    names: Mapping[Entry, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.d < 1:
            raise ValueError(f"expected d >= 1; got {self.d}")
        for entry in (*self.fixed, *self.nonnegative, *self.names, *self._occurring()):
            inside = 0 <= entry.row <= self.d and (entry.column is None or 0 <= entry.column < self.d)
            if not inside:
                raise ValueError(f"expected entries of b [{self.d + 1}] and A [{self.d + 1}, {self.d}]; got {entry}")
        negative = [e for e in self.nonnegative if self.fixed.get(e, Fraction(0)) < 0]
        if negative:
            raise ValueError(f"expected no negative value at a nonnegative entry; got {self.fixed[negative[0]]}")

    @property
    def dimension(self) -> int:
        """Return ``D = d + 1``."""
        return self.d + 1

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return the forms of the objective, if any, and of the constraints, the ``D(r)`` in order."""
        first = () if self.objective is None else (self.objective,)
        return (*first, *(c.form for c in self.constraints))

    @property
    def free(self) -> tuple[Entry, ...]:
        """Return the free entries that occur in some form, those of ``b`` first."""
        entries = self._occurring() - set(self.fixed)
        return tuple(sorted(entries, key=lambda e: (-1 if e.column is None else e.column, e.row)))

    def _occurring(self) -> set[Entry]:
        rows = {Entry(i) for form in self.forms for i, _, _ in form.terms}
        return rows | {Entry(k, form.column) for form in self.forms for _, k, _ in form.terms}

    def expand(self, form: Form) -> Expansion:
        """Return the form as a polynomial in the free entries."""
        constant, linear, products = Fraction(0), dict[Entry, Fraction](), dict[tuple[Entry, Entry], Fraction]()
        for i, k, coefficient in form.terms:
            left, right = Entry(i), Entry(k, form.column)
            scale = coefficient * self.fixed.get(left, 1) * self.fixed.get(right, 1)
            unknown = [e for e in (left, right) if e not in self.fixed]
            if len(unknown) == 2:
                products[left, right] = products.get((left, right), Fraction(0)) + scale
            elif unknown:
                linear[unknown[0]] = linear.get(unknown[0], Fraction(0)) + scale
            else:
                constant += scale
        return Expansion(constant, linear, products)

    def assemble(self, values: Mapping[Entry, Any], exact: bool = False) -> tuple[Numbers, Numbers]:
        """Return ``b`` ``[D]`` and ``A`` ``[D, d]`` from values of free entries; what is not named is 0."""
        zero, kind = (Fraction(0), object) if exact else (0.0, float)
        b, A = np.full(self.dimension, zero, dtype=kind), np.full((self.dimension, self.d), zero, dtype=kind)
        for entry, value in {**values, **self.fixed}.items():
            target, place = (b, (entry.row,)) if entry.column is None else (A, (entry.row, entry.column))
            target[place] = Fraction(value) if exact else float(value)
        return b, A

    def violation(self, b: Numbers, A: Numbers) -> Any:
        """Return the largest violation of a constraint, a fixed entry or a sign; 0 where ``(b, A)`` is feasible."""
        worst = [abs(_at(b, A, e) - v) for e, v in self.fixed.items()] + [-_at(b, A, e) for e in self.nonnegative]
        for one in self.constraints:
            excess = one.form.value(b, A) - one.right
            worst.append(abs(excess) if one.sense == "=" else excess)
        return max([*worst, type(b[0])(0)])

    def value(self, b: Numbers, A: Numbers) -> Any:
        """Return the objective, 0 for a feasibility problem."""
        return type(b[0])(0) if self.objective is None else self.objective.value(b, A)

    def feasibility(self) -> BilinearProgram:
        """Return Problem C.10 that is feasible exactly when this program attains a value ``<= 0`` (Lemma C.12).

        The objective becomes one more constraint. An infimum of 0 that is not attained does not count.

        Raises:
            ValueError: if there is no objective.
        """
        if self.objective is None:
            raise ValueError("expected a program with an objective; got a feasibility problem")
        extra = Constraint("objective", self.objective, "<=")
        return replace(self, objective=None, constraints=(extra, *self.constraints))


def _at(b: Numbers, A: Numbers, entry: Entry) -> Any:
    return b[entry.row] if entry.column is None else A[entry.row, entry.column]
