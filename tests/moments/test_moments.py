"""Quadrature against the definition, exactness of the node counts, sampling against both."""

from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.landscape.minimizer import minimizer
from markov_icl.moments.assembly import accumulate
from markov_icl.moments.beta_rule import beta_rule, rational_beta_rule
from markov_icl.moments.compute import compute_moments, grid_size, rational_moments
from markov_icl.moments.conditional import chain_moments, tuple_count, tuple_places
from markov_icl.moments.enumeration import enumerate_moments
from markov_icl.moments.pooled import pooled_moments
from markov_icl.moments.quadrature import degree, kernel_rule, nodes_per_variable
from markov_icl.moments.sampled import sampled_moments
from markov_icl.tasks.kernels import DirichletPrior, sample_kernels, symmetric_dirichlet
from markov_icl.tasks.prompts import IndependentStart, MarkovTask, RegressionTask, StationaryStart
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REFERENCE, REGRESSION, bernoulli, reference_task
from tests.contracts import check_monte_carlo, check_rounds_to, check_same_fractions

ALL = POLYNOMIAL | NOT_POLYNOMIAL | REGRESSION


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_quadrature_is_the_sum_over_every_prompt(name):
    task = POLYNOMIAL[name]
    exact = rational_moments(task)
    check_same_fractions(exact, enumerate_moments(task))
    check_rounds_to(compute_moments(task), exact)


small_fractions = st.fractions(min_value=F(1, 5), max_value=5, max_denominator=5)


@st.composite
def random_tasks(draw):
    states, order = draw(st.sampled_from([(2, 1), (2, 2), (3, 1)]))
    length = draw(st.integers(order + 1, 3))
    rows = states**order
    prior = DirichletPrior(tuple(tuple(draw(small_fractions) for _ in range(states)) for _ in range(rows)))
    weights = [draw(st.integers(0, 4)) for _ in range(rows)]
    weights[draw(st.integers(0, rows - 1))] += 1
    initial = IndependentStart(tuple(F(w, sum(weights)) for w in weights))
    if states == 3 or order == 2:
        length = order + 1
    context = draw(st.integers(1, 2))
    return MarkovTask(states, order, length, context, prior, initial, bias=draw(st.booleans()))


@given(random_tasks())
@settings(max_examples=25)
def test_quadrature_is_the_sum_over_every_prompt_for_random_tasks(task):
    exact = rational_moments(task)
    check_same_fractions(exact, enumerate_moments(task))
    check_rounds_to(compute_moments(task), exact, 1e-11)


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_fractions(name):
    entry = REFERENCE[name]
    task = reference_task(entry)
    system = rational_moments(task)
    assert str(system.y2) == entry["second_moment_y"]
    assert [str(v) for v in system.h.entries()] == entry["h"]
    assert [str(system.H[0, c]) for c in range(system.size)] == entry["H_row0"]
    assert str(sum(system.H[i, i] for i in range(system.size))) == entry["H_trace"]
    form = minimizer(task, "rational")
    assert [str(v) for v in form.X_exact] == entry["X"]
    assert str(form.loss_exact) == entry["loss"]
    dense = minimizer(task, "dense")
    np.testing.assert_allclose(dense.loss, form.loss, rtol=1e-9)
    np.testing.assert_allclose(dense.X, form.X, rtol=1e-9, atol=1e-9 * np.abs(form.X).max())


@pytest.mark.parametrize("name", ALL)
def test_monte_carlo(name):
    check_monte_carlo(ALL[name], compute_moments(ALL[name]))


def test_monte_carlo_of_a_sampled_system():
    task = MarkovTask(states=4, length=4, context=3, prior=symmetric_dirichlet(4, 1, "1/3"))
    system = compute_moments(task)
    assert system.method == "sampled"
    assert system.error.startswith("estimate")
    check_monte_carlo(task, system)


@pytest.mark.parametrize(("order", "d", "wanted"), [(1, 1, 2), (1, 4, 6), (1, 10, 15), (2, 4, 5), (3, 5, 5)])
def test_number_of_gauss_nodes(order, d, wanted):
    task = MarkovTask(order=order, length=d + 1)
    assert degree(task) == 3 * d + 2 - 3 * order
    assert nodes_per_variable(task) == wanted


@pytest.mark.parametrize("d", [2, 3, 4])
def test_one_node_fewer_is_not_exact(d):
    task = MarkovTask(length=d + 1, context=5)
    count = nodes_per_variable(task)
    H = compute_moments(task).H.reshape(-1)
    rules = (kernel_rule(task.prior, k) for k in (count, count - 1))
    enough, fewer = (accumulate(task, rule).dense(task)[0].reshape(-1) for rule in rules)
    np.testing.assert_allclose(enough, H, rtol=1e-13)
    assert np.abs(fewer - H).max() > 1e-9


@pytest.mark.parametrize(
    ("a", "b"), [(F(1), F(1)), (F(1, 10), F(7, 2)), (F(40), F(3)), (F(1, 10**6), F(1, 10**6)), (F(10**6), F(2))]
)
def test_beta_rules_integrate_their_degree(a, b):
    nodes = 6
    v, complement, w = beta_rule(a, b, nodes)
    x, _, q = rational_beta_rule(a, b, nodes)
    np.testing.assert_allclose(v + complement, 1, rtol=1e-15)
    moment = F(1)
    for k in range(2 * nodes):
        np.testing.assert_allclose(w @ v**k, float(moment), rtol=1e-12)
        if k < nodes:
            assert str(sum(q * x**k)) == str(moment)
        moment *= (a + k) / (a + b + k)


POOLED = {
    name: task for name, task in POLYNOMIAL.items() if isinstance(task, MarkovTask) and task.states**task.length <= 32
}


@pytest.mark.parametrize("name", [name for name, task in POOLED.items() if isinstance(task.prior, DirichletPrior)])
def test_pooled_counts_are_the_grid_over_kernels(name, monkeypatch):
    monkeypatch.setattr("markov_icl.moments.compute.pooling_is_cheaper", lambda _: False)
    grid, pooled = rational_moments(POOLED[name]), pooled_moments(POOLED[name])
    assert grid.H == pooled.H
    assert grid.h == pooled.h
    assert grid.y2 == pooled.y2


def test_many_states_are_exact_where_a_grid_has_too_many_kernels():
    found = minimizer(MarkovTask(states=5, length=2, context=10))
    assert found.method == "rational"
    assert found.error == "exact"
    with pytest.raises(ValueError, match="Dirichlet rows"):
        pooled_moments(POLYNOMIAL["finite"])


@pytest.mark.parametrize(("states", "order", "length"), [(2, 1, 5), (3, 1, 4), (2, 2, 4), (3, 2, 4)])
def test_chain_moments_are_a_sum_over_chains(states, order, length):
    rng = np.random.default_rng(0)
    kernels = sample_kernels(symmetric_dirichlet(states, order), 2, rng)
    start, values = rng.dirichlet(np.ones(states**order), 2), rng.normal(size=states)
    fast = chain_moments(kernels, start, values, length, 4)
    assert fast.shape == (tuple_count(length, 4), 2)
    chains = np.array(np.unravel_index(np.arange(states**length), (states,) * length)).T
    row = chains[:, :order] @ states ** np.arange(order)[::-1]
    probability = start[:, row]
    for t in range(order, length):
        probability = probability * kernels[:, row, chains[:, t]]
        row = (row * states) % states**order + chains[:, t]
    factors = np.concatenate([np.ones((len(chains), 1)), values[chains]], axis=1)
    times = rng.integers(0, length + 1, size=(60, 4))
    slow = np.einsum("Kc,ctq->tK", probability, np.prod(factors[:, times], axis=2)[:, :, None])
    np.testing.assert_allclose(fast[tuple_places(times, length)], slow, rtol=1e-12, atol=1e-14)


def test_grids_promised_to_be_exact_fit_the_budget():
    for states, length in ((3, 5), (4, 3)):
        system = compute_moments(MarkovTask(states=states, length=length, context=7))
        assert system.method == "quadrature"
        assert system.error == "exact up to rounding"
        assert system.nodes == grid_size(MarkovTask(states=states, length=length))


def test_sobol_agrees_with_the_grid_within_its_standard_errors():
    task = MarkovTask(states=3, length=3, context=4, prior=symmetric_dirichlet(3, 1, "3/4"))
    exact, estimate = compute_moments(task), sampled_moments(task, points=1024, replicates=16, seed=1)
    H_error, h_error, y_error = estimate.standard_errors
    for mine, theirs, error in ((estimate.H, exact.H, H_error), (estimate.h, exact.h, h_error)):
        assert np.abs((mine - theirs) / (error + 1e-12)).max() < 7
        assert np.abs((mine - theirs) / (error + 1e-12)).mean() < 1.5
    assert abs(estimate.y2 - exact.y2) < 7 * y_error + 1e-12
    again = sampled_moments(task, points=1024, replicates=16, seed=1)
    np.testing.assert_array_equal(again.H, estimate.H)


def test_sobol_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="Dirichlet prior to sample"):
        sampled_moments(POLYNOMIAL["finite"])
    with pytest.raises(ValueError, match="power of two"):
        sampled_moments(MarkovTask(), points=1000)


def test_stationary_starts_are_irrational_and_say_so():
    task = MarkovTask(length=2, context=5, initial=StationaryStart())
    system = compute_moments(task)
    assert system.coarse is not None
    assert "node doubling" in system.error
    # h_1 = E[pi_1 p11 mu_1] with pi_1 = p01 / (p01 + 1 - p11); the first moment of pi_1 itself is 1/2
    fine = accumulate(task, kernel_rule(task.prior, 96))
    assert abs(fine.h[0, 0] - system.h[0]) < 20 * abs(system.coarse.h[0] - system.h[0])
    with pytest.raises(ValueError, match="rational moments"):
        rational_moments(task)
    with pytest.raises(ValueError, match="rational law"):
        enumerate_moments(task)


def test_stationary_start_second_moment_matches_the_known_integral():
    """E[pi_1 p11] over the unit square is the probability of two 1s in a row: 2/3 (1 - ln 2) + ... by quad."""
    from scipy.integrate import dblquad

    def integrand(p11, p01):
        return p01 / (p01 + 1 - p11) * p11 * p01 / (p01 + 1 - p11)

    wanted = dblquad(integrand, 0, 1, 0, 1, epsabs=1e-10)[0]
    system = compute_moments(MarkovTask(length=2, context=5, initial=StationaryStart()))
    assert abs(system.h[0] - wanted) < 1e-5
    change = abs(system.h[0] - system.coarse.h[0])
    assert abs(system.h[0] - wanted) < 4 * change


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_rational_and_float_agree(name):
    check_rounds_to(compute_moments(REGRESSION[name]), rational_moments(REGRESSION[name]))


def test_too_large_systems_are_refused_with_their_size():
    with pytest.raises(ValueError, match="got a dense system of 265,680 unknowns, which needs about"):
        compute_moments(MarkovTask(length=81))
    with pytest.raises(ValueError, match=r"within 0\.001 GB; got a dense system of 660 unknowns"):
        compute_moments(MarkovTask(length=11), memory=0.001)
    with pytest.raises(ValueError, match="small enough for fractions"):
        rational_moments(MarkovTask(length=15))
    with pytest.raises(ValueError, match="small enough for fractions"):
        rational_moments(RegressionTask(30, 5))
    with pytest.raises(ValueError, match="to enumerate"):
        enumerate_moments(MarkovTask(length=6, context=20))


def test_context_enters_only_through_one_over_n():
    a, b, c = (compute_moments(MarkovTask(length=4, context=n, initial=bernoulli("1/5"))).H for n in (1, 2, 4))
    np.testing.assert_allclose(b - a, (1 / 2 - 1) / (1 / 4 - 1) * (c - a), rtol=1e-9, atol=1e-15)
