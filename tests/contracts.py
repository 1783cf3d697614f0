"""The laws that every fast path must obey."""

import numpy as np

from markov_icl.features import predict
from markov_icl.tasks.sampling import sample_prompts


def check_same_fractions(fast, slow):
    """Two exact systems are the same, entry by entry."""
    assert slow.H == fast.H
    assert slow.h == fast.h
    assert slow.y2 == fast.y2
    assert (slow.blocks, slow.dimension) == (fast.blocks, fast.dimension)


def check_rounds_to(system, exact, tolerance=1e-12):
    """A float system agrees with the exact one to rounding, relative to its largest entries."""
    rounded = exact.to_float()
    for mine, theirs in ((system.H, rounded.H), (system.h, rounded.h), (system.y2, rounded.y2)):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


def check_monte_carlo(task, system, prompts=60_000, seed=3, errors=4.0):
    """The loss of several X on sampled prompts is the quadratic's, within `errors` standard errors each."""
    drawn = sample_prompts(task, prompts, seed)
    rng = np.random.default_rng(0)
    points = [np.zeros(system.size), np.linalg.lstsq(system.H, system.h, rcond=1e-10)[0]]
    points += [rng.normal(size=system.size) for _ in range(3)]
    slack = 0.0
    if system.standard_errors is not None:
        _, _, slack = system.standard_errors
    for X in points:
        squared = (predict(X, drawn.gram, drawn.query) - drawn.target) ** 2
        error = np.hypot(squared.std(ddof=1) / np.sqrt(prompts), slack)
        assert abs(squared.mean() - system.loss(X)) <= errors * error + 1e-12, (squared.mean(), system.loss(X), error)


def check_operator(operator, system, tolerance=1e-13):
    """An operator is its dense matrix: product, adjoint, columns, shape, diagonal, loss, gradient, SciPy's view."""
    scale = np.abs(system.H).max()
    np.testing.assert_allclose(operator.dense(), system.H, atol=tolerance * scale)
    np.testing.assert_allclose(operator.h, system.h, atol=tolerance * np.abs(system.h).max())
    assert (operator.size, operator.blocks, operator.dimension) == (system.size, system.blocks, system.dimension)
    assert operator.shape == system.H.shape
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, system.size))
    slack = tolerance * scale * np.abs(X).sum()
    np.testing.assert_allclose(operator.apply(X), system.H @ X, atol=slack)
    assert abs(Y @ operator.apply(X) - operator.adjoint(Y) @ X) <= slack * np.abs(Y).sum()
    np.testing.assert_allclose(operator.linear_operator() @ X, system.H @ X, atol=slack)
    np.testing.assert_allclose(operator.linear_operator().T @ X, system.H @ X, atol=slack)
    np.testing.assert_allclose(operator.gradient(X), system.gradient(X), atol=10 * slack)
    index = np.array([0, system.size - 1])
    np.testing.assert_allclose(operator.diagonal(index), system.diagonal(index), atol=tolerance * scale)
    np.testing.assert_allclose(operator.loss(X), system.loss(X), rtol=1e-12)
