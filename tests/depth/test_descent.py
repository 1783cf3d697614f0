from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.depth.descent import RestrictedParameters, descend, equivalence, residual_gram
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.tasks.data import from_sequences
from markov_icl.tasks.kernels import fixed_kernel
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart
from markov_icl.tasks.sampling import Prompts, sample_prompts
from tests.depth.parameters import largest_trace, random_model

WEATHER = Path(__file__).parents[2] / "examples" / "seattle_weather.csv"
NEARLY_REDUCIBLE = fixed_kernel([["999999/1000000", "1/1000000"], ["1/1000000", "999999/1000000"]])
TASKS = {
    "d-1-n-1": MarkovTask(length=2, context=1),
    "d-1-n-200": MarkovTask(length=2, context=200),
    "d-4-n-100": MarkovTask(length=5, context=100),
    "d-8-n-1": MarkovTask(length=9, context=1),
    "d-8-n-200": MarkovTask(length=9, context=200),
    "three-states": MarkovTask(states=3, length=6, context=40),
    "four-states-order-2": MarkovTask(states=4, order=2, length=5, context=30),
    "order-3": MarkovTask(order=3, length=6, context=25),
    "signed-values": MarkovTask(length=4, context=10, values=(-1, 1)),
    "bias": MarkovTask(length=4, context=10, bias=True),
    "nearly-reducible": MarkovTask(length=5, context=20, prior=NEARLY_REDUCIBLE),
    "stationary": MarkovTask(length=5, context=20, initial=StationaryStart()),
    "regression": RegressionTask(5, 30),
}


def agrees(model, prompts):
    """Differences are compared with the largest label met, or with 1 if that is larger."""
    found = equivalence(model, prompts)
    return found.relative <= 1e-12 and found.largest < 1e3


@pytest.mark.parametrize("depth", [1, 2, 5, 12])
@pytest.mark.parametrize("name", TASKS)
def test_layers_are_the_recursion(name, depth):
    prompts = sample_prompts(TASKS[name], 12, seed=depth)
    model = random_model(TASKS[name].dimension, depth, 1, depth, largest_trace(prompts))
    assert agrees(model, prompts)
    assert np.abs(descend(model, prompts.gram).w[-1]).max() > 1e-3  # the iterates do move


@pytest.mark.parametrize("heads", [2, 3])
def test_several_heads_just_add(heads):
    prompts = sample_prompts(TASKS["d-4-n-100"], 12, seed=heads)
    assert agrees(random_model(5, 6, heads, heads, largest_trace(prompts)), prompts)


@pytest.mark.parametrize(("length", "depth", "bias"), [(2, 12, False), (5, 10, False), (9, 7, False), (4, 10, True)])
def test_prompts_from_real_sequences(length, depth, bias):
    data = from_sequences(WEATHER, "month", "date", "wet", length, bias=bias, context=2 if length == 9 else None)
    model = random_model(data.task.dimension, depth, 1, length, largest_trace(data.held_out))
    assert agrees(model, data.held_out)


numbers = st.floats(-3, 3, allow_nan=False, allow_infinity=False, width=32)


@given(st.data())
def test_no_counterexample(data):
    d, n = data.draw(st.integers(1, 8)), data.draw(st.one_of(st.integers(1, 6), st.just(200)))
    depth, heads = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["zeros", "ones", "states", "numbers", "one value"]))
    draw = {
        "zeros": lambda shape: np.zeros(shape),
        "ones": lambda shape: np.ones(shape),
        "states": lambda shape: rng.integers(0, 4, shape).astype(float),
        "numbers": lambda shape: rng.standard_normal(shape),
        "one value": lambda shape: np.full(shape, data.draw(numbers)),
    }[kind]
    context = draw((2, n, d + 1))
    context[:, 0] = data.draw(st.lists(numbers, min_size=d + 1, max_size=d + 1))
    query = np.array([data.draw(st.lists(numbers, min_size=d, max_size=d)), rng.integers(0, 2, d)], dtype=float)
    prompts = Prompts(context, query, np.zeros(2))
    size = data.draw(st.floats(0.1, 3))
    model = random_model(d + 1, depth, heads, data.draw(st.integers(0, 99)), largest_trace(prompts), size)
    found = equivalence(model, prompts)
    assert found.relative <= 1e-12 or found.largest > 1e3


def test_recursion_is_the_sum_over_chains():
    prompts = sample_prompts(MarkovTask(states=3, length=4, context=7), 3, seed=1)
    model = random_model(4, 4, 2, 0, largest_trace(prompts))
    path = descend(model, prompts.gram)
    b, A = model.b.detach().numpy(), model.A.detach().numpy()
    for p in range(3):
        w = np.zeros(3)
        for layer in range(4):
            np.testing.assert_allclose(path.w[layer, p], w, atol=1e-14)
            move = np.zeros(3)
            for x_y in prompts.context[p]:
                x, r = x_y[:-1], x_y[-1] - w @ x_y[:-1]
                np.testing.assert_allclose(
                    path.residuals(prompts.context)[layer, p, (prompts.context[p] == x_y).all(1)], r, atol=1e-14
                )
                for head in range(2):
                    s = b[layer, head, :-1] @ x + b[layer, head, -1] * r
                    move += (A[layer, head, :-1].T @ x * s + A[layer, head, -1] * s * r) / 7
            w = w + move
        np.testing.assert_allclose(path.predictions(prompts.query)[-1, p], w @ prompts.query[p], atol=1e-14)


def test_the_sign_of_the_readout():
    """The bottom-right entry is minus the prediction: without the minus, as printed, the answer has the wrong sign."""
    prompts = sample_prompts(TASKS["d-4-n-100"], 5)
    model = random_model(5, 3, 1, 0, largest_trace(prompts))
    path = descend(model, prompts.gram)
    corner = model.layers(torch.from_numpy(prompts.matrix))[-1][:, -1, -1].detach().numpy()
    np.testing.assert_allclose(corner, -path.predictions(prompts.query)[-1], atol=1e-14)


def test_steps_are_directions_preconditioned():
    prompts = sample_prompts(TASKS["three-states"], 4)
    path = descend(random_model(6, 3, 2, 0, largest_trace(prompts)), prompts.gram)
    steps = np.einsum("lhjd,lhpd->lpj", path.preconditioners, path.directions)
    np.testing.assert_allclose(steps, np.diff(path.w, axis=0), atol=1e-15)
    np.testing.assert_array_equal(path.step(2).w, path.w[1])
    for layer in (0, 4):
        with pytest.raises(ValueError, match="layer from 1 to 3"):
            path.step(layer)


def test_residual_gram_is_the_gram_matrix_of_residuals():
    prompts = sample_prompts(TASKS["three-states"], 4)
    w = np.random.default_rng(0).standard_normal((4, 5))
    z = prompts.context.copy()
    z[:, :, -1] -= np.einsum("pj,pnj->pn", w, z[:, :, :-1])
    np.testing.assert_allclose(residual_gram(w, prompts.gram), z.swapaxes(1, 2) @ z / 40, atol=1e-13)


def test_float32_models_are_compared_in_float64():
    model = LinearSelfAttention(5, 10, 1, "restricted", scale=0.1)
    assert equivalence(model, sample_prompts(TASKS["d-4-n-100"], 8)).max_abs < 1e-12
    assert model.b.dtype == torch.float32


def test_what_is_not_a_restricted_model_is_refused():
    prompts = sample_prompts(MarkovTask(length=3), 2)
    with pytest.raises(ValueError, match="expected a restricted"):
        descend(LinearSelfAttention(3, 2, form="dense"), prompts.gram)
    with pytest.raises(ValueError, match="expected a restricted"):
        equivalence(LinearSelfAttention(3, 2, form="sparse"), prompts)
    with pytest.raises(ValueError, match="expected Gram matrices"):
        descend(LinearSelfAttention(4, 2, form="restricted"), prompts.gram)
    with pytest.raises(ValueError, match="expected b of shape"):
        RestrictedParameters(np.zeros((2, 1, 3)), np.zeros((2, 1, 3, 3)))
