"""Gauss rules for Beta variables: nodes, their complements and weights, each the double nearest to the exact number.

The orthogonal polynomials have rational coefficients; their roots are isolated and refined in ball arithmetic, so
what is returned is proved, for any parameters: nodes near 0 and 1 keep all their digits on either side.
Source: Gautschi, Orthogonal Polynomials (2004), section 1.5, for the recurrence on [0, 1].
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import flint
import numpy as np

from markov_icl.features import Array, Numbers
from markov_icl.rationals import rational

__all__ = ["beta_rule", "rational_beta_rule"]

_PRECISION = 192
"""Bits to begin with; doubled until every number has one nearest double. Enough for 64 nodes of a uniform variable."""


_MIDPOINT = 1536
"""Bits from which a ball that holds the midpoint of two doubles holds little else: ``2^-1000`` units more of error."""


@lru_cache(maxsize=256)
def beta_rule(a: Fraction, b: Fraction, nodes: int) -> tuple[Array, Array, Array]:
    """Return nodes ``v``, complements ``1 - v`` and weights for ``Beta(a, b)``, exact to degree ``2 nodes - 1``.

    Each of the three numbers is off by at most half a unit in its last place; arrays ``[nodes]``, read-only.
    """
    diagonal, beside = _recurrence(a, b, nodes)
    polynomial = _orthogonal(diagonal, beside)
    precision = _PRECISION
    while True:
        with flint.ctx.workprec(precision):
            found = _enclosed(polynomial, diagonal, beside)
            doubles = [[_nearest(ball, precision >= _MIDPOINT) for ball in column] for column in found]
        if all(value is not None for column in doubles for value in column):
            break
        precision *= 2
    v, complement, weights = (np.array(column, dtype=np.float64) for column in doubles)
    order = np.argsort(v - complement)
    rule = v[order], complement[order], weights[order]
    for column in rule:
        column.flags.writeable = False
    return rule


def _recurrence(a: Fraction, b: Fraction, nodes: int) -> tuple[list[Fraction], list[Fraction]]:
    """Return ``alpha_k`` and ``beta_k`` of ``p_{k+1} = (v - alpha_k) p_k - beta_k p_{k-1}``, monic on [0, 1]."""
    c = a + b
    diagonal = [a / c] + [(1 + (a - b) * (c - 2) / ((c + 2 * k - 2) * (c + 2 * k))) / 2 for k in range(1, nodes)]
    beside = []
    for k in range(1, nodes):
        square = k * (a + k - 1) * (b + k - 1) / ((c + 2 * k - 2) ** 2 * (c + 2 * k - 1))
        beside.append(square if k == 1 else square * (c + k - 2) / (c + 2 * k - 3))  # 1 at k = 1, where it may be 0/0
    return diagonal, beside


def _orthogonal(diagonal: list[Fraction], beside: list[Fraction]) -> Any:
    """Return the polynomial whose roots are the nodes, with whole coefficients."""
    x, older, newer = flint.fmpq_poly([0, 1]), flint.fmpq_poly([0]), flint.fmpq_poly([1])
    for k, alpha in enumerate(diagonal):
        step = (x - rational(alpha)) * newer
        older, newer = newer, step - rational(beside[k - 1]) * older if k else step
    return newer.numer()


def _enclosed(polynomial: Any, diagonal: list[Fraction], beside: list[Fraction]) -> tuple[list[Any], ...]:
    """Return balls that hold the nodes, complements and weights ``1 / sum_k p_k(v)^2 / |p_k|^2``."""
    nodes = [root.real for root, _ in polynomial.complex_roots()]
    alphas = [flint.arb(rational(value)) for value in diagonal]
    betas = [flint.arb(rational(value)) for value in beside]
    weights = []
    for v in nodes:
        older, newer, norm, total = flint.arb(0), flint.arb(1), flint.arb(1), flint.arb(1)
        for k, beta in enumerate(betas):
            step = (v - alphas[k]) * newer
            older, newer = newer, step - betas[k - 1] * older if k else step
            norm *= beta
            total += newer * newer / norm
        weights.append(1 / total)
    return nodes, [1 - v for v in nodes], weights


def _nearest(ball: Any, either: bool) -> float | None:
    """Return the double that every number of the ball rounds to; None if there is no such double.

    A number may be the midpoint of two doubles, which no precision decides: then either of them will do.
    """
    if not ball.is_finite():
        return None
    ends = []
    for end in (ball.lower(), ball.upper()):
        mantissa, exponent = end.man_exp()
        ends.append(float(Fraction(int(mantissa)) * Fraction(2) ** int(exponent)))
    if ends[0] == ends[1] or (either and ends[1] == np.nextafter(ends[0], np.inf)):
        return ends[0]
    return None


def rational_beta_rule(a: Fraction, b: Fraction, nodes: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return the same in fractions, exact to degree ``nodes - 1``: nodes ``i / (nodes + 1)``.

    The weights solve the Vandermonde system of the Beta moments.
    """
    moments = [flint.fmpq(1)]
    for k in range(nodes - 1):
        moments.append(moments[-1] * rational((a + k) / (a + b + k)))
    v = [flint.fmpq(i, nodes + 1) for i in range(1, nodes + 1)]
    powers = [[flint.fmpq(1)] * nodes]
    for _, _ in pairwise(range(nodes)):
        powers.append([p * x for p, x in zip(powers[-1], v, strict=True)])
    w = flint.fmpq_mat(powers).solve(flint.fmpq_mat(nodes, 1, moments))
    return np.array(v, dtype=object), np.array([1 - x for x in v], dtype=object), np.array(w.entries(), dtype=object)
