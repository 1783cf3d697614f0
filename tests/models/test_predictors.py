from itertools import product

import numpy as np
import pytest

from markov_icl.features import predict
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models.predictors import posterior_mean, posterior_predictive, transition_counts
from markov_icl.moments.enumeration import prompts as every_prompt
from markov_icl.tasks.kernels import symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask, StationaryStart
from markov_icl.tasks.sampling import Prompts, columns, sample_prompts
from tests.cases import POLYNOMIAL

DISCRETE = {k: v for k, v in POLYNOMIAL.items() if not k.startswith("correlated")}


@pytest.mark.parametrize("name", DISCRETE)
def test_posterior_is_the_conditional_law_of_the_definition(name):
    task = DISCRETE[name]
    if task.states**task.length > 16:
        task = MarkovTask(task.states, task.order, task.order + 1, 1, task.prior, task.initial, task.values, task.bias)
    joint = {}
    for query, context, probability in every_prompt(task):
        key = (query[:-1], tuple(sorted(context.elements())))
        joint.setdefault(key, np.zeros(task.states))[query[-1]] += float(probability)
    for (seen, context), mass in list(joint.items())[:60]:
        states = np.array([[*context]])
        query = np.array([[*seen, 0]])
        z = columns(task, states)
        drawn = Prompts(z, columns(task, query)[:, :-1], np.zeros(1), states, query)
        np.testing.assert_allclose(posterior_predictive(task, drawn)[0], mass / mass.sum(), atol=1e-10)


@pytest.mark.parametrize("name", DISCRETE)
def test_nothing_beats_the_posterior_mean(name):
    task = DISCRETE[name]
    drawn = sample_prompts(task, 20_000, seed=2)
    form = minimizer(task, "dense")
    best = (posterior_mean(task, drawn) - drawn.target) ** 2
    linear = (predict(form.X, drawn.gram, drawn.query) - drawn.target) ** 2
    difference = linear - best
    assert difference.mean() > -5 * difference.std() / np.sqrt(len(difference)) - 1e-12


@pytest.mark.parametrize(("states", "alpha", "ceiling"), [(2, 1, 0.755), (3, 1, 0.60), (4, 1, 0.49), (3, "1/10", 0.91)])
def test_published_ceilings(states, alpha, ceiling):
    task = MarkovTask(states=states, length=6, context=10, prior=symmetric_dirichlet(states, 1, alpha))
    drawn = sample_prompts(task, 40_000, seed=0)
    right = posterior_predictive(task, drawn).argmax(1) == drawn.query_states[:, -1]
    assert abs(right.mean() - ceiling) < 0.006 + 4 * right.std() / np.sqrt(len(right))


def test_counts():
    states = np.array([[[0, 1, 1, 0], [1, 1, 1, 1]]])
    np.testing.assert_array_equal(transition_counts(states, 2, 2, 1)[0], [[0, 1], [1, 4]])
    order_two = transition_counts(states, 4, 2, 2)[0]
    literal = np.zeros((4, 2))
    for chain, t in product(states[0], range(2, 4)):
        literal[2 * chain[t - 2] + chain[t - 1], chain[t]] += 1
    np.testing.assert_array_equal(order_two, literal)


def test_what_has_no_conjugate_posterior_is_refused():
    task = MarkovTask(initial=StationaryStart())
    drawn = sample_prompts(task, 3)
    with pytest.raises(ValueError, match="stationary starts"):
        posterior_predictive(task, drawn)
    with pytest.raises(ValueError, match="numeric columns only"):
        posterior_predictive(MarkovTask(), Prompts(drawn.context, drawn.query, drawn.target))
