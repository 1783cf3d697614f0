"""Coordinates in which a task's values are whole numbers: what proofs work in, and what numbers stay accurate in.

A state's value is ``shift + unit * k`` with whole ``k`` that have no common divisor; only a bias column, which holds a
constant, allows a shift. The best loss over all real ``(b, A)`` does not depend on coordinates, so a task with the
values 0 and 100, or 0 and 1/300, has the proofs of the task with 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from markov_icl.rationals import Exact, exact_array
from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["Units", "whole_units"]


_LARGEST = 10**9
"""Values whose whole numbers would be larger stay as they are."""


@dataclass(frozen=True)
class Units:
    """How a column ``z`` of a prompt comes from the column ``u`` of whole numbers.

    ``z = unit u + shift`` for states, ``z = u = 1`` for the bias; answers are ``y = unit (ratio + k)``.

    Attributes:
        unit: positive.
        shift: 0 without a bias.
        constant: place of the bias in a column of ``D`` entries; None without one.
    """

    unit: Fraction
    shift: Fraction
    constant: int | None

    @property
    def ratio(self) -> Fraction:
        """Return ``shift / unit``."""
        return self.shift / self.unit

    @property
    def trivial(self) -> bool:
        """Return whether both columns are the same."""
        return self.unit == 1 and self.shift == 0

    def to_whole(self, b: Exact, A: Exact) -> tuple[Exact, Exact]:
        """Return parameters ``[D]``, ``[D, J]`` that predict ``y / unit`` from ``u`` as these predict ``y`` from ``z``.

        ``z = T u`` and ``x = T_x u_x`` turn ``b^T G A x`` into ``(T^T b)^T G_u (T^T A T_x) u_x``.
        """
        if self.trivial:
            return b, A
        T = self._matrix(len(b))
        Tx = np.delete(np.delete(T, -1, 0), -1, 1)
        return T.T @ b, T.T @ A @ Tx / self.unit

    def from_whole(self, b: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Invert :meth:`to_whole`, each entry rounded once to float64; of whole parameters ``b``, ``A`` in float64."""
        if self.trivial:
            return b, A
        inverse = self._inverse(len(b))
        inverse_x = np.delete(np.delete(inverse, -1, 0), -1, 1)
        back_b = inverse.T @ exact_array(b)
        back_A = inverse.T @ exact_array(A) @ inverse_x * self.unit
        return back_b.astype(np.float64), back_A.astype(np.float64)

    def _matrix(self, size: int) -> Exact:
        T = np.array([[self.unit * int(i == j) for j in range(size)] for i in range(size)], dtype=object)
        if self.constant is not None:
            T[:, self.constant] = self.shift
            T[self.constant, self.constant] = Fraction(1)
        return T

    def _inverse(self, size: int) -> Exact:
        T = np.array([[int(i == j) / self.unit for j in range(size)] for i in range(size)], dtype=object)
        if self.constant is not None:
            T[:, self.constant] = -self.ratio
            T[self.constant, self.constant] = Fraction(1)
        return T


def whole_units(task: Task) -> tuple[Task, Units]:
    """Return the task with whole values, and how it is related to the given one."""
    if not isinstance(task, MarkovTask):
        return task, Units(Fraction(1), Fraction(0), None)
    shift = min(task.values) if task.bias else Fraction(0)
    left = [v - shift for v in task.values]
    denominator = lcm(*(v.denominator for v in left))
    unit = Fraction(gcd(*(int(v * denominator) for v in left)), denominator)
    constant = task.times.index(0) if task.bias else None
    if max(abs(v) for v in left) > _LARGEST * unit:
        return task, Units(Fraction(1), Fraction(0), None)
    return replace(task, values=tuple(v / unit for v in left)), Units(unit, shift, constant)
