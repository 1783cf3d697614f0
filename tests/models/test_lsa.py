from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.choices import FORMS
from markov_icl.models.lsa import LinearSelfAttention

SHAPES = {"dimension": st.integers(2, 5), "heads": st.integers(1, 3), "context": st.integers(1, 6)}


def random_prompts(dimension, context, prompts=3, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(prompts, dimension, context + 1))
    Z[:, -1, -1] = 0
    return Z


def literal_layer(Z, P, Q, weigh):
    """One layer of one prompt, an entry at a time; `weigh` turns a column's scores into its weights."""
    rows, columns = Z.shape
    n = columns - 1
    out = Z.copy()
    for head in range(len(P)):
        for k in range(columns):
            scores = np.zeros(n)
            for i in range(n):
                for a, b in product(range(rows), repeat=2):
                    scores[i] += Z[a, i] * Q[head, a, b] * Z[b, k]
            weights = weigh(scores)
            for r in range(rows):
                for i, c in product(range(n), range(rows)):
                    out[r, k] += P[head, r, c] * Z[c, i] * weights[i]
    return out


def literal_states(model, Z, weigh=lambda scores: scores / len(scores)):
    P, Q = (stack.detach().numpy() for stack in model.projections())
    states = [Z]
    for layer in range(model.depth):
        states.append(np.array([literal_layer(one, P[layer], Q[layer], weigh) for one in states[-1]]))
    return states


@given(form=st.sampled_from(FORMS), depth=st.integers(1, 3), seed=st.integers(0, 99), **SHAPES)
def test_layers_are_the_definition(form, depth, seed, dimension, heads, context):
    model = LinearSelfAttention(dimension, depth, heads, form, seed=seed, dtype=torch.float64)
    Z = random_prompts(dimension, context, seed=seed)
    mine = model.layers(torch.from_numpy(Z))
    for state, literal in zip(mine, literal_states(model, Z), strict=True):
        np.testing.assert_allclose(state.detach().numpy(), literal, rtol=1e-12, atol=1e-12 * np.abs(literal).max())


@pytest.mark.parametrize("form", FORMS)
def test_one_layer_is_bilinear_in_the_gram_matrix(form):
    model = LinearSelfAttention(4, heads=2, form=form, dtype=torch.float64)
    Z = random_prompts(4, 5)
    if form == "dense":
        b, A = model.P[0, :, -1].detach().numpy(), model.Q[0, :, :, :-1].detach().numpy()
    else:
        b, A = model.b[0].detach().numpy(), model.A[0].detach().numpy()
    G = Z[:, :, :-1] @ Z[:, :, :-1].transpose(0, 2, 1) / 5
    expected = sum(np.einsum("i,pik,kj,pj->p", bs, G, As, Z[:, :-1, -1]) for bs, As in zip(b, A, strict=True))
    np.testing.assert_allclose(model(torch.from_numpy(Z)).detach().numpy(), expected, rtol=1e-12)


def test_restricted_layers_hold_the_residuals_of_the_weight_they_predict_with():
    """The label row is `y_i - w.x_i`, the query's is `-w.x_{n+1}`: the prediction is minus the bottom-right entry."""
    model = LinearSelfAttention(4, 4, 2, "restricted", dtype=torch.float64)
    Z = random_prompts(4, 9)
    last = model.layers(torch.from_numpy(Z))[-1].detach().numpy()
    predictions = model(torch.from_numpy(Z)).detach().numpy()
    for before, after, prediction in zip(Z, last, predictions, strict=True):
        np.testing.assert_array_equal(after[:-1], before[:-1])
        moved = before[-1, :-1] - after[-1, :-1]
        w, *_ = np.linalg.lstsq(before[:-1, :-1].T, moved, rcond=None)
        np.testing.assert_allclose(before[:-1, :-1].T @ w, moved, atol=1e-12)
        np.testing.assert_allclose(prediction, w @ before[:-1, -1], rtol=1e-11)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context", [1, 4])
def test_the_query_is_hidden_from_every_column(form, context):
    model = LinearSelfAttention(3, 3, 2, form, dtype=torch.float64)
    Z = torch.from_numpy(random_prompts(3, context))
    other = Z.clone()
    other[:, :, -1] = torch.tensor([7.0, -3.0, 2.0])
    for state, changed in zip(model.layers(Z), model.layers(other), strict=True):
        assert torch.equal(state[:, :, :-1], changed[:, :, :-1])
    for weights in model.attention_maps(other):
        assert weights.shape == (3, 2, context + 1, context + 1)
        assert not weights[:, :, -1].any()


def test_config_builds_the_same_shapes_again():
    model = LinearSelfAttention(4, 2, 3, "sparse", seed=1)
    again = LinearSelfAttention(**model.config)
    again.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("changed", "expected"), [({"form": "full"}, "one of dense"), ({"depth": 0}, "depth >= 1")])
def test_constructor_refuses(changed, expected):
    with pytest.raises(ValueError, match=expected):
        LinearSelfAttention(**({"dimension": 3} | changed))


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 1), (3, 5), (1, 2, 3, 5)])
def test_forward_refuses_other_shapes(shape):
    model = LinearSelfAttention(3)
    for call in (model, model.layers, model.attention_maps):
        with pytest.raises(ValueError, match=r"expected prompt matrices \[B, 3, n\+1\] with n >= 1; got \["):
            call(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected prompt matrices in torch.float32; got torch.float64"):
        model(torch.zeros(2, 3, 4, dtype=torch.float64))
