"""The page Attention: contrasts as Fig. 7 measures them, and the very model that its command trains."""

import shlex

import numpy as np
import pytest

from markov_icl.experiments.fig07 import GROUPS, _contrast, grouped, similarity
from markov_icl.interfaces.explorer import attention
from markov_icl.interfaces.explorer.attention import KERNELS, VIEW
from markov_icl.interfaces.explorer.contrasts import contrast, shares
from markov_icl.tasks.prompts import MarkovTask
from tests.interfaces.commands import answer
from tests.interfaces.explorer.looking import figure_of, look, read

SMALL = {"length": "4", "context": "8", "kernels": "2", "steps": "40", "layers": "2"}


def test_it_measures_as_figure_seven_does():
    task = MarkovTask(length=5, context=8)
    states, kernel = grouped(task, 2, 30, 3, shuffled=True)
    alike = similarity(states)
    weights = np.tril(np.random.default_rng(0).random((30, 8, 8)) + alike)
    weights /= weights.sum(-1, keepdims=True)
    found = contrast(shares(weights, np.tril(np.ones((8, 8), dtype=bool), -1)), kernel, alike)
    points = {p.measure: p for p in _contrast("", 1.0, weights, kernel, alike)}
    likeness, difference = points["correlation with similarity"], points["within minus between"]
    assert found.correlation == pytest.approx(likeness.value, rel=1e-12)
    assert found.difference == pytest.approx(difference.value, rel=1e-12)
    assert found.error == pytest.approx(difference.error, rel=1e-12)


def test_a_planted_contrast_is_found():
    kernel = np.tile([0, 0, 1, 1], (3, 1))
    same = kernel[:, :, None] == kernel[:, None, :]
    weights = np.where(same, 2.0, 1.0)
    share = shares(weights, ~np.eye(4, dtype=bool))
    found = contrast(share, kernel, same.astype(float))
    assert found.difference == pytest.approx(0.75)  # a row takes 2, 1, 1: over their mean 3/2, 3/4, 3/4
    assert found.correlation == pytest.approx(1)
    assert found.error == pytest.approx(0)
    assert np.isnan(contrast(share, np.zeros((3, 4), dtype=int), same.astype(float)).difference)


def test_signed_weights_are_measured_by_their_size():
    share = shares(np.array([[[9.0, -1.0, 3.0]]]), np.array([[False, True, True]]))
    np.testing.assert_allclose(share, [[[np.nan, -0.5, 1.5]]])


@pytest.mark.parametrize("model", ["softmax", "lsa"])
def test_it_trains_the_model_of_its_command(model, capsys):
    outcome = look(VIEW, **SMALL, model=model)
    found = answer(capsys, *shlex.split(VIEW.command(read(VIEW, **SMALL, model=model)))[1:])
    loss = next(row for row in outcome.rows if row["what"] == "held-out loss")
    assert (loss["value"], loss["error"]) == (found["loss"], found["loss_se"])
    assert [p.name for p in outcome.pictures] == ["similarity", "layer-1", "layer-2", "contrast"]


def test_the_sign_and_scale_of_a_linear_head_do_not_show():
    import torch

    from markov_icl.models.lsa import LinearSelfAttention

    states, _ = grouped(MarkovTask(length=3, context=4), 2, 6, 1, shuffled=False)
    model = LinearSelfAttention(3, depth=2, heads=2, seed=5)
    before = attention._maps(model, states)
    Z = torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(1))
    answer_before = model(Z)
    with torch.no_grad():
        model.Q[:, 0] *= -4
        model.P[:, 0] /= -4
    torch.testing.assert_close(model(Z), answer_before)
    for one, other in zip(before, attention._maps(model, states), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert one.mean() > 0


def test_rows_of_a_map_average_to_one():
    outcome = look(VIEW, **SMALL, average="one prompt")
    cells = np.array(figure_of(outcome, "layer-1").data[0].z, dtype=float)
    assert cells.shape == (8, 8)
    assert np.isnan(np.diag(cells)).all()
    np.testing.assert_allclose(np.nanmean(cells, axis=1), 1, atol=1e-5)
    shown = [row["value"] for row in outcome.rows if row["what"] == "attention" and row["layer"] == 1]
    np.testing.assert_allclose(shown, cells[np.isfinite(cells)])


def test_order_and_kernels_change_the_prompts_alone():
    texts = {**SMALL, "order": "in random order"}
    first, second = (look(VIEW, **{**texts, "kernels": k}) for k in ("1", "2"))
    assert first.rows[0] == second.rows[0]
    assert "contrast" not in [p.name for p in first.pictures]
    assert not figure_of(second, "layer-1").layout.shapes
    assert len(figure_of(look(VIEW, **SMALL), "layer-1").layout.shapes) == 2


def test_gpt2_looks_back_only(capsys):
    pytest.importorskip("transformers")
    texts = {"model": "gpt2", "length": "3", "context": "8", "kernels": "2", "steps": "20"}
    outcome = look(VIEW, **texts)
    assert [p.name for p in outcome.pictures] == ["similarity", "layer-1", "layer-2", "layer-3", "contrast"]
    cells = np.array(figure_of(outcome, "layer-3").data[0].z, dtype=float)
    assert np.isnan(cells[np.triu_indices(8)]).all()
    assert np.isfinite(cells[np.tril_indices(8, -1)]).all()
    found = answer(capsys, *shlex.split(VIEW.command(read(VIEW, **texts)))[1:])
    assert outcome.rows[0]["value"] == found["loss"]


@pytest.mark.parametrize(
    ("texts", "control", "message"),
    [
        ({"context": "18", "kernels": "4"}, "context", "multiple of 4"),
        ({"context": "9", "kernels": "2"}, "context", "multiple of 2"),
        ({"model": "gpt2", "context": "32", "steps": "1000"}, "steps", "at most 312 steps"),
    ],
)
def test_refuses_beside_the_control(texts, control, message, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(attention.Refused, match=message) as refusal:
        VIEW.refuse(read(VIEW, **texts))
    assert refusal.value.control == control


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(attention.Refused, match="markov-icl\\[hf\\]"):
        VIEW.refuse(read(VIEW, model="gpt2"))
    VIEW.refuse(read(VIEW, model="lsa"))


def test_kernels_are_those_of_figure_seven():
    assert tuple(map(int, KERNELS)) == GROUPS


def test_is_declared_slow():
    assert VIEW.slow(read(VIEW))
