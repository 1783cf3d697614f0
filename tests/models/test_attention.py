import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from markov_icl.choices import FORMS
from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.lsa import LinearSelfAttention
from tests.models.test_lsa import SHAPES, literal_states, random_prompts


@given(form=st.sampled_from(FORMS), depth=st.integers(1, 3), seed=st.integers(0, 99), **SHAPES)
def test_layers_are_the_definition(form, depth, seed, dimension, heads, context):
    model = SoftmaxAttention(dimension, depth, heads, form, scale=0.5, seed=seed, dtype=torch.float64)
    Z = random_prompts(dimension, context, seed=seed)
    literal = literal_states(model, Z, softmax)
    for state, expected in zip(model.layers(torch.from_numpy(Z)), literal, strict=True):
        np.testing.assert_allclose(state.detach().numpy(), expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())
    prediction = model(torch.from_numpy(Z)).detach().numpy()
    np.testing.assert_array_equal(np.sign(prediction), np.sign(model.readout * literal[-1][:, -1, -1]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context", [1, 5])
def test_weights_are_a_law_on_the_context(form, context):
    model = SoftmaxAttention(3, 2, 2, form, scale=30.0, dtype=torch.float64)
    for weights in model.attention_maps(torch.from_numpy(random_prompts(3, context))):
        assert not weights[:, :, -1].any()
        torch.testing.assert_close(weights.sum(-2), torch.ones_like(weights[:, :, 0]), rtol=1e-12, atol=0)
        assert bool((weights >= 0).all())


def test_order_of_the_context_does_not_matter():
    model = SoftmaxAttention(3, 3, 2, dtype=torch.float64)
    Z = torch.from_numpy(random_prompts(3, 6))
    torch.testing.assert_close(model(Z[:, :, [3, 1, 5, 0, 2, 4, 6]]), model(Z), rtol=1e-12, atol=1e-12)


def test_same_interface_as_linear_attention():
    model, linear = SoftmaxAttention(4, 2, 3, "sparse", seed=2), LinearSelfAttention(4, 2, 3, "sparse", seed=2)
    assert (model.kind, linear.kind) == ("softmax", "lsa")
    assert model.config == linear.config
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in linear.state_dict().items()}
    model(torch.zeros(2, 4, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match="with n >= 1"):
        model(torch.zeros(2, 4, 1))
