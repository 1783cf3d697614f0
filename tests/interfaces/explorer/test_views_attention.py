"""The page Attention: the very model that its commands train, and the maps that they draw."""

import shlex

import numpy as np
import pytest

from markov_icl.experiments.figures.fig07 import GROUPS
from markov_icl.interfaces.explorer.pages import attention
from markov_icl.interfaces.explorer.pages.attention import KERNELS, PAGE
from tests.interfaces.command_line import answer
from tests.interfaces.explorer.looking import figure_of, look, read

SMALL = {"length": "4", "context": "8", "kernels": "2", "steps": "40", "layers": "2"}


def run_commands(capsys, texts):
    """Run both commands of the page; return what each answers."""
    lines = PAGE.command(read(PAGE, **texts)).splitlines()
    return [answer(capsys, *shlex.split(line)[1:]) for line in lines]


@pytest.mark.parametrize("texts", [{"model": "softmax"}, {"model": "lsa", "order": "in random order"}])
def test_it_shows_what_its_commands_do(texts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = look(PAGE, **SMALL, **texts)
    trained, found = run_commands(capsys, {**SMALL, **texts})
    loss = next(row for row in outcome.rows if row["what"] == "held-out loss")
    assert (loss["value"], loss["error"]) == (trained["loss"], trained["loss_se"])
    assert [p.name for p in outcome.pictures] == ["similarity", "layer-1", "layer-2", "contrast"]
    for layer in found["layers"]:
        cells = np.array(figure_of(outcome, f"layer-{layer['layer']}").data[0].z, dtype=float)
        np.testing.assert_allclose(cells, np.array(layer["map"], dtype=float), rtol=1e-6)
        row = next(r for r in outcome.rows if r["what"] == "same kernel minus others" and r["layer"] == layer["layer"])
        assert (row["value"], row["error"]) == pytest.approx((layer["difference"], layer["difference_se"]), rel=1e-6)
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_a_map_average_to_one():
    outcome = look(PAGE, **SMALL, average="one prompt")
    cells = np.array(figure_of(outcome, "layer-1").data[0].z, dtype=float)
    assert cells.shape == (8, 8)
    assert np.isnan(np.diag(cells)).all()
    np.testing.assert_allclose(np.nanmean(cells, axis=1), 1, atol=1e-5)
    shown = [row["value"] for row in outcome.rows if row["what"] == "attention" and row["layer"] == 1]
    np.testing.assert_allclose(shown, cells[np.isfinite(cells)])


def test_order_and_kernels_change_the_prompts_alone():
    texts = {**SMALL, "order": "in random order"}
    first, second = (look(PAGE, **{**texts, "kernels": k}) for k in ("1", "2"))
    assert first.rows[0] == second.rows[0]
    assert "contrast" not in [p.name for p in first.pictures]
    assert not figure_of(second, "layer-1").layout.shapes
    assert len(figure_of(look(PAGE, **SMALL), "layer-1").layout.shapes) == 2


def test_gpt2_looks_back_only(capsys, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    texts = {"model": "gpt2", "length": "3", "context": "8", "kernels": "2", "steps": "20"}
    outcome = look(PAGE, **texts)
    assert [p.name for p in outcome.pictures] == ["similarity", "layer-1", "layer-2", "layer-3", "contrast"]
    cells = np.array(figure_of(outcome, "layer-3").data[0].z, dtype=float)
    assert np.isnan(cells[np.triu_indices(8)]).all()
    assert np.isfinite(cells[np.tril_indices(8, -1)]).all()
    trained, found = run_commands(capsys, texts)
    assert outcome.rows[0]["value"] == trained["loss"]
    np.testing.assert_allclose(cells, np.array(found["layers"][2]["map"], dtype=float), rtol=1e-6)


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
        PAGE.refuse(read(PAGE, **texts))
    assert refusal.value.control == control


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(attention.Refused, match="markov-icl\\[hf\\]"):
        PAGE.refuse(read(PAGE, model="gpt2"))
    PAGE.refuse(read(PAGE, model="lsa"))


def test_kernels_are_those_of_figure_seven():
    assert tuple(map(int, KERNELS)) == GROUPS


def test_is_declared_slow():
    assert PAGE.slow(read(PAGE))
