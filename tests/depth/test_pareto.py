import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.depth.objectives import GROUPS, first_group, group_values, second_group
from markov_icl.depth.pareto import (
    distances,
    front_of,
    generational_distance,
    line_front,
    nondominated,
    nsga2_front,
    sampled_front,
)
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts

PROMPTS = sample_prompts(MarkovTask(length=5, context=100), 6, seed=3)
CONTEXT = PROMPTS.context[0]
GRAM = PROMPTS.gram[0]
FIT = np.linalg.lstsq(CONTEXT[:, :4], CONTEXT[:, 4], rcond=None)[0]


@given(st.integers(0, 10**6), st.integers(1, 600), st.integers(1, 4), st.booleans())
def test_nondominated_is_the_definition(seed, count, objectives, ties):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, (count, objectives)).astype(float) if ties else rng.random((count, objectives))
    dominated = [((values <= v).all(1) & (values < v).any(1)).any() for v in values]
    np.testing.assert_array_equal(nondominated(values), ~np.array(dominated))


def test_first_group_is_optimal_exactly_above_least_squares():
    """Theory of R1: ``w`` is Pareto optimal in all of space iff ``w - w_ols >= 0`` (``Gxx > 0``)."""
    rng = np.random.default_rng(0)
    above = FIT + rng.exponential(0.5, (50, 4))
    front = sampled_front("R1", CONTEXT, near=above, box=3.0)
    both = np.concatenate([first_group(above, GRAM), front.values])
    assert nondominated(both)[:50].all()
    below = FIT - rng.exponential(0.5, (50, 4))
    better = first_group(below + 0.01 * (FIT - below), GRAM)
    assert (better < first_group(below, GRAM)).all()  # a common descent direction exists off the cone


def test_second_group_along_its_own_variable_is_a_half_line():
    w = np.array([0.1, -0.2, 0.3, 0.0])
    front = line_front(CONTEXT, w, box=4.0, count=801)
    u = GRAM[:4, 4] - GRAM[:4, :3] @ w[:3]
    first = (u / GRAM[:4, 3]).min()
    assert abs(front.w[:, 3].min() - first) <= 0.01 + 1e-12
    assert front.w[:, 3].max() == 4.0
    assert (np.ptp(front.w[:, :3], axis=0) == 0).all()
    assert distances(second_group(w[None], CONTEXT), front)[0] > 0  # w_J = 0 lies below the half-line


def test_front_of_one_feature_is_an_interval():
    context = CONTEXT[:, 3:]
    fit = context[:, 0] @ context[:, 1] / (context[:, 0] @ context[:, 0])
    for find in (sampled_front, nsga2_front):
        for group in ("R1", "R2"):
            front = find(group, context, box=2.0)
            assert abs(front.w.min() - fit) < 0.02
            assert abs(front.w.max() - 2.0) < 0.02


@pytest.mark.parametrize("group", GROUPS)
def test_fronts_say_what_they_are(group):
    front = sampled_front(group, CONTEXT, box=1.5, count=512, seed=4)
    assert nondominated(front.values).all()
    assert np.abs(front.w).max() <= 1.5
    np.testing.assert_allclose(front.values, group_values(group, front.w, CONTEXT))
    np.testing.assert_allclose(front.origin, group_values(group, np.zeros(4), CONTEXT))
    assert front.unbounded
    assert (front.scale > 0).all()
    again = sampled_front(group, CONTEXT, box=1.5, count=512, seed=4)
    np.testing.assert_array_equal(front.w, again.w)


def test_a_point_is_on_the_front_exactly_if_nothing_sampled_dominates_it():
    near = np.concatenate([FIT + np.array([[0.2, 0.2, 0.2, 0.2], [-0.5, -0.5, -0.5, -0.5]]), [[9.0, 9.0, 9.0, 9.0]]])
    front = sampled_front("R1", CONTEXT, near=near)
    found = distances(first_group(near, GRAM), front)
    assert found[0] == 0
    assert found[1] > 0.01
    assert found[2] > 1.0  # outside the box: no candidate, so it has a distance


def test_sampled_and_reference_front_agree():
    """The reference front, 200 points in four dimensions, is the coarser one: it may only be a little farther."""
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.5, 1.0, (40, 4))
    for group in ("R1", "R2"):
        values = group_values(group, points, CONTEXT)
        ours = distances(values, sampled_front(group, CONTEXT, near=points))
        reference = distances(values, nsga2_front(group, CONTEXT, generations=60))
        assert (ours - reference).max() < 0.04
        assert (reference - ours).max() < 0.1


@pytest.mark.parametrize("count", [1, 7])
def test_generational_distance_in_both_conventions(count):
    from pymoo.indicators.gd import GD

    rng = np.random.default_rng(count)
    front = sampled_front("R1", CONTEXT, count=256)
    values = first_group(rng.uniform(-1, 1, (count, 4)), GRAM)
    found = distances(values, front)
    literal = [np.sqrt((((v - front.values) / front.scale) ** 2).sum(1)).min() for v in values]
    np.testing.assert_allclose(found, literal, atol=1e-12)
    mean, old = generational_distance(found), generational_distance(found, "veldhuizen")
    assert abs(mean.value - GD(front.values / front.scale)(values / front.scale)) < 1e-12
    assert abs(old.value - np.sqrt(sum(v**2 for v in literal)) / count) < 1e-12
    assert (mean.convention, old.convention, mean.points) == ("mean", "veldhuizen", count)
    assert old.value <= mean.value + 1e-15
    assert (count == 1) == (abs(mean.value - old.value) < 1e-12)


def test_bad_input_is_refused(monkeypatch):
    for arguments in (
        ("R3", CONTEXT),
        ("R1", CONTEXT, None, 0.0),
        ("R1", CONTEXT, None, np.inf),
        ("R1", CONTEXT, None, 1.0, 1),
    ):
        with pytest.raises(ValueError, match="expected a"):
            sampled_front(*arguments)
    with pytest.raises(ValueError, match="sampled or nsga2"):
        front_of("exact")
    for found, convention in ((np.array([1.0]), "median"), (np.array([]), "mean")):
        with pytest.raises(ValueError, match="expected a convention"):
            generational_distance(found, convention)
    monkeypatch.setitem(sys.modules, "pymoo.algorithms.moo.nsga2", None)
    with pytest.raises(ValueError, match=r"markov-icl\[moo\]"):
        nsga2_front("R1", CONTEXT)
