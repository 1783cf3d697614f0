"""The page Layers: the numbers of `markov-icl layers`, and a prompt whose label row is what Theorem 4.1 says."""

import shlex

import numpy as np
import pytest

from markov_icl.interfaces.explorer.pages.layers import PAGE
from tests.interfaces.command_line import answer
from tests.interfaces.explorer.looking import figure_of, look, read

SMALL = {"length": "3", "context": "5", "depth": "2", "steps": "50"}


@pytest.fixture(scope="module")
def small():
    return look(PAGE, **SMALL)


def test_its_numbers_are_those_of_its_command(small, capsys):
    name, *arguments = shlex.split(PAGE.command(read(PAGE, **SMALL)))
    assert name == "markov-icl"
    found = answer(capsys, *arguments)
    assert len(found["layers"]) == len(small.rows) == 3
    for row, layer in zip(small.rows, found["layers"], strict=True):
        for key in ("layer", "loss", "loss_se", "accuracy"):
            assert row[key] == layer[key]
        assert [row[f"R1_{k}"] for k in (1, 2, 3)] == layer["R1"]
        assert [row[f"R2_{k}"] for k in (1, 2, 3)] == layer["R2"]
        if row["layer"]:
            assert [row[f"R2_{k}_share"] for k in (1, 2, 3)] == layer["R2_share"]


def test_the_label_row_carries_the_residuals(small):
    cells, rows, numbers = figure_of(small, "prompt").data
    states, labels = (np.array(trace.z, dtype=float) for trace in (cells, rows))
    assert [float(text) for text in numbers.text] == list(states.ravel())
    assert states.shape == (2, 6)
    assert labels.shape == (3, 6)
    assert set(states.ravel()) <= {0.0, 1.0}
    w = np.array([[row["w_1"], row["w_2"]] for row in small.rows])
    np.testing.assert_allclose(labels[:, :-1], labels[0, :-1] - w @ states[:, :-1], atol=1e-12)
    np.testing.assert_allclose(labels[:, -1], -w @ states[:, -1], atol=1e-12)
    np.testing.assert_allclose([row["prediction"] for row in small.rows], -labels[:, -1], atol=1e-12)


def test_shares_add_up_to_one_step(small):
    shares = np.array(figure_of(small, "moved").data[0].z, dtype=float)
    assert shares.shape == (6, 2)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-9)


def test_another_prompt_changes_the_picture_and_not_the_scores(small):
    other = look(PAGE, **SMALL, prompt="2")
    assert [row["loss"] for row in other.rows] == [row["loss"] for row in small.rows]
    before, after = (figure_of(one, "prompt").data[0].z for one in (small, other))
    assert not np.array_equal(before, after)


def test_three_states():
    outcome = look(PAGE, states="3", length="2", context="3", depth="1", steps="50")
    assert set(np.ravel(figure_of(outcome, "prompt").data[0].z)) <= {0.0, 1.0, 2.0}
    assert "Bayes" in outcome.words


@pytest.mark.parametrize(
    ("name", "text"),
    [("length", "8"), ("length", "1"), ("context", "61"), ("depth", "11"), ("steps", "1e9"), ("states", "nan")],
)
def test_refuses_what_would_take_long(name, text):
    with pytest.raises(ValueError, match=r"expected .*; got"):
        read(PAGE, **{name: text})


def test_is_declared_slow():
    assert PAGE.slow(read(PAGE))
