from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.landscape.convexity import convexity
from markov_icl.landscape.minimizer import minimizer
from markov_icl.landscape.slices import coordinate_slices, plane_slice, spectrum
from markov_icl.moments.compute import compute_moments, rational_moments
from markov_icl.rationals import fraction_array, ldl, null_space
from markov_icl.recovery.factor import recover
from markov_icl.tasks.kernels import beta_prior
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask, StationaryStart, independent_start
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REGRESSION, SIGMA, bernoulli

KNOWN = {
    1: 0.3364292773,
    2: 0.2330934755,
    3: 0.2068316861,
    4: 0.1958728135,
    5: 0.1882561811,
    6: 0.1838589477,
    10: 0.1743223206,
}
ALL = POLYNOMIAL | NOT_POLYNOMIAL | REGRESSION


@pytest.mark.parametrize("d", KNOWN)
def test_known_losses(d):
    form = minimizer(MarkovTask(length=d + 1, context=100))
    assert abs(form.loss - KNOWN[d]) < 1e-10
    assert form.residual < 1e-12
    assert form.unique


@pytest.mark.parametrize("context", [1_000, 1_000_000])
def test_rounding_of_an_ill_conditioned_matrix_is_bounded_and_auto_avoids_it(context):
    """Rare starts and many chains: condition numbers of 1e12, where the matrix loses eight digits."""
    task = MarkovTask(length=6, context=context, initial=bernoulli("999/1000"))
    exact = float(minimizer(task, "rational").loss_exact)
    dense, auto = minimizer(task, "dense"), minimizer(task)
    assert abs(dense.loss - exact) < (dense.loss_error or 1e-12 * exact)
    assert abs(auto.loss - exact) < 1e-11 * exact
    if context == 1_000_000:
        assert dense.loss_error < 1e-8
        assert "ill-conditioned" in dense.error
        assert auto.method == "rational"  # seconds, where floats would lose half the digits


@pytest.mark.parametrize(("dim", "context"), [(1, 1), (1, 10), (3, 10), (5, 2), (8, 40)])
def test_regression_has_its_published_optimum(dim, context):
    form = minimizer(RegressionTask(dim, context), "dense")
    assert abs(form.loss - dim * (dim + 1) / (context + dim + 1)) < 1e-12
    recovery = recover(form.X)
    assert recovery.recoverable
    product = np.outer(recovery.b, recovery.A.reshape(-1))
    wanted = np.zeros((dim + 1, dim))
    wanted[:dim] = np.eye(dim) * context / (context + dim + 1)
    if dim > 1:  # for dim 1 the two factors may trade places
        np.testing.assert_allclose(product, np.outer(np.eye(dim + 1)[-1], wanted.reshape(-1)), atol=1e-12)


def test_regression_with_covariance_is_realizable_with_the_whitened_solution():
    """A = (S (1 + 1/n) + tr(S)/n I)^{-1}, b = e_{d+1}. Source: Zhang, Frei, Bartlett (2024)."""
    form = minimizer(RegressionTask(2, 3, SIGMA), "rational")
    recovery = recover(form.X_exact)
    S = np.array(SIGMA, dtype=float)
    wanted = np.linalg.inv(S * (1 + 1 / 3) + np.trace(S) / 3 * np.eye(2))
    np.testing.assert_allclose(recovery.b / recovery.b[-1], [0, 0, 1], atol=1e-14)
    np.testing.assert_allclose(recovery.A[:2] * recovery.b[-1], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_minimizer_is_stationary_and_no_worse_than_others(name):
    form = minimizer(ALL[name], "dense")
    system = form.moments
    assert np.abs(system.gradient(form.X)).max() <= 1e-10 * max(1.0, np.abs(system.h).max())
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0):
        assert form.loss <= system.loss(form.X + scale * rng.normal(size=system.size)) + 1e-12


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        (MarkovTask(length=3, context=10, values=(10_000, 10_001)), 0.3140807486),
        (MarkovTask(length=3, context=10, values=(10**9, 10**9 - 1)), 0.3140807495),
        (MarkovTask(length=3, context=10, prior=beta_prior(["1e-6", "1e9", "1e-6", "1e9"])), 1e-15),
        (MarkovTask(length=4, context=10, values=(100, 101)), 0.2777653232926),
    ],
)
def test_offsets_and_sparse_priors_are_right_whatever_the_digits(task, loss):
    form = minimizer(task)
    assert form.error == "exact"
    assert form.unique
    assert form.loss == pytest.approx(loss, rel=1e-9)


def test_what_floats_take_for_singular_is_asked_again_in_fractions():
    form = minimizer(MarkovTask(length=5, context=10, values=(100, 101)))
    assert form.method == "rational"
    assert form.unique


def test_verdict_and_condition_of_a_nearly_singular_task_come_from_fractions():
    form = minimizer(POLYNOMIAL["nearly-absorbing"], "rational")
    assert form.unique
    assert abs(form.condition / 3.6e19 - 1) < 1e-5  # to 60 digits: 3.59999...e19


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_dense_agrees_with_rational(name):
    dense, exact = minimizer(POLYNOMIAL[name], "dense"), minimizer(POLYNOMIAL[name], "rational")
    assert exact.residual == 0
    np.testing.assert_allclose(dense.loss, exact.loss, rtol=1e-9)
    assert exact.unique == exact.convexity.strict
    if name == "nearly-absorbing":  # its null space is empty, but only exact arithmetic can tell
        assert exact.unique
        assert "working precision" in dense.error
        return
    assert dense.unique == exact.unique
    tolerance = 1e-7 * np.abs(exact.X).max()
    np.testing.assert_allclose(dense.X, exact.X, atol=tolerance)


@pytest.mark.parametrize("name", ["signed-values", "bias"])
def test_singular_systems_give_the_least_norm_and_the_free_directions(name):
    task = POLYNOMIAL[name]
    for method in ("dense", "rational"):
        form = minimizer(task, method)
        assert not form.unique
        assert form.condition == np.inf
        np.testing.assert_allclose(form.free @ form.free.T, np.eye(len(form.free)), atol=1e-12)
        np.testing.assert_allclose(form.free @ form.X, 0, atol=1e-10)
        np.testing.assert_allclose(form.moments.H @ form.free.T, 0, atol=1e-12)
        assert abs(form.moments.loss(form.X + form.free[0]) - form.loss) < 1e-12


@pytest.mark.parametrize(
    ("task", "nullity"),
    [
        (MarkovTask(length=2), 0),
        (MarkovTask(length=3, context=1, initial=bernoulli("1/1000000")), 0),
        (MarkovTask(length=3, initial=bernoulli(1)), 4),
        (MarkovTask(length=2, values=(-1, 1)), 1),
        (MarkovTask(length=3, values=(-1, 1)), 4),
        (MarkovTask(length=4, values=(-2, 2)), 9),
        (MarkovTask(length=3, values=(-1, 2)), 0),
        (MarkovTask(length=2, initial=CorrelatedStart(F(1, 2), (0, F(1, 2)))), 0),
        (MarkovTask(length=2, initial=CorrelatedStart(F(1, 2), (F(1, 2), 1))), 1),
        (MarkovTask(states=3, initial=independent_start([0, 1, 0], 3, 1)), 0),
        (MarkovTask(states=3, initial=independent_start([1, 0, 0], 3, 1)), 3),
        (MarkovTask(states=3, bias=True), 0),
        (MarkovTask(order=2, length=3), 0),
    ],
)
def test_strict_convexity_is_decided_exactly(task, nullity):
    verdict = convexity(rational_moments(task))
    assert verdict.strict == (nullity == 0)
    if nullity:
        assert len(verdict.free) == nullity
    else:
        assert verdict.smallest_pivot > 0


def test_pivots_and_null_space_of_a_known_matrix():
    import flint

    M = flint.fmpq_mat([[2, 1], [1, flint.fmpq(3, 4)]])
    assert ldl(M.tolist(), [], "M")[0] == [2, flint.fmpq(1, 4)]
    with pytest.raises(ValueError, match="pivot 1 not positive"):
        ldl([[flint.fmpq(0), flint.fmpq(1)], [flint.fmpq(1), flint.fmpq(0)]], [], "M")
    singular = flint.fmpq_mat([[1, 2, 0], [2, 4, 0], [0, 0, 0]])
    assert [[int(v.p) for v in row] for row in null_space(singular)] == [[-2, 1, 0], [0, 0, 1]]


@given(st.fractions(F(1, 20), F(19, 20), max_denominator=20), st.integers(1, 200))
@settings(max_examples=20)
def test_symbols_at_numbers_are_the_fractions(p, n):
    form = minimizer(MarkovTask(context=n, initial=bernoulli(p)), "symbolic")
    assert form.formula.at(p=p, n=n) == tuple(form.X_exact)
    x1, x2, x3 = form.X_exact
    import sympy

    value = form.formula.discriminant.subs(
        {s: {"p": p, "n": n}[s.name] for s in form.formula.discriminant.free_symbols}
    )
    assert sympy.Rational(value) == sympy.Rational((x2**2 - 4 * x1 * x3).numerator, (x2**2 - 4 * x1 * x3).denominator)


@pytest.mark.parametrize("prior", [None, beta_prior(["1/2", 2, 3, "5/2"]), POLYNOMIAL["finite"].prior])
def test_symbols_for_correlated_starts_and_other_priors(prior):
    start = CorrelatedStart(F(2, 5), (F(1, 7), F(3, 8)))
    form = minimizer(MarkovTask(context=9, prior=prior, initial=start), "symbolic")
    assert form.formula.at(a=F(3, 8), n=9) == tuple(form.X_exact)


def test_symbols_are_refused_where_they_do_not_reach():
    for task in (MarkovTask(length=3), MarkovTask(states=3), MarkovTask(initial=StationaryStart()), RegressionTask()):
        with pytest.raises(ValueError, match="length 2"):
            minimizer(task, "symbolic")
    with pytest.raises(ValueError, match="expected method"):
        minimizer(MarkovTask(), "magic")


def test_h_of_theorem_3_3():
    for p in (F(1, 10), F(4, 5)):
        h = fraction_array(rational_moments(MarkovTask(context=7, initial=bernoulli(p))).h)
        assert list(h) == [p**2 / 2, p**2 / 3, p**2 / 12 + p / 4]


def test_errors_of_estimates_cover_better_estimates():
    stationary = minimizer(MarkovTask(length=3, context=10, initial=StationaryStart()))
    assert 0 < stationary.loss_error < 1e-5
    assert stationary.X_error.shape == stationary.X.shape
    task = MarkovTask(states=4, length=4, context=10)
    rough, fine = minimizer(task, points=256), minimizer(task, points=4096, seed=9)
    assert abs(rough.loss - fine.loss) < 5 * np.hypot(rough.loss_error, fine.loss_error)
    assert np.abs((rough.X - fine.X) / np.hypot(rough.X_error, fine.X_error)).max() < 7


def test_large_condition_estimate_agrees_with_the_spectrum(monkeypatch):
    task = MarkovTask(length=7, context=100)
    exact = minimizer(task).condition
    monkeypatch.setattr("markov_icl.landscape.direct._EIGEN_SIZE", 10)
    np.testing.assert_allclose(minimizer(task).condition, exact, rtol=1e-3)


def test_slices_are_the_loss():
    form = minimizer(MarkovTask(length=3, context=100))
    result = coordinate_slices(form, [0, 7], radius=0.5, points=11)
    for c, coordinate in enumerate((0, 7)):
        for value, loss in zip(result.values[c], result.losses[c], strict=True):
            X = form.X.copy()
            X[coordinate] = value
            assert abs(form.moments.loss(X) - loss) < 1e-12
        assert result.losses[c].argmin() == 5
    assert result.labels == ("X[1](1,1)", "X[2](1,2)")
    for bad in ({"coordinates": [99]}, {"coordinates": []}, {"radius": 0.0}, {"points": 2}):
        with pytest.raises(ValueError, match="expected"):
            coordinate_slices(form, **bad)


def test_planes_and_spectrum():
    form = minimizer(MarkovTask(length=3, context=10))
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 12))
    s, t = np.linspace(-1, 1, 5), np.linspace(-2, 2, 4)
    plane = plane_slice(form, u, v, s, t)
    literal = [[compute_moments(MarkovTask(length=3, context=10)).loss(form.X + a * u + b * v) for b in t] for a in s]
    np.testing.assert_allclose(plane.losses, literal, rtol=1e-10)
    values = spectrum(form)
    np.testing.assert_allclose(values[-1] / values[0], form.condition, rtol=1e-8)
