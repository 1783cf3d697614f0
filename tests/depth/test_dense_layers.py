import numpy as np
import pytest
import torch

from markov_icl.depth.dense_layers import remainder
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts

TASK = MarkovTask(states=3, length=4, context=9)
PROMPTS = sample_prompts(TASK, 8, seed=1)


def literal_parts(model, Z):
    """Energies of the three parts of every layer's update, in token space."""
    rows = []
    P, Q = model.projections()
    for state, p, q in zip(model.layers(Z)[:-1], P, Q, strict=True):
        masks = []
        for last_row, columns in ((True, slice(0, 3)), (True, slice(3, 4)), (False, slice(0, 4))):
            p_part, q_part = torch.zeros_like(p), torch.zeros_like(q)
            row = slice(3, 4) if last_row else slice(0, 3)
            p_part[:, row] = p[:, row]
            q_part[:, :, columns] = q[:, :, columns]
            update = (p_part @ (state[:, None] @ model.weights(state, q_part))).sum(1)
            masks.append(float((update[:, :, :-1] ** 2).sum((1, 2)).mean()) / 9)
        rows.append(masks)
    return np.array(rows).T


@pytest.mark.parametrize("heads", [1, 2])
def test_parts_are_those_of_token_space(heads):
    model = LinearSelfAttention(4, 3, heads, "dense", scale=0.15, dtype=torch.float64).requires_grad_(False)
    found = remainder(model, PROMPTS.gram, PROMPTS.query)
    parts = literal_parts(model, torch.from_numpy(PROMPTS.matrix))
    np.testing.assert_allclose([found.restricted, found.label, found.features], parts, rtol=1e-10, atol=1e-18)
    np.testing.assert_allclose(found.share, (parts[1] + parts[2]) / parts.sum(0), rtol=1e-10)


def test_effect_is_the_change_of_the_prediction():
    model = LinearSelfAttention(4, 3, 2, "dense", scale=0.15, dtype=torch.float64).requires_grad_(False)
    Z = torch.from_numpy(PROMPTS.matrix)
    full = model(Z).numpy()
    found = remainder(model, PROMPTS.gram, PROMPTS.query)

    def without(layers):
        other = LinearSelfAttention(4, 3, 2, "dense", dtype=torch.float64).requires_grad_(False)
        other.load_state_dict(model.state_dict())
        for layer in layers:
            other.P[layer, :, :3] = 0
            other.Q[layer, :, :, 3] = 0
        return np.sqrt(((other(Z).numpy() - full) ** 2).mean() / (full**2).mean())

    np.testing.assert_allclose(found.effect, [without([k]) for k in range(3)], rtol=1e-9)
    np.testing.assert_allclose(found.effect_all, without(range(3)), rtol=1e-9)


@pytest.mark.parametrize("form", ["restricted", "sparse"])
def test_restricted_layers_leave_nothing(form):
    model = LinearSelfAttention(4, 3, 2, form, dtype=torch.float64)
    found = remainder(model, PROMPTS.gram, PROMPTS.query)
    assert (found.share == 0).all()
    assert (found.effect == 0).all()
    assert found.effect_all == 0
    assert (found.restricted > 0).all()


def test_the_remainder_of_a_single_layer_is_never_read():
    model = LinearSelfAttention(4, 1, 1, "dense", dtype=torch.float64)
    found = remainder(model, PROMPTS.gram, PROMPTS.query)
    assert found.share[0] > 0
    assert found.effect_all < 1e-14


def test_still_layers_have_no_share():
    found = remainder(LinearSelfAttention(4, 2, scale=0.0), PROMPTS.gram, PROMPTS.query)
    assert (found.share == 0).all()
    assert found.effect_all == 0


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="expected Gram matrices"):
        remainder(LinearSelfAttention(5, 2), PROMPTS.gram, PROMPTS.query)
    with pytest.raises(ValueError, match="expected linear self-attention"):
        remainder(torch.nn.Linear(2, 2), PROMPTS.gram, PROMPTS.query)
