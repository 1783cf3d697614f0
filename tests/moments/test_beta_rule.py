"""Gauss rules for Beta variables: every stored number is the double nearest to the exact one, at any parameters."""

from fractions import Fraction as F
from itertools import pairwise
from math import comb

import numpy as np
import pytest

from markov_icl.moments.beta_rule import _nearest, beta_rule, rational_beta_rule

EXTREMES = [
    (F(1), F(1), 6),
    (F(1, 2), F(1, 2), 5),
    (F(3, 10), F(7, 10), 4),
    (F(1), F(10**9), 4),
    (F(10**9), F(1, 10**9), 4),
    (F(1, 10**6), F(1), 5),
    (F(1, 10**9), F(10**9), 4),
    (F(1, 10**9), F(1, 10**9), 3),
    (F(10**9), F(10**9), 5),
    (F(355, 113), F(22, 7), 7),
    (F(2), F(3), 1),
]


def rising(x, k):
    out = F(1)
    for i in range(k):
        out *= x + i
    return out


def jacobi(a, b, n):
    """Coefficients of ``2F1(-n, n + a + b - 1; a; v)``, 1 at 0: orthogonal for Beta(a, b), not by a recurrence."""
    return [(-1) ** k * comb(n, k) * rising(n + a + b - 1, k) / rising(a, k) for k in range(n + 1)]


def value(polynomial, x):
    out = F(0)
    for c in reversed(polynomial):
        out = out * x + c
    return out


def roots_below(a, b, n, x):
    """How many nodes lie in (0, x): changes of sign along the orthogonal polynomials, exactly."""
    values = [value(jacobi(a, b, k), x) for k in range(n + 1)]
    signs = [v > 0 for v in values if v]
    return sum(one != other for one, other in pairwise(signs))


def midpoints(double):
    """Half a unit in the last place below and above."""
    down, up = (F(float(np.nextafter(double, end))) for end in (-np.inf, np.inf))
    return (F(double) + down) / 2, (F(double) + up) / 2


@pytest.mark.parametrize(("a", "b", "nodes"), EXTREMES)
def test_nodes_and_complements_are_rounded_to_the_nearest_double(a, b, nodes):
    v, complement, weights = beta_rule(a, b, nodes)
    assert v.shape == complement.shape == weights.shape == (nodes,)
    for numbers, first, second in ((v, a, b), (complement[::-1], b, a)):
        for place, double in enumerate(numbers.tolist()):
            below, above = midpoints(double)
            assert roots_below(first, second, nodes, below) <= place
            assert roots_below(first, second, nodes, above) >= place + 1


def refined(a, b, nodes, start):
    """A node by Newton's method in fractions of 900 bits, from the double beside it."""
    p = jacobi(a, b, nodes)
    slope = [k * c for k, c in enumerate(p)][1:]
    x = F(start)
    for _ in range(7):
        x -= value(p, x) / value(slope, x)
        scale = 2 ** (900 - (x.numerator.bit_length() - x.denominator.bit_length()))
        x = F(round(x * scale), scale)
    return x


@pytest.mark.parametrize(("a", "b", "nodes"), EXTREMES)
def test_weights_are_rounded_to_the_nearest_double(a, b, nodes):
    """The weight of a node is the mean of the polynomial that is 1 there and 0 at all others."""
    v, complement, weights = beta_rule(a, b, nodes)
    exact = [
        refined(a, b, nodes, x) if x < 0.5 else 1 - refined(b, a, nodes, y)
        for x, y in zip(v.tolist(), complement.tolist(), strict=True)
    ]
    moments = [rising(a, k) / rising(a + b, k) for k in range(nodes)]
    for place, node in enumerate(exact):
        lagrange = [F(1)]
        for other in exact[:place] + exact[place + 1 :]:
            down, up = [-other * c for c in lagrange] + [F(0)], [F(0), *lagrange]
            lagrange = [(x + y) / (node - other) for x, y in zip(down, up, strict=True)]
        assert weights[place] == float(sum(c * m for c, m in zip(lagrange, moments, strict=True)))


@pytest.mark.parametrize(("a", "b", "nodes"), EXTREMES)
def test_moments_up_to_the_degree_lose_one_rounding_a_factor(a, b, nodes):
    """Beta moments ``E v^j (1 - v)^k`` with ``j + k < 2 nodes``: each factor is off by half a unit at most."""
    v, complement, weights = ([F(x) for x in column.tolist()] for column in beta_rule(a, b, nodes))
    for total in range(2 * nodes):
        for j in {0, 1, total // 2, total - 1, total} & set(range(total + 1)):
            k = total - j
            exact = rising(a, j) * rising(b, k) / rising(a + b, total)
            found = sum(w * x**j * y**k for x, y, w in zip(v, complement, weights, strict=True))
            assert abs(found - exact) <= exact * ((1 + F(1, 2**53)) ** (total + 1) - 1)


def test_rules_are_kept_and_nobody_can_write_to_them():
    rule = beta_rule(F(1), F(2), 3)
    assert beta_rule(F(1), F(2), 3) is rule
    for column in rule:
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0
    v, complement, _ = rule
    assert (np.diff(v) > 0).all()
    assert (np.diff(complement) < 0).all()


def test_many_nodes_of_a_uniform_variable():
    v, complement, weights = beta_rule(F(1), F(1), 40)
    x, w = np.polynomial.legendre.leggauss(40)
    np.testing.assert_allclose(v, (1 + x) / 2, rtol=1e-13)
    np.testing.assert_allclose(weights, w / 2, rtol=1e-12)
    assert np.array_equal(v, complement[::-1])


def test_a_ball_between_two_doubles_has_no_nearest_one():
    import flint

    with flint.ctx.workprec(100):
        assert _nearest(flint.arb(0.1), False) == 0.1
        assert _nearest(flint.arb(1) / 3, False) == 1 / 3
        assert _nearest(flint.arb("nan"), False) is None
        assert _nearest(flint.arb(1) + flint.arb("inf"), False) is None
        middle = flint.arb(1) + flint.arb(2) ** -53  # halfway between two doubles, then a ball around it
        assert _nearest(flint.arb(middle, 2.0**-80), False) is None
        assert _nearest(flint.arb(middle + flint.arb(2) ** -70, 2.0**-80), False) == 1 + 2.0**-52
        assert _nearest(flint.arb(middle - flint.arb(2) ** -70, 2.0**-80), False) == 1
        assert _nearest(flint.arb(middle, 2.0**-80), True) in (1, 1 + 2.0**-52)  # no precision decides: either will do
        assert _nearest(flint.arb(middle, 1.0), True) is None


def test_a_weight_halfway_between_two_doubles_ends():
    """Three nodes, ``a = b``: the middle weight ``4 a / (3 (2 a + 1))`` is exactly ``(2^53 + 1) / 2^54``."""
    a = F(27021597764222979, 18014398509481978)
    weight = F(4, 3) * a / (2 * a + 1)
    assert weight == F(2**53 + 1, 2**54)
    assert abs(F(float(beta_rule(a, a, 3)[2][1])) - weight) <= F(1, 2**54)


@pytest.mark.parametrize(("a", "b", "nodes"), [(F(1), F(1), 5), (F(1, 10**9), F(7, 3), 4), (F(2), F(3), 1)])
def test_fractions_are_exact_below_the_number_of_nodes(a, b, nodes):
    v, complement, weights = rational_beta_rule(a, b, nodes)
    assert all(x + y == 1 for x, y in zip(v, complement, strict=True))
    assert len(set(map(str, v))) == nodes
    for k in range(nodes):
        exact = rising(a, k) / rising(a + b, k)
        assert str(sum(w * x**k for x, w in zip(v, weights, strict=True))) == str(exact)
