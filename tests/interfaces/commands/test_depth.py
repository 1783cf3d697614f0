"""The command `layers` as a user meets it."""

import numpy as np
import pytest
import torch

from markov_icl.depth.profile import FRONTS
from markov_icl.models.checkpoint import save_checkpoint
from markov_icl.models.lsa import LinearSelfAttention
from tests.interfaces.command_line import answer, run

SMALL = ["layers", "--length", 3, "--context", 10, "--prompts", 60, "--fronts", 2]
TRAIN = ["--depth", 3, "--steps", 4, "--batch", 20]


def saved(folder, form, depth=4, heads=1, dimension=3):
    path = folder / f"{form}.safetensors"
    save_checkpoint(path, LinearSelfAttention(dimension, depth, heads, form, scale=0.1, dtype=torch.float64))
    return path


def test_trains_and_says_one_row_a_layer(capsys):
    result = answer(capsys, *SMALL, *TRAIN)
    assert [row["layer"] for row in result["layers"]] == [0, 1, 2, 3]
    assert result["equivalence_max_abs"] < 1e-12
    assert len(result["training"]["losses"]) == 4
    assert result["bayes"]["accuracy"] > 0.5
    for row in result["layers"]:
        assert len(row["R1"]) == len(row["R2"]) == 3
        assert set(row["generational_distance"]) == set(FRONTS)
        assert {"mean", "veldhuizen"} <= set(row["generational_distance"]["R1"])
        assert 0 <= row["accuracy"] <= 1
    assert abs(sum(result["layers"][2]["R1_share"]) + sum(result["layers"][2]["R2_share"]) - 1) < 1e-9
    assert set(result["fronts"]["conventions"]) == {"mean", "veldhuizen"}
    assert "R1_1" in result["fronts"]["unbounded_without_box"]
    assert result["fronts"]["box"] == 2


def test_the_same_seed_gives_the_same_answer(capsys):
    assert answer(capsys, *SMALL, *TRAIN) == answer(capsys, *SMALL, *TRAIN)


def test_talks_to_people_and_draws(capsys, tmp_path):
    target = tmp_path / "layers.png"
    code, out, err = run(capsys, *SMALL, *TRAIN, "--starts", 2, "--heads", 2, "--plot", target)
    assert (code, err) == (0, "")
    assert "Bayes" in out
    assert "R2_3" in out
    assert "unbounded below without that box" in out
    assert target.stat().st_size > 10_000


@pytest.mark.parametrize("front", ["sampled", "nsga2"])
def test_a_saved_model(capsys, tmp_path, front):
    result = answer(capsys, *SMALL, "--model", saved(tmp_path, "restricted"), "--front", front, "--fronts", 1)
    assert len(result["layers"]) == 5
    assert result["training"] is None
    assert result["fronts"]["method"] == front
    assert result["layers"][0]["loss"] > 0


def test_a_dense_model_is_split(capsys, tmp_path):
    path, target = saved(tmp_path, "dense"), tmp_path / "dense.svg"
    result = answer(capsys, *SMALL, "--model", path, "--plot", target)
    assert [row["layer"] for row in result["layers"]] == [1, 2, 3, 4]
    for row in result["layers"]:
        np.testing.assert_allclose(
            row["share"], (row["label"] + row["features"]) / (row["restricted"] + row["label"] + row["features"])
        )
    assert target.stat().st_size > 5_000
    code, out, _ = run(capsys, *SMALL, "--model", path)
    assert code == 0
    assert "remainder" in out


def test_regression_has_no_accuracy(capsys):
    result = answer(capsys, "layers", "--regression", 2, "--prompts", 40, "--fronts", 1, *TRAIN)
    assert result["bayes"] is None
    assert result["layers"][0]["accuracy"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", 0], "expected --rate"),
        (["--box", "nan"], "expected --box"),
        (["--front", "exact"], "sampled or nsga2"),
        (["--fronts", 100], "expected 1 to 60"),
        (["--model", "nothing.safetensors"], "expected a model file"),
        (["--plot", "layers.txt"], ".png"),
        (["--rate", 1e6, "--steps", 60], "finite"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    code, out, err = run(capsys, *SMALL, *TRAIN, *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("form", "dimension", "message"), [("sparse", 3, "expected a restricted"), ("restricted", 4, "dimension 3")]
)
def test_models_that_do_not_fit(capsys, tmp_path, form, dimension, message):
    code, _, err = run(capsys, *SMALL, "--model", saved(tmp_path, form, dimension=dimension))
    assert code == 2
    assert message in err
