"""Proved errors of moments in float64: fractions lie within them, and they are not much larger than need be."""

from dataclasses import replace
from fractions import Fraction as F
from unittest.mock import patch

import numpy as np
import pytest

from markov_icl.features import phi, position
from markov_icl.moments import assembly, compute, enclosure, problem
from markov_icl.moments.assembly import accumulate
from markov_icl.moments.compute import exact_rule, moments_by_rule, rational_moments
from markov_icl.moments.enclosure import enclose, enclose_regression, of_exact, of_rounded, roundings
from markov_icl.moments.problem import Posed, float_moments, moments_of, pose
from markov_icl.moments.quadrature import KernelRule, kernel_rule, nodes_per_variable
from markov_icl.moments.regression import rational_regression_moments, regression_moments
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import exact_array, fraction, rational_matrix
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, beta_prior, fixed_kernel
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask, StationaryStart, independent_start
from markov_icl.tasks.units import whole_units
from tests.cases import POLYNOMIAL, SIGMA, TWO_KERNELS
from tests.moments.counted import counting, kernels, most_roundings

TINY = F(1, 10**200)
TASKS = POLYNOMIAL | {
    "extreme priors": MarkovTask(length=3, context=7, prior=beta_prior([10**9, "1e-9", "1e-9", 10**9])),
    "extreme, biased": MarkovTask(length=3, context=7, prior=beta_prior(["1e-6", 1, 1, "1e-9"]), bias=True),
    "signed, biased": MarkovTask(length=3, context=2, values=(-3, 5), bias=True),
    "three signs": MarkovTask(states=3, length=2, context=3, values=(-7, 2, 3)),
    "signed, correlated": replace(POLYNOMIAL["correlated"], values=(-2, 3), context=1000),
    "order 2, signed": replace(POLYNOMIAL["order-2"], values=(-2, 3)),
    "many chains": MarkovTask(length=4, context=10**6),
    "underflow": MarkovTask(length=3, context=2, values=(2, 3), prior=fixed_kernel([[1 - TINY, TINY]] * 2)),
    "underflow, large": MarkovTask(
        states=3,
        length=3,
        context=2,
        values=(0, 1, 10**9),
        prior=fixed_kernel([[1 - TINY, 0, TINY]] * 3),
        initial=independent_start([1, 0, 0], 3, 1),
    ),
}


def by_rule(task):
    whole, units = whole_units(task)
    rule = exact_rule(whole)
    moments = moments_by_rule(whole, rule)
    return whole, units, moments, enclose(whole, rule, moments)


def check_within(moments, exact, found):
    """``|dH_ij| <= e r_i r_j``, ``|dh_i| <= e r_i s``, ``|dy2| <= e s^2``, all in fractions."""
    e, s, r = F(found.relative), F(found.size), exact_array(found.roots)
    H = np.array([fraction(x) for x in exact.H.entries()]).reshape(exact.size, -1)
    h = np.array([fraction(x) for x in exact.h.entries()])
    assert (abs(exact_array(moments.H) - H) <= e * np.outer(r, r)).all()
    assert (abs(exact_array(moments.h) - h) <= e * r * s).all()
    assert abs(F(moments.y2) - fraction(exact.y2)) <= e * s**2


@pytest.mark.parametrize("name", TASKS)
def test_fractions_lie_within_the_enclosure(name):
    whole, _, moments, found = by_rule(TASKS[name])
    check_within(moments, rational_moments(whole), found)
    assert 0 < found.relative < 1e-13


@pytest.mark.parametrize("name", TASKS)
def test_sizes_are_the_roots_of_the_absolute_moments_and_little_more(name):
    whole, _, _, found = by_rule(TASKS[name])
    rule = kernel_rule(whole.prior, nodes_per_variable(whole, exact=True), exact=True)
    H, _, y2 = accumulate(whole, rule, exact=True, absolute=True).dense(whole)
    for have, want in ((found.size, y2), *zip(found.roots, np.diag(H), strict=True)):
        square = fraction(want)
        assert F(have) ** 2 >= square
        assert have <= float(square) ** 0.5 * (1 + 1e-8) + 1e-100


def generic(rows, states):
    return DirichletPrior(tuple(tuple(F(2 * r + s + 1, 3) for s in range(states)) for r in range(rows)))


WITHOUT_ZEROS = {
    "two states": MarkovTask(
        length=3, context=3, values=(2, 3), prior=generic(2, 2), initial=independent_start(["1/3", "2/3"], 2, 1)
    ),
    "longer": MarkovTask(length=4, context=3, values=(2, 3), prior=generic(2, 2)),
    "correlated": MarkovTask(
        length=3, context=3, values=(2, 3), prior=generic(2, 2), initial=CorrelatedStart(F(1, 3), (F(1, 5), F(2, 7)))
    ),
    "three states": MarkovTask(states=3, length=2, context=3, values=(2, 3, 5), prior=generic(3, 3)),
    "four states": MarkovTask(states=4, length=2, context=3, values=(2, 3, 5, 7), prior=FinitePrior(
        (tuple(tuple(F(r + s + 1, 4 * r + 10) for s in range(4)) for r in range(4)),), (F(1),)
    )),
    "order 2": MarkovTask(order=2, length=3, context=3, values=(2, 3), prior=generic(4, 2)),
    "order 3": MarkovTask(order=3, length=4, context=3, values=(2, 3), prior=generic(8, 2)),
    "finite": MarkovTask(length=3, context=3, values=(2, 3), prior=TWO_KERNELS),
    "finite, stationary": MarkovTask(
        length=4, context=3, values=(2, 3), prior=TWO_KERNELS, initial=StationaryStart()
    ),
    "one chain": MarkovTask(length=3, context=1, values=(2, 3), prior=TWO_KERNELS),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [None, 4, 1])
@pytest.mark.parametrize("name", WITHOUT_ZEROS)
def test_no_entry_is_rounded_more_often_than_is_counted(name, chunk):
    """The code runs on numbers that count their roundings; five more for a shift of the answers."""
    task = WITHOUT_ZEROS[name]
    size = (lambda _: chunk) if chunk else assembly.chunk_size
    with patch.object(assembly, "chunk_size", size), patch.object(enclosure, "chunk_size", size):
        most, stated = most_roundings(task, nodes_per_variable(task)), roundings(task, exact_rule(task))
    assert most + 5 <= stated <= 2 * most + 25
    assert enclose(task, exact_rule(task), moments_by_rule(task, exact_rule(task))).relative >= most * 2.0**-53


def test_every_stored_entry_of_a_kernel_is_rounded_as_often_as_is_said():
    with counting():
        for task in (MarkovTask(length=2), MarkovTask(states=4, length=2, prior=generic(4, 4))):
            points, weights = kernels(task, 2).rows[0]
            S = task.states
            assert max(entry.count for entry in points.ravel()) == 2 * S - 3
            assert max(entry.count for entry in weights) == 2 * S - 3


def test_what_underflows_is_charged():
    """An entry of 1e-400 is 0 in floats: its root must not be."""
    task = MarkovTask(length=3, context=2, prior=fixed_kernel([[1 - TINY, TINY]] * 2))
    whole, _, moments, found = by_rule(task)
    hidden = np.diag(moments.H) == 0
    assert hidden.any()
    assert all(fraction(rational_moments(whole).H[int(i), int(i)]) > 0 for i in np.flatnonzero(hidden))
    assert found.roots[hidden].all()
    check_within(moments, rational_moments(whole), found)


@pytest.mark.parametrize(
    "task",
    [RegressionTask(3, 10), RegressionTask(2, 3, SIGMA), RegressionTask(2, 7, ((F(2), F(-1, 3)), (F(-1, 3), F(1))))],
)
def test_regression_lies_within_its_enclosure(task):
    found, exact = enclose_regression(task), rational_regression_moments(task)
    check_within(regression_moments(task), exact, found)
    # a product of four covariances, sums of d of them, a fraction of n and two sums: each rounded once
    assert 4 * task.dim * 2.0**-53 < found.relative < 100 * task.dim * 2.0**-53
    size = RegressionTask(task.dim, task.context, tuple(tuple(map(abs, row)) for row in task.covariance))
    sizes = rational_regression_moments(size)  # of the moduli: what the roundings of a sum are relative to
    for have, want in ((found.size, sizes.y2), *((x, sizes.H[i, i]) for i, x in enumerate(found.roots))):
        assert fraction(want) <= F(have) ** 2 <= fraction(want) * (1 + F(1, 10**7))


@pytest.mark.parametrize("name", ["uniform", "signed-values", "bias", "order-2", "rare-start"])
def test_rounding_once_lies_within_half_a_unit(name):
    exact = rational_moments(TASKS[name])
    rounded = exact.to_float()
    found = of_rounded(rounded)
    check_within(rounded, exact, found)
    assert 2.0**-53 < found.relative <= 2.0**-52
    np.testing.assert_allclose(found.roots, np.sqrt(np.diag(rounded.H)), rtol=1e-8)
    assert rounded.y2**0.5 <= found.size <= rounded.y2**0.5 * (1 + 1e-8)


def quadratic(H, h, y2):
    return Moments(np.array(H, dtype=float), np.array(h, dtype=float), float(y2), 1, 2, "given")


def test_a_quadratic_with_a_large_h_is_enclosed_and_an_indefinite_one_refused():
    third = F(1, 3)
    H, h = rational_matrix([[third, 0, 0], [0, third, 0], [0, 0, 0]]), rational_matrix([[third * 1000], [0], [0]])
    exact = RationalMoments(H, h, rational_matrix([[third]])[0, 0], 1, 2, "given")
    found = pose(exact)
    check_within(found.moments, exact, found.enclosure)
    assert found.proved
    assert found.exact is found.given is exact
    assert found.enclosure.size >= 1000 * (1 / 3) ** 0.5
    for H, h in (
        ([[1, 2, 0], [2, 1, 0], [0, 0, 1]], [0, 0, 0]),
        ([[1, -2, 0], [-2, 1, 0], [0, 0, 1]], [0, 0, 0]),
        ([[1, 0, 0], [0, -1, 0], [0, 0, 1]], [0, 1, 0]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 0]], [0, 0, 1]),
    ):
        with pytest.raises(ValueError, match="positive semidefinite"):
            of_rounded(quadratic(H, h, 1))
    assert of_rounded(quadratic(np.diag([4, 9, 0]), [2, -30, 0], 1)).size >= 10
    assert of_rounded(quadratic(np.eye(3), [0, 0, 0], -4)).size >= 2


def test_moments_that_are_the_problem_have_no_error():
    found = of_exact(quadratic(np.diag([4, 9, -1]), [1, 1, 1], -16))
    assert found.relative == 0
    np.testing.assert_allclose(found.roots, [2, 3, 0], rtol=1e-8)
    assert 4 <= found.size < 4.001


SHIFTED = {
    "7, 8": MarkovTask(length=3, context=4, values=(7, 8), bias=True),
    "-3, 5": MarkovTask(length=3, context=4, values=(-3, 5), bias=True),
    "5/3, 1/300": MarkovTask(length=2, context=4, values=(F(5, 3), F(1, 300)), bias=True),
    "three": MarkovTask(states=3, length=2, context=4, values=(-1, F(1, 2), 7), bias=True),
    "regression": RegressionTask(2, 3, SIGMA),
    "no bias": MarkovTask(length=3, context=4, values=(3, 6)),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_the_posed_quadratic_is_the_users_in_other_coordinates(name):
    """The same loss at corresponding parameters, in fractions: ``f(b, A) = unit^2 f_u(to_whole(b, A))``."""
    task, rng = SHIFTED[name], np.random.default_rng(0)
    users, posed = rational_moments(task), pose(task)
    for _ in range(3):
        b, A = (
            exact_array(rng.standard_normal(posed.dimension)),
            exact_array(rng.standard_normal((posed.dimension, posed.blocks))),
        )
        have = posed.exact.loss(rational_matrix([[x] for x in phi(*posed.units.to_whole(b, A))])) * posed.scale
        assert have == users.loss(rational_matrix([[x] for x in phi(b, A)]))
    assert posed.exact.loss(rational_matrix([[0]] * posed.exact.size)) * posed.scale == fraction(users.y2)
    check_within(posed.moments, posed.exact, posed.enclosure)
    assert posed.proved
    assert posed.task is task


@pytest.fixture
def in_floats(monkeypatch):
    """Problems are posed as if fractions took too long."""
    monkeypatch.setattr(problem, "fractions_are_affordable", lambda *_: False)


@pytest.mark.parametrize("name", SHIFTED)
def test_posed_in_floats_it_is_enclosed_all_the_same(name, in_floats):
    posed = pose(SHIFTED[name])
    assert posed.given is None
    assert posed.exact is None
    exact = pose_exactly(SHIFTED[name])
    check_within(posed.moments, exact, posed.enclosure)
    # s^2 bounds E (|ratio| + k)^2, and is that but for roundings
    if isinstance(posed.task, MarkovTask) and posed.task.bias:
        place = posed.units.constant + 1
        ratio, c = abs(posed.units.ratio), position(place, place, place, posed.dimension) - 1
        plain = rational_moments(posed.whole)
        square = fraction(plain.y2) + 2 * ratio * fraction(plain.h[c, 0]) + ratio**2
        assert square <= F(posed.enclosure.size) ** 2 <= square * (1 + F(1, 10**7))


def pose_exactly(task):
    whole, units = whole_units(task)
    return problem._with_answers(rational_moments(whole), units)


def test_what_is_given_is_taken_as_it_is():
    with pytest.raises(ValueError, match="symmetric H"):  # the mean with H^T would be rounded
        pose(quadratic([[2, 1, 0], [0, 2, 0], [0, 0, 1]], [1, 0, 0], 3))
    for h, y2 in (([np.nan, 0, 0], 3), ([1, 0, 0], np.inf)):
        with pytest.raises(ValueError, match="finite numbers"):
            pose(quadratic([[2, 0, 0], [0, 2, 0], [0, 0, 1]], h, y2))
    moments = quadratic([[2, 0.5, 0], [0.5, 2, 0], [0, 0, 1]], [1, 0, 0], 3)
    posed = pose(moments)
    assert np.array_equal(posed.moments.H, [[2, 0.5, 0], [0.5, 2, 0], [0, 0, 1]])
    assert posed.enclosure.relative == 0
    assert (posed.proved, posed.task, posed.given, posed.scale) == (True, None, None, 1)
    assert posed.exact.loss(rational_matrix([[1], [0], [0]])) == 3
    assert fraction(posed.exact.H[0, 1]) == F(1, 2)
    assert pose(posed) is posed
    H = rational_matrix([[1, 2, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="symmetric H"):
        pose(RationalMoments(H, rational_matrix([[0]] * 3), H[0, 0], 1, 2, "given"))


def test_estimates_say_that_they_are_and_shift_with_everything_they_know():
    task = MarkovTask(length=2, context=4, values=(7, 8), bias=True, initial=StationaryStart())
    posed = pose(task)
    assert not posed.proved
    assert posed.exact is None
    assert posed.enclosure.relative == 0
    plain = compute.compute_moments(task)
    b, A = np.array([0.3, 0.2, -0.1]), np.array([[1.0, 2.0], [0.5, -1.0], [0.25, 0.0]])
    in_units = phi(*(np.array(part, dtype=float) for part in posed.units.to_whole(exact_array(b), exact_array(A))))
    assert posed.moments.loss(in_units) == pytest.approx(plain.loss(phi(b, A)), rel=1e-9)
    assert posed.moments.coarse.loss(in_units) == pytest.approx(plain.coarse.loss(phi(b, A)), rel=1e-9)
    rng = np.random.default_rng(0)
    H = rng.standard_normal((3, 12, 12))
    replicates = (H, rng.standard_normal((3, 12)), rng.standard_normal(3))
    sampled = replace(posed.moments, coarse=None, replicates=replicates)
    moved = problem._with_float_answers(sampled, posed.units).replicates
    for k in range(3):
        one = Moments(H[k], replicates[1][k], float(replicates[2][k]), 2, 3, "sampled")
        other = problem._with_float_answers(one, posed.units)
        np.testing.assert_allclose(moved[1][k], other.h)
        np.testing.assert_allclose(moved[2][k], other.y2)
    assert not pose(sampled).proved
    assert pose(sampled).exact is None


def test_large_problems_have_no_fractions_and_small_ones_do(in_floats):
    small, large = pose(MarkovTask(length=3, context=2)), pose(MarkovTask(length=8, context=2))
    assert large.exact is None
    assert small.exact is None  # as the fixture has it
    assert large.proved
    diagonal = np.eye(7 * 36)
    assert pose(Moments(diagonal, np.zeros(7 * 36), 1.0, 7, 8, "given")).exact is None


def test_medium_problems_are_posed_in_floats_and_have_fractions_when_asked():
    task = MarkovTask(length=6, context=2)
    posed = pose(task)
    assert posed.given is None
    assert posed.moments.size == 105
    check_within(posed.moments, posed.exact, posed.enclosure)
    assert posed.exact.y2 == rational_moments(task).y2


def test_moments_in_the_users_coordinates():
    task = MarkovTask(length=2, context=4, values=(7, 8), bias=True)
    assert moments_of(task).y2 == rational_moments(task).y2
    assert float_moments(task).y2 == float(fraction(rational_moments(task).y2))
    given = quadratic(np.eye(3), [1, 0, 0], 2)
    assert moments_of(given) is given


def test_rules_with_other_names_are_rules_too():
    rule = KernelRule(((np.array([[0.5, 0.5, 0.25, 0.75]]), np.array([1.0])),), 2)
    assert roundings(MarkovTask(length=2, prior=fixed_kernel([[F(1, 2), F(1, 2)], [F(1, 4), F(3, 4)]])), rule) > 10
    assert isinstance(pose(MarkovTask()), Posed)
