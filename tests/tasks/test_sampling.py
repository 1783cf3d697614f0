from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.tasks.kernels import fixed_kernel
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask
from markov_icl.tasks.sampling import sample_prompts
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REGRESSION

ALL = POLYNOMIAL | NOT_POLYNOMIAL | REGRESSION


@pytest.mark.parametrize("name", ALL)
def test_shapes_and_the_gram_matrix(name):
    task = ALL[name]
    drawn = sample_prompts(task, 7, seed=1)
    assert drawn.context.shape == (7, task.context, task.dimension)
    assert drawn.query.shape == (7, task.blocks)
    assert drawn.target.shape == (7,)
    literal = np.einsum("pni,pnj->pij", drawn.context, drawn.context) / task.context
    np.testing.assert_allclose(drawn.gram, literal)
    Z = drawn.matrix
    assert Z.shape == (7, task.dimension, task.context + 1)
    np.testing.assert_array_equal(Z[:, -1, -1], 0)
    np.testing.assert_array_equal(Z[:, :-1, -1], drawn.query)


def test_seeds():
    task = MarkovTask(length=4)
    first, again, other = (sample_prompts(task, 20, seed) for seed in (5, np.random.default_rng(5), 6))
    np.testing.assert_array_equal(first.context, again.context)
    assert (first.context != other.context).any()
    with pytest.raises(ValueError, match="at least 1 prompt"):
        sample_prompts(task, 0)


def test_impossible_transitions_never_happen():
    cycle = MarkovTask(states=3, length=9, prior=fixed_kernel([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    states = sample_prompts(cycle, 500).context_states
    np.testing.assert_array_equal(states[..., 1:], (states[..., :-1] + 1) % 3)


def test_correlated_starts_follow_the_query():
    task = MarkovTask(length=2, context=50, initial=CorrelatedStart(F(3, 10), (F(1, 10), F(9, 10))))
    drawn = sample_prompts(task, 20_000, seed=0)
    query, context = drawn.query_states[:, 0], drawn.context_states[:, :, 0]
    for value, expected in ((0, 0.1), (1, 0.9)):
        chosen = context[query == value]
        error = np.sqrt(expected * (1 - expected) / chosen.size)
        assert abs(chosen.mean() - expected) < 5 * error
    assert abs(query.mean() - 0.3) < 5 * np.sqrt(0.21 / 20_000)
