"""Numbers that carry how often they were rounded: what the code does, counted while it runs."""

from contextlib import contextmanager
from unittest.mock import patch

import flint
import numpy as np

from markov_icl.moments import assembly, quadrature
from markov_icl.tasks.kernels import FinitePrior


class Counted:
    """A number, and the most relative roundings on any way to it from numbers that are exact."""

    def __init__(self, value, count=0):
        self.value, self.count = value, count

    def __add__(self, other):
        other = counted(other)
        if other.value == 0 or self.value == 0:  # exact
            return self if other.value == 0 else other
        return Counted(self.value + other.value, max(self.count, other.count) + 1)

    def __mul__(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = counted(other)
        for one, rest in ((self, other), (other, self)):
            if one.value in (0, 1) and not one.count:  # exact
                return rest if one.value else one
        return Counted(self.value * other.value, self.count + other.count + 1)

    def __truediv__(self, other):
        if isinstance(other, flint.fmpq):  # the number of context chains, a whole number
            return Counted(self.value / float(other.p), self.count + 1)
        assert other == 2
        return Counted(self.value / 2, self.count)

    __radd__, __rmul__ = __add__, __mul__


def counted(number):
    if isinstance(number, Counted):
        return number
    if isinstance(number, flint.fmpq):  # 1 - 1/n: a quotient and a difference
        return Counted(float(number.p) / float(number.q), 0 if number == 1 or number == 0 else 2)
    return Counted(float(number))


def once(numbers):
    """Numbers that were rounded once when they were stored; 0 and 1 are stored as they are."""
    out = np.empty(np.shape(numbers), dtype=object)
    for at, number in np.ndenumerate(np.asarray(numbers, dtype=float)):
        out[at] = Counted(number, int(number not in (0, 1)))
    return out


@contextmanager
def counting():
    """Let rules, laws of starts and sums be made of such numbers."""
    rule, laws, make = quadrature.beta_rule, assembly.start_laws, assembly.Assembly.empty

    def empty(task, exact):
        plain = make(task, exact)
        zeros = [np.full(part.shape, Counted(0.0), dtype=object) for part in (plain.fourth, plain.square, plain.h)]
        return assembly.Assembly(*zeros, Counted(0.0))

    def start_laws(*arguments):
        for weight, query, context in laws(*arguments):
            yield once(weight)[()], once(query), once(context)

    with (
        patch.object(quadrature, "beta_rule", lambda *of: tuple(once(column) for column in rule(*of))),
        patch.object(assembly, "start_laws", start_laws),
        patch.object(assembly.Assembly, "empty", staticmethod(empty)),
    ):
        yield


def kernels(task, nodes):
    """The task's rule, made of counted numbers; call it inside :func:`counting`."""
    rule = quadrature.kernel_rule(task.prior, nodes)
    if isinstance(task.prior, FinitePrior):
        return quadrature.KernelRule(tuple((once(points), once(weights)) for points, weights in rule.rows), rule.states)
    return rule


def most_roundings(task, nodes):
    """The most roundings of any entry of ``H``, ``h``, ``E y^2`` when the code runs."""
    with counting():
        total = assembly.accumulate(task, kernels(task, nodes))
        H, h, y2 = total.dense(task)
    return max(entry.count for entry in [*H.reshape(-1), *h, y2] if isinstance(entry, Counted))
