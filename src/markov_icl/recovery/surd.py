"""Numbers ``u + v sqrt(Delta)`` with rational ``u``, ``v`` and one fixed radicand."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

__all__ = ["Surd"]


@dataclass(frozen=True)
class Surd:
    """An element of ``Q(sqrt(radicand))``; arithmetic is exact and keeps the radicand.

    Attributes:
        rational: ``u``.
        coefficient: ``v``.
        radicand: ``Delta > 0``, not a rational square.
    """

    rational: Fraction
    coefficient: Fraction
    radicand: Fraction

    def _coerce(self, other: Surd | Fraction | int) -> Surd:
        if isinstance(other, Surd):
            if other.radicand != self.radicand:
                raise ValueError(f"expected radicand {self.radicand}; got {other.radicand}")
            return other
        return Surd(Fraction(other), Fraction(0), self.radicand)

    def __add__(self, other: Surd | Fraction | int) -> Surd:
        o = self._coerce(other)
        return Surd(self.rational + o.rational, self.coefficient + o.coefficient, self.radicand)

    __radd__ = __add__

    def __mul__(self, other: Surd | Fraction | int) -> Surd:
        o = self._coerce(other)
        return Surd(
            self.rational * o.rational + self.coefficient * o.coefficient * self.radicand,
            self.rational * o.coefficient + self.coefficient * o.rational,
            self.radicand,
        )

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Surd | Fraction | int):
            return NotImplemented
        o = self._coerce(other)
        return (self.rational, self.coefficient) == (o.rational, o.coefficient)

    def __hash__(self) -> int:
        return hash(self.rational) if self.coefficient == 0 else hash((self.rational, self.coefficient))

    def conjugate(self) -> Surd:
        """Return ``u - v sqrt(Delta)``."""
        return Surd(self.rational, -self.coefficient, self.radicand)

    def __float__(self) -> float:
        return float(self.rational) + float(self.coefficient) * sqrt(self.radicand)

    def __str__(self) -> str:
        if self.coefficient == 0:
            return str(self.rational)
        sign = "+" if self.coefficient > 0 else "-"
        return f"{self.rational} {sign} {abs(self.coefficient)}*sqrt({self.radicand})"
