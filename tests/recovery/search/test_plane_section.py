"""The section of the one-layer loss and its gradient flow against their definitions."""

import numpy as np
import pytest

from markov_icl.features import phi
from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.search.fit import search
from markov_icl.recovery.search.plane_section import balanced, gradient_flow, layer_gradient, layer_loss, plane_through
from markov_icl.tasks.kernels import symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask

TASKS = {
    "binary": MarkovTask(length=3, context=4),
    "bias": MarkovTask(length=3, context=4, bias=True),
    "three states": MarkovTask(states=3, length=3, context=2, prior=symmetric_dirichlet(3, 1, 0.5)),
    "one context chain": MarkovTask(length=4, context=1),
    "singular": MarkovTask(length=3, values=(-1, 1)),
}


@pytest.fixture(params=TASKS.values(), ids=TASKS)
def quadratic(request):
    return minimizer(request.param, "dense").moments


def parameters(quadratic, count, seed=0):
    """Draw parameters ``theta = (b, A)``, ``[count, D + D J]``."""
    D, J = quadratic.dimension, quadratic.blocks
    return np.random.default_rng(seed).standard_normal((count, D + D * J))


def split(quadratic, theta):
    D, J = quadratic.dimension, quadratic.blocks
    return theta[:D], theta[D:].reshape(D, J)


def test_the_plane_is_the_loss_at_each_of_its_points(quadratic):
    plane = plane_through(quadratic, *parameters(quadratic, 3))
    s, t = np.linspace(-2, 2, 7), np.linspace(-1, 3, 5)
    direct = [[quadratic.loss(phi(*split(quadratic, plane.point(x, y)))) for x in s] for y in t]
    np.testing.assert_allclose(plane.losses(s, t), direct, rtol=1e-11)


def test_the_plane_goes_through_its_points(quadratic):
    first, second, third = parameters(quadratic, 3)
    plane = plane_through(quadratic, first, second, third)
    np.testing.assert_allclose(plane.coordinates(first), [0, 0], atol=1e-12)
    nearer = second if first @ second >= 0 else -second
    np.testing.assert_allclose(plane.coordinates(nearer), [1, 0], atol=1e-12)
    beside = third if first @ third >= 0 else -third
    np.testing.assert_allclose(plane.point(*plane.coordinates(beside)), beside, atol=1e-10)
    assert abs(plane.u @ plane.v) < 1e-10 * (plane.u @ plane.u)
    assert plane.v @ plane.v == pytest.approx(plane.u @ plane.u)


def test_the_gradient_is_that_of_the_loss(quadratic):
    theta, step = parameters(quadratic, 1)[0], 1e-6
    axes = step * np.eye(len(theta))
    differences = [(layer_loss(quadratic, theta + e) - layer_loss(quadratic, theta - e)) / (2 * step) for e in axes]
    gradient = layer_gradient(quadratic, theta)
    np.testing.assert_allclose(gradient, differences, atol=1e-7 * np.abs(gradient).max())


def test_scaling_keeps_the_layer(quadratic):
    b, A = split(quadratic, parameters(quadratic, 1)[0])
    theta = balanced(100 * b, A / 100)
    np.testing.assert_allclose(phi(*split(quadratic, theta)), phi(b, A), rtol=1e-12, atol=1e-14)
    D = quadratic.dimension
    assert np.linalg.norm(theta[:D]) == pytest.approx(np.linalg.norm(theta[D:]))


def test_the_flow_falls_to_a_known_minimum():
    quadratic = minimizer(TASKS["binary"], "dense").moments
    minima = [one.loss for one in search(quadratic, 1, 16, 0).minima]
    for start in 0.3 * parameters(quadratic, 3, seed=1):
        flow = gradient_flow(quadratic, start)
        assert flow.stationary
        assert (np.diff(flow.losses) <= 1e-9).all()
        assert flow.losses[0] == layer_loss(quadratic, start)
        assert min(abs(flow.losses[-1] - loss) for loss in minima) < 1e-8


def test_the_flow_keeps_what_gradient_flow_keeps():
    """Along the flow ``|b|^2 - |A|^2`` does not change: the loss is the same for ``(c b, A / c)``."""
    quadratic = minimizer(TASKS["binary"], "dense").moments
    flow = gradient_flow(quadratic, parameters(quadratic, 1, seed=2)[0])
    D = quadratic.dimension
    kept = (flow.path[:, :D] ** 2).sum(1) - (flow.path[:, D:] ** 2).sum(1)
    np.testing.assert_allclose(kept, kept[0], atol=1e-4 * (flow.path[0] @ flow.path[0]))


def test_a_flow_within_a_plane_stays_there(quadratic):
    plane = plane_through(quadratic, *(0.3 * parameters(quadratic, 3)))
    flow = gradient_flow(quadratic, plane.point(0.4, 0.3), plane)
    back = np.array([plane.point(*place) for place in plane.coordinates(flow.path)])
    np.testing.assert_allclose(back, flow.path, atol=1e-9)
    assert (np.diff(flow.losses) <= 1e-9).all()


def test_points_that_span_no_plane_are_refused():
    quadratic = minimizer(TASKS["binary"], "dense").moments
    first, second = parameters(quadratic, 2)
    nearer = second if first @ second >= 0 else -second
    with pytest.raises(ValueError, match="expected two different points; got"):
        plane_through(quadratic, first, -first, second)
    with pytest.raises(ValueError, match="expected a third point beside"):
        plane_through(quadratic, first, second, (first + nearer) / 2)
