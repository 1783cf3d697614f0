import numpy as np
import pytest
import torch

from markov_icl.depth.descent import descend
from markov_icl.depth.objectives import first_group, second_group
from markov_icl.depth.profile import FRONTS, profile
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.models.predictors import posterior_mean
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart
from markov_icl.tasks.sampling import sample_prompts
from tests.depth.parameters import random_model

TASK = MarkovTask(length=4, context=30)


def test_rows_are_means_over_fresh_prompts():
    model = random_model(4, 3, 1, 0)
    found = profile(model, TASK, prompts=300, fronts=3, seed=5)
    drawn = sample_prompts(TASK, 300, np.random.default_rng([5, 2]))
    path = descend(model, drawn.gram)
    assert [row.layer for row in found.layers] == [0, 1, 2, 3]
    assert found.equivalence.max_abs < 1e-12
    for row, w in zip(found.layers, path.w, strict=True):
        answer = np.einsum("pj,pj->p", w, drawn.query)
        np.testing.assert_allclose(row.loss, ((answer - drawn.target) ** 2).mean())
        np.testing.assert_allclose(row.accuracy, ((answer > 0.5) == drawn.target).mean())
        np.testing.assert_allclose(row.first, first_group(w, drawn.gram).mean(0))
        np.testing.assert_allclose(row.second, second_group(w, drawn.context).mean(0))
        assert set(row.distance) == set(FRONTS)
        for far in row.distance.values():
            assert 0 <= far.on_front <= 1
            assert 0 <= far.veldhuizen <= far.mean + 1e-12
    assert np.isnan(found.layers[0].shares).all()
    assert all(abs(row.shares.sum() - 1) < 1e-10 for row in found.layers[1:])
    np.testing.assert_allclose(found.bayes.loss, ((posterior_mean(TASK, drawn) - drawn.target) ** 2).mean())
    assert {"R1_1", "R2_4"} <= set(found.unbounded)
    assert "R1_4" not in found.unbounded


def test_the_same_seed_gives_the_same_profile():
    model = random_model(4, 2, 2, 0)
    one, two = (profile(model, TASK, 50, 2, seed=1) for _ in range(2))
    for a, b in zip(one.layers, two.layers, strict=True):
        assert a.distance == b.distance
        np.testing.assert_array_equal(a.second, b.second)


def test_iterates_outside_the_box_are_counted():
    found = profile(random_model(4, 2, 1, 0), TASK, 50, 2, box=0.01)
    assert found.layers[0].outside == 0
    assert found.layers[-1].outside > 0.9


@pytest.mark.parametrize(
    ("task", "bayes"),
    [
        (RegressionTask(2, 8), False),
        (MarkovTask(length=3, context=5, initial=StationaryStart()), False),
        (MarkovTask(states=3, length=3, context=5, values=(5, 0, 2)), True),
        (MarkovTask(length=2, context=1), True),
    ],
)
def test_other_tasks(task, bayes):
    model = LinearSelfAttention(task.dimension, 2, 1, "restricted", scale=0.01, dtype=torch.float64)
    found = profile(model, task, 40, 2)
    assert (found.bayes is not None) == bayes
    assert np.isnan(found.layers[0].accuracy) == isinstance(task, RegressionTask)


def test_bad_input_is_refused():
    model = random_model(4, 2, 1, 0)
    with pytest.raises(ValueError, match="dimension 3"):
        profile(model, MarkovTask(length=3))
    with pytest.raises(ValueError, match="expected a restricted"):
        profile(LinearSelfAttention(4, 2), TASK, 10, 2)
    for fronts in (0, 11):
        with pytest.raises(ValueError, match="expected 1 to 10"):
            profile(model, TASK, 10, fronts)
    with pytest.raises(ValueError, match="iterates that stay finite"):
        profile(LinearSelfAttention(4, 8, 1, "restricted", scale=30.0, dtype=torch.float64), TASK, 10, 2)
    with pytest.raises(ValueError, match="sampled or nsga2"):
        profile(model, TASK, 10, 2, method="exact")
