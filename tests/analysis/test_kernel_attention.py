"""Attention maps on prompts with several kernels: the prompts, the measure, the command."""

import re

import numpy as np
import pytest
import torch

from markov_icl.analysis.kernel_attention import (
    chain_maps,
    contrast,
    grouped,
    kernel_attention,
    shares,
    similarity,
)
from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.checkpoint import save_checkpoint
from markov_icl.models.gram import EnlargedAttention
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.tasks.prompts import MarkovTask
from tests.interfaces.command_line import answer, run


@pytest.mark.parametrize("shuffled", [False, True])
def test_grouped_prompts_have_equal_groups_of_one_kernel_each(shuffled):
    task = MarkovTask(length=60, context=8)
    drawn = grouped(task, 4, 300, 0, shuffled)
    states, kernel = drawn.states, drawn.kernel
    assert states.shape == (300, 8, 60)
    assert all(np.bincount(row).tolist() == [2, 2, 2, 2] for row in kernel)
    assert (kernel[0] == np.repeat(range(4), 2)).all() != shuffled
    np.testing.assert_array_equal(drawn.columns, states)
    ones = states.mean(-1)  # chains of one kernel share their level, others are independent
    first, second = (np.array([ones[p][kernel[p] == g] for p in range(300)])[:, 0] for g in (0, 1))
    mates = np.array([ones[p][kernel[p] == 0] for p in range(300)])
    assert np.corrcoef(mates.T)[0, 1] > 0.8
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(300)
    for groups in (3, 0):
        with pytest.raises(ValueError, match="share equally"):
            grouped(task, groups, 2, 0, shuffled)


def test_columns_are_those_of_the_task():
    task = MarkovTask(states=3, length=4, context=6, values=(-1, "1/2", 2), bias=True)
    drawn = grouped(task, 3, 5, 1, shuffled=True)
    values = np.array([-1, 0.5, 2])[drawn.states]
    bias = np.ones((5, 6, 1))
    np.testing.assert_array_equal(drawn.columns, np.concatenate([values[..., :-1], bias, values[..., -1:]], axis=-1))


def test_similarity_is_one_minus_hamming():
    states = np.array([[[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]]])
    assert similarity(states)[0].tolist() == [[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]]


def test_contrast_sees_blocks_and_only_blocks():
    kernel = np.array([[0, 1, 0, 1, 0, 1]] * 3)
    same = (kernel[:, :, None] == kernel[:, None, :]).astype(float)
    alike = same + 0.01 * np.arange(6)
    flat, earlier = np.tril(np.ones((3, 6, 6))), np.tril(np.ones((6, 6), dtype=bool), -1)
    assert abs(contrast(shares(flat, earlier), kernel, alike).difference) < 1e-12
    blocks = contrast(shares(flat * (0.1 + same), earlier), kernel, alike)
    assert blocks.difference > 1
    assert blocks.correlation > 0.8


def test_a_planted_contrast_is_found():
    kernel = np.tile([0, 0, 1, 1], (3, 1))
    same = kernel[:, :, None] == kernel[:, None, :]
    share = shares(np.where(same, 2.0, 1.0), ~np.eye(4, dtype=bool))
    found = contrast(share, kernel, same.astype(float))
    assert found.difference == pytest.approx(0.75)  # a row takes 2, 1, 1: over their mean 3/2, 3/4, 3/4
    assert found.correlation == pytest.approx(1)
    assert found.error == pytest.approx(0)
    assert np.isnan(contrast(share, np.zeros((3, 4), dtype=int), same.astype(float)).difference)


def test_signed_weights_are_measured_by_their_size():
    share = shares(np.array([[[9.0, -1.0, 3.0]] * 3]), np.array([[False, True, True]] * 3))
    np.testing.assert_allclose(share, [[[np.nan, -0.5, 1.5]] * 3])


def test_the_sign_and_scale_of_a_linear_head_do_not_show():
    columns = grouped(MarkovTask(length=3, context=4), 2, 6, 1, shuffled=False).columns
    model = LinearSelfAttention(3, depth=2, heads=2, seed=5)
    before = chain_maps(model, columns)
    Z = torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(1))
    answer_before = model(Z)
    with torch.no_grad():
        model.Q[:, 0] *= -4
        model.P[:, 0] /= -4
    torch.testing.assert_close(model(Z), answer_before)
    for one, other in zip(before, chain_maps(model, columns), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert one.mean() > 0


def test_prompts_in_parts_give_the_maps_of_all_together():
    columns = grouped(MarkovTask(length=3, context=4), 2, 230, 1, shuffled=False).columns
    for model in (LinearSelfAttention(3, depth=2, heads=2, seed=5), SoftmaxAttention(3, depth=2, heads=2, seed=5)):
        Z = torch.nn.functional.pad(torch.from_numpy(columns.transpose(0, 2, 1)).float(), (0, 1))
        maps = [m[:, :, :-1, :-1].detach().double().mT for m in model.attention_maps(Z)]
        if model.kind == "lsa":
            maps = [m * m.mean((0, 2, 3), True).sign() / m.abs().mean((0, 2, 3), True) for m in maps]
        for one, other in zip(chain_maps(model, columns), maps, strict=True):
            np.testing.assert_allclose(one, other.mean(1), rtol=1e-5, atol=1e-6)


def test_refuses_what_has_no_maps():
    task = MarkovTask(length=3, context=4)
    with pytest.raises(ValueError, match="expected a model with attention maps: lsa, softmax or gpt2; got enlarged"):
        kernel_attention(EnlargedAttention(3), task, 2, 10)
    with pytest.raises(ValueError, match="at least 2 context chains"):
        kernel_attention(LinearSelfAttention(3), MarkovTask(length=3, context=1), 1, 10)
    with pytest.raises(ValueError, match="at least 2 prompts"):
        kernel_attention(LinearSelfAttention(3), task, 2, 1)


@pytest.mark.parametrize("kind", [LinearSelfAttention, SoftmaxAttention])
def test_refuses_a_model_that_diverged(kind, capsys, tmp_path):
    broken = kind(3, depth=2)
    with torch.no_grad():
        broken.Q.fill_(float("nan"))
    save_checkpoint(tmp_path / "broken.safetensors", broken)
    options = ("--model", tmp_path / "broken.safetensors", "--length", 3, "--context", 4)
    code, out, err = run(capsys, "attention", *options, "--plot", tmp_path / "maps.png")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "markov-icl: error: expected finite attention maps; got nan or infinity (did the training diverge?)"
    ]
    assert not (tmp_path / "maps.png").exists()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, SoftmaxAttention(4, depth=2, heads=2, seed=3), MarkovTask(length=4, context=6))
    return path


def test_the_command_says_what_the_function_finds(capsys, model, tmp_path):
    task = ("--length", "4", "--context", "6")
    said = answer(capsys, "attention", "--model", model, *task, "--kernels", 3, "--prompts", 30, "--seed", 2)
    found = kernel_attention(SoftmaxAttention(4, depth=2, heads=2, seed=3), MarkovTask(length=4, context=6), 3, 30, 2)
    np.testing.assert_allclose(said["similarity"], found.alike.mean(0))
    for row, one in zip(said["layers"], found.contrasts, strict=True):
        assert (row["difference"], row["difference_se"], row["correlation"]) == pytest.approx(
            (one.difference, one.error, one.correlation)
        )
        assert all(row["map"][k][k] is None for k in range(6))
    picture = tmp_path / "maps.svg"
    code, out, err = run(capsys, "attention", "--model", model, *task, "--prompts", 9, "--shuffled", "--plot", picture)
    assert (code, err) == (0, "")
    assert "2 kernels in random order" in out
    assert "standard error over prompts" in out
    assert "<svg" in picture.read_text()
    for kernels in (1, 6):  # all chains share one, or no two do: nothing to compare
        options = ("--kernels", kernels, "--plot", picture)
        code, out, err = run(capsys, "attention", "--model", model, *task, *options)
        assert (code, err) == (0, "")
        assert re.findall(r"^ +[12] +- +[-0-9.]+ *$", out, re.MULTILINE) != []
        said = answer(capsys, "attention", "--model", model, *task, *options)
        assert {row["difference"] for row in said["layers"]} == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--length", 5, "--context", 6), "the model's 4 rows; got one with 5"),
        (("--length", 4, "--context", 7), "share equally; got 7"),
        (("--regression", 3), "expected chains, which come from kernels; got a regression task"),
        (("--length", 4, "--context", 6, "--prompts", 1_000_000, "--memory", 1), "within 1 GB"),
        (("--length", 4, "--context", 6, "--kernels", 0), "greater than or equal to 1"),
        (("--length", 4, "--context", 6, "--plot", "maps.txt"), "expected"),
    ],
)
def test_the_command_refuses(capsys, model, options, message):
    code, out, err = run(capsys, "attention", "--model", model, *options)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_the_command_refuses_what_is_no_model(capsys, tmp_path):
    for content in (None, b"", b"x" * 100):
        path = tmp_path / "other.safetensors"
        if content is not None:
            path.write_bytes(content)
        code, _, err = run(capsys, "attention", "--model", path, "--length", 4, "--context", 6)
        assert code == 2
        assert "expected a model" in err
