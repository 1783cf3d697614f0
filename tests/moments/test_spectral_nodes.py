"""The spectral rule against closed forms, against the exact grid, and its own account of its error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.moments.compute import compute_moments
from markov_icl.moments.long_nodes import is_binary, long_nodes
from markov_icl.moments.quadrature import kernel_rule
from markov_icl.moments.spectral_nodes import spectral_rule
from markov_icl.tasks.kernels import beta_prior, stationary, symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask, StationaryStart
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL

PRIORS = {
    "uniform": (1, 1, 1, 1),
    "arcsine": ("1/2", "1/2", "1/2", "1/2"),
    "spikes": ("1/10", "1/10", "1/10", "1/10"),
    "sharp": (50, 50, 50, 50),
    "nearly-absorbing": ("1/10", 50, 50, "1/10"),
    "skew": (1, 2, 3, "5/2"),
}


def beta_moment(a, b, k):
    return np.prod([(a + i) / (a + b + i) for i in range(k)])


@pytest.mark.parametrize("transitions", [3, 65])
@pytest.mark.parametrize("name", PRIORS)
def test_moments_of_transition_probabilities_are_those_of_the_prior(name, transitions):
    """``E p01^i p11^j``, ``i + j <= 6``, is one of the moments that the rule must have."""
    prior = beta_prior(PRIORS[name])
    rule = spectral_rule(prior, transitions)
    assert rule.error < 2e-14
    assert (rule.weights > 0).all()
    assert abs(rule.weights.sum() - 1) < 1e-13
    assert ((rule.stationary >= 0) & (rule.stationary <= 1) & (np.abs(rule.eigenvalue) < 1)).all()
    kernels, weights = rule.chunk(0, rule.size)
    (b0, a0), (b1, a1) = ((float(q) for q in row) for row in prior.alpha)
    for i in range(4):
        for j in range(4):
            if i + j <= 6:
                found = weights @ (kernels[:, 0, 1] ** i * kernels[:, 1, 1] ** j)
                assert abs(found - beta_moment(a0, b0, i) * beta_moment(a1, b1, j)) < 1e-13


@pytest.mark.parametrize("transitions", [1, 5, 33])
def test_four_hundred_kernels_do_what_the_grid_does(transitions):
    """Products of ``u_k`` and starts, at the highest degree, on the Gauss-Jacobi grid that is exact for them."""
    prior = beta_prior((1, "3/2", "5/2", 2))
    few = spectral_rule(prior, transitions)
    many = kernel_rule(prior, 3 * transitions + 2)
    assert few.size < 90 + 40 * np.sqrt(transitions)
    rng = np.random.default_rng(0)
    for _ in range(5):
        lags = rng.integers(0, transitions + 1, 6)
        values = []
        for rule in (few, many):
            kernels, weights = rule.chunk(0, rule.size)
            s, lam = stationary(kernels)[:, 1], kernels[:, 1, 1] - kernels[:, 0, 1]
            factors = s[:, None] + (1 - s)[:, None] * lam[:, None] ** lags
            values.append(weights @ factors[:, :3].prod(1))
        np.testing.assert_allclose(values[0], values[1], rtol=1e-12)


def test_a_prior_too_sharp_for_the_trapezoid_is_noticed():
    rule = spectral_rule(beta_prior((3000, 1000, 10, "3/10")), 10)
    assert rule.error > 1e-6
    nodes = long_nodes(MarkovTask(length=5, prior=beta_prior((3000, 1000, 10, "3/10"))))
    assert nodes.method == "quadrature"


def test_only_binary_priors():
    with pytest.raises(ValueError, match="binary kernels of order 1"):
        spectral_rule(symmetric_dirichlet(3, 1), 4)


@given(st.tuples(*[st.fractions(min_value="1/5", max_value=20, max_denominator=5)] * 4), st.integers(1, 30))
@settings(max_examples=15)
def test_any_moderate_prior_is_met_to_rounding(parameters, transitions):
    rule = spectral_rule(beta_prior(parameters), transitions)
    assert rule.error < 1e-13
    assert abs(rule.weights.sum() - 1) < 1e-13


@pytest.mark.parametrize("name", [n for n, t in (POLYNOMIAL | NOT_POLYNOMIAL).items() if is_binary(t)])
def test_nodes_have_the_linear_term_of_the_task(name):
    task = (POLYNOMIAL | NOT_POLYNOMIAL)[name]
    nodes, system = long_nodes(task), compute_moments(task)
    tolerance = 1e-6 if name in NOT_POLYNOMIAL else 1e-13  # the dense rule is the inexact one there
    h = (nodes.label * nodes.weights[:, None]).T @ nodes.mu
    np.testing.assert_allclose(h.reshape(-1), system.h, atol=tolerance)
    np.testing.assert_allclose(nodes.weights @ nodes.square, system.y2, atol=tolerance)


def test_stationary_starts_are_exact_where_the_grid_is_not():
    """``E s = 1/2`` by symmetry, ``E[s p11] = (2/3)(1 - ln 2) + 1/6`` by integration over the square."""
    nodes = long_nodes(MarkovTask(length=2, initial=StationaryStart()))
    assert nodes.method == "spectral"
    s, p11 = nodes.spectrum[1], nodes.kernels[:, 1, 1]
    assert abs(nodes.weights @ s - 1 / 2) < 1e-15
    from scipy.integrate import dblquad

    literal = dblquad(lambda q, p: p / (1 + p - q) * q, 0, 1, 0, 1, epsabs=1e-11)[0]
    assert abs(nodes.weights @ (s * p11) - literal) < 1e-9
