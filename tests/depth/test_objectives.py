import numpy as np
import pytest
import torch

from markov_icl.depth.descent import descend
from markov_icl.depth.objectives import (
    decompose,
    first_derivatives,
    first_group,
    group_values,
    second_derivatives,
    second_group,
    unbounded_below,
)
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts
from tests.depth.parameters import largest_trace, random_model

RNG = np.random.default_rng(0)


def chains(kind, n, d):
    return {
        "zeros": np.zeros((n, d + 1)),
        "ones": np.ones((n, d + 1)),
        "last feature zero": np.concatenate([RNG.integers(0, 2, (n, d - 1)), np.zeros((n, 1)), np.ones((n, 1))], 1),
        "features zero, labels one": np.concatenate([np.zeros((n, d)), np.ones((n, 1))], 1),
        "binary": RNG.integers(0, 2, (n, d + 1)).astype(float),
        "four states": RNG.integers(0, 4, (n, d + 1)).astype(float),
        "numbers": RNG.standard_normal((n, d + 1)),
    }[kind].astype(float)


KINDS = ["zeros", "ones", "last feature zero", "features zero, labels one", "binary", "four states", "numbers"]


def literal_first(w, z):
    """The paper's R1, chain by chain, in torch."""
    d = len(w)
    values = [-sum(x[k] * (w @ x[:d]) for x in z) / len(z) for k in range(d)]
    return torch.stack([*values, sum((w @ x[:d] - x[d]) ** 2 for x in z) / (2 * len(z))])


def literal_second(w, z):
    """The paper's R2, chain by chain, the case ``x_jd = 0`` included, in torch."""
    d = len(w)
    values = [torch.zeros((), dtype=torch.float64) for _ in range(d + 1)]
    for x in z:
        u = x[d] - w[: d - 1] @ x[: d - 1]
        for k in range(d):
            values[k] = values[k] - (x[k] * u * w[d - 1] - x[k] * x[d - 1] * w[d - 1] ** 2 / 2) / len(z)
        cube = (x[d] - w @ x[:d]) ** 3 / (3 * x[d - 1]) if x[d - 1] != 0 else -(u**2) * w[d - 1]
        values[d] = values[d] + cube / len(z)
    return torch.stack(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d", "n"), [(1, 1), (1, 7), (2, 5), (4, 20), (8, 3)])
def test_values_and_derivatives_are_those_of_the_definition(kind, d, n):
    context = chains(kind, n, d)
    gram = context.T @ context / n
    for w in (np.zeros(d), np.ones(d), RNG.standard_normal(d)):
        variable = torch.tensor(w, requires_grad=True)
        z = torch.from_numpy(context)
        np.testing.assert_allclose(first_group(w, gram), literal_first(variable, z).detach(), atol=1e-12, rtol=1e-12)
        np.testing.assert_allclose(
            second_group(w, context), literal_second(variable, z).detach(), atol=1e-10, rtol=1e-10
        )
        first = torch.autograd.functional.jacobian(lambda v, z=z: literal_first(v, z), variable)
        second = torch.autograd.functional.jacobian(lambda v, z=z: literal_second(v, z), variable)
        np.testing.assert_allclose(first_derivatives(w, gram), first.T, atol=1e-8, rtol=1e-8)
        np.testing.assert_allclose(second_derivatives(w, gram), second[:, d - 1], atol=1e-8, rtol=1e-8)


def test_both_cases_of_the_last_objective_are_one_antiderivative():
    """``r^3/(3x) - u^3/(3x)`` tends to ``-u^2 w_J`` as ``x`` goes to 0; what is left out does not depend on ``w_J``."""
    for x in (1e-3, 0.5, -2.0):
        for w in (np.array([0.3, -0.7]), np.array([0.3, 1.1])):
            z = np.array([[1.0, x, 2.0]])
            u = 2.0 - 0.3
            tame = -(u**2) * w[1] + u * x * w[1] ** 2 - x**2 * w[1] ** 3 / 3
            np.testing.assert_allclose(second_group(w, z)[2] - u**3 / (3 * x), tame, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(second_group(w, np.array([[1.0, 0.0, 2.0]]))[2], -(u**2) * w[1])


def test_leading_axes_broadcast():
    prompts = sample_prompts(MarkovTask(states=3, length=4, context=5), 6)
    w = RNG.standard_normal((7, 6, 3))
    for values in (first_group(w, prompts.gram), second_group(w, prompts.context), second_derivatives(w, prompts.gram)):
        assert values.shape == (7, 6, 4)
    assert first_derivatives(w, prompts.gram).shape == (7, 6, 3, 4)
    np.testing.assert_allclose(
        second_group(w, prompts.context)[2, 3], second_group(w[2, 3], prompts.context[3]), atol=1e-14
    )
    both = group_values("both", w[:, 3], prompts.context[3])
    np.testing.assert_allclose(both[:, :4], first_group(w[:, 3], prompts.gram[3]), atol=1e-13)
    with pytest.raises(ValueError, match="expected a group"):
        group_values("R3", w[:, 3], prompts.context[3])


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_preconditioned_combination_term_by_term(kind, heads):
    d, depth = 4, 5
    context = np.stack([chains(kind, 9, d), chains("binary", 9, d)])
    gram = context.swapaxes(1, 2) @ context / 9
    trace = max(1.0, float(np.trace(gram, axis1=1, axis2=2).max()))
    model = random_model(d + 1, depth, heads, 3, trace)
    path = descend(model, gram)
    matrix = np.concatenate([context.swapaxes(1, 2), np.zeros((2, d + 1, 1))], axis=2)
    matrix[:, :d, -1] = [[0] * d, [1] * d]
    states = model.layers(torch.from_numpy(matrix))
    for layer in range(1, depth + 1):
        found = decompose(path.step(layer))
        np.testing.assert_allclose(found.parts.sum((1, 2)), path.step(layer).move, atol=1e-13)
        for group in range(2):
            for k in range(d + 1):
                masked = random_model(d + 1, depth, heads, 3, trace)
                with torch.no_grad():
                    masked.b[:, :, [i for i in range(d + 1) if i != k]] = 0
                    masked.A[:, :, slice(d, d + 1) if group == 0 else slice(0, d)] = 0
                    P, Q = masked.projections()
                    update = (
                        P[layer - 1] @ (states[layer - 1][:, None] @ masked.weights(states[layer - 1], Q[layer - 1]))
                    ).sum(1)
                moved = -np.einsum("pj,pjn->pn", found.parts[:, group, k], matrix[:, :d])
                np.testing.assert_allclose(update[:, -1].detach(), moved, atol=1e-13)


def test_shares_of_a_step():
    prompts = sample_prompts(MarkovTask(length=5, context=50), 40)
    path = descend(random_model(5, 4, 1, 0, largest_trace(prompts)), prompts.gram)
    for layer in range(1, 5):
        found = decompose(path.step(layer))
        assert abs(found.shares.sum() - 1) < 1e-12
        assert found.sizes.shape == found.shares.shape == (2, 5)
    still = descend(random_model(5, 1, 1, 0, size=0.0), prompts.gram)
    assert np.isnan(decompose(still.step(1)).shares).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_unbounded_objectives_are_named(kind, d):
    """Along some ray every named objective falls ever further; along none does another one."""
    context = chains(kind, 6, d)
    named = unbounded_below("both", context.T @ context / 6)
    rays = np.concatenate(
        [
            RNG.standard_normal((4000, d)),
            np.eye(d),
            -np.eye(d),
            np.array(np.meshgrid(*[[-1, 0, 1]] * d)).reshape(d, -1).T,
        ]
    )
    names = [f"R1_{k + 1}" for k in range(d + 1)] + [f"R2_{k + 1}" for k in range(d + 1)]
    near, far = (group_values("both", size * rays, context) for size in (1e4, 1e5))
    falls = ((far < near - 1.0) & (far < -10.0)).any(0)
    assert {name for name, fall in zip(names, falls, strict=True) if fall} == set(named)
    assert set(unbounded_below("R1", context.T @ context / 6)) == {name for name in named if name.startswith("R1")}
