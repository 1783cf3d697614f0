"""Training: the loop, its checkpoints, and what it says when something is wrong."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.bridge import to_point
from markov_icl.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from markov_icl.models.gpt2 import GPT2Predictor
from markov_icl.models.gram import EnlargedAttention
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.models.scores import nearest_state, score
from markov_icl.models.training import Curriculum, Recipe, choose_device, train
from markov_icl.moments.compute import compute_moments
from markov_icl.recovery.search.fit import best
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, independent_start

TASK = MarkovTask(length=3, context=8)
PAPER = MarkovTask(length=2, context=30, initial=independent_start(["7/10", "3/10"], 2, 1))


def layers(form="dense", depth=1, task=TASK, **options):
    return LinearSelfAttention(task.dimension, depth, form=form, dtype=torch.float64, **options)


@pytest.mark.parametrize(
    "build",
    [
        lambda: layers(),
        lambda: layers("sparse"),
        lambda: layers("restricted", 2),
        lambda: layers("dense", 3),
        lambda: SoftmaxAttention(3, 1),
        lambda: EnlargedAttention(3),
        lambda: GPT2Predictor(3, "tiny", max_context=8),
    ],
    ids=["dense", "sparse", "restricted", "deep", "softmax", "enlarged", "gpt2"],
)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_model_learns(build, optimizer):
    model = build()
    large = model.kind == "gpt2"
    rate = {"adam": 0.01, "adamw": 0.01, "sgd": 0.1}[optimizer] * (0.1 if large else 1)
    batch, held_out = (20, 50) if large else (200, 500)
    result = train(model, TASK, optimizer, steps=40, batch=batch, rate=rate, held_out=held_out)
    assert result.losses.shape == (40,)
    assert result.losses[-10:].mean() < result.losses[:3].mean()
    assert result.final.step == 40
    assert 0 < result.final.accuracy <= 1
    assert result.prompts_per_second > 0
    assert not result.model.training


def test_the_same_seed_gives_the_same_run():
    runs = [train(layers(seed=3), TASK, steps=20, batch=50, seed=s, held_out=100) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)
    assert runs[0].final == runs[1].final
    assert (runs[0].losses != runs[2].losses).any()


def test_the_papers_figure_4_ends_at_the_certified_minimum():
    """Length 2, 30 context chains, p = 0.3, a training set of 10,000 prompts; sparse and dense end equal."""
    proof, moments = certify(PAPER), compute_moments(PAPER)
    assert proof.status == "certified"
    ends = []
    for form in ("dense", "sparse"):
        model = layers(form, task=PAPER)
        result = train(model, PAPER, steps=1500, batch=1000, rate=0.02, prompts=10_000, held_out=20_000)
        assert abs(result.final.loss - proof.upper) < 3 * result.final.loss_se
        ends.append(moments.loss(to_point(model)))
        assert proof.lower <= ends[-1] < proof.upper + 1e-3  # 3 parameters fitted to 10,000 prompts
    assert abs(ends[0] - ends[1]) < 2e-4


def test_length_three_ends_at_a_named_minimum():
    task = MarkovTask(length=3, context=10)
    model = layers("sparse", task=task, seed=1)
    train(model, task, steps=2000, batch=1000, rate=0.01, held_out=2)
    train(model, task, "sgd", steps=200, batch=5000, rate=0.02, held_out=2, seed=7)
    exact = compute_moments(task).loss(to_point(model))
    gaps = [exact - one.loss for one in best(task).minima]
    assert min(abs(g) for g in gaps) < 3e-4
    assert exact > best(task).loss - 1e-12


def test_resumed_runs_are_the_same_to_the_last_bit(tmp_path):
    def run(steps, path, resume):
        options = {"batch": 50, "held_out": 100, "evaluate_every": 10, "checkpoint": path, "checkpoint_every": 5}
        return train(layers("dense", 2), TASK, "adamw", steps=steps, resume=resume, **options)

    whole = run(30, tmp_path / "whole.safetensors", False)
    run(15, tmp_path / "parts.safetensors", False)
    parts = run(30, tmp_path / "parts.safetensors", True)
    np.testing.assert_array_equal(whole.losses, parts.losses)
    assert [e.loss for e in whole.evaluations if e.step in (10, 20, 30)] == [
        e.loss for e in parts.evaluations if e.step in (10, 20, 30)
    ]
    for mine, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    again = run(30, tmp_path / "parts.safetensors", True)  # nothing left to do
    np.testing.assert_array_equal(whole.losses, again.losses)


KILLED = """
import sys
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.models.training import train
from markov_icl.tasks.prompts import MarkovTask
result = train(LinearSelfAttention(3, 2), MarkovTask(length=3, context=8), steps=600, batch=300, held_out=100,
               checkpoint=sys.argv[1], checkpoint_every=1, resume=True)
result.losses.tofile(sys.argv[2])
"""


def test_a_killed_run_resumes_to_the_same_curve(tmp_path):
    def start(name):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.bin"]
        )

    assert start("whole").wait() == 0
    file = tmp_path / "killed.safetensors"
    kills = 0
    for _ in range(2):
        child = start("killed")
        while not file.exists() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(0.15)
        child.send_signal(signal.SIGKILL)
        kills += child.wait() == -signal.SIGKILL
        load_checkpoint(file)  # whole at any moment
    assert kills > 0
    assert start("killed").wait() == 0
    assert (tmp_path / "killed.bin").read_bytes() == (tmp_path / "whole.bin").read_bytes()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") and p.suffix != ".safetensors"]


def test_prompts_of_a_fixed_training_set_come_once_an_epoch():
    from markov_icl.models.batches import Source

    source = Source(layers(), TASK, 10, 0, torch.device("cpu"), prompts=35)
    epoch = [source.draw(step) for step in range(3)]
    seen = torch.cat([batch.gram.reshape(10, -1) for batch in epoch])
    stored = source.fixed.gram.reshape(35, -1)
    assert all((stored == row).all(1).any() for row in seen)
    again = [source.draw(step) for step in range(3, 6)]
    assert not torch.equal(epoch[0].gram, again[0].gram)
    assert torch.equal(source.draw(1).gram, epoch[1].gram)


def test_curriculum_grows_to_the_tasks_context():
    plan = Curriculum(start=2, by=3, every=10)
    assert [plan.context(step, 8) for step in (0, 9, 10, 19, 20, 1000)] == [2, 2, 5, 5, 8, 8]
    model = GPT2Predictor(3, "tiny", max_context=8)
    result = train(model, TASK, steps=6, batch=4, rate=1e-3, curriculum=Curriculum(2, 3, 2), held_out=10)
    assert np.isfinite(result.losses).all()


def test_scores():
    task = MarkovTask(states=3, length=3, values=(-1, 3, 1))
    np.testing.assert_array_equal(nearest_state(task, np.array([-9.0, -0.1, 0.1, 1.9, 2.1])), [0, 0, 2, 2, 1])
    one = score(task, np.array([-1.0, 3.0, 1.0, 1.0]), np.array([-1.0, 3.0, 1.0, 3.0]))
    assert (one.loss, one.accuracy) == (1.0, 0.75)
    assert score(RegressionTask(2), np.zeros(2), np.ones(2)).accuracy is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(layers(), TASK, "newton"), "optimizer to be one of adam, adamw, sgd; got 'newton'"),
        (lambda: train(layers(), MarkovTask(length=5)), "dimension 5 for this task; got one of dimension 3"),
        (lambda: train(layers(), TASK, rate=0.0), "positive learning rate"),
        (lambda: train(layers(), TASK, rate=float("nan")), "positive learning rate"),
        (lambda: train(layers(), TASK, steps=0), "steps >= 1"),
        (lambda: train(layers(), TASK, batch=0), "batch >= 1"),
        (lambda: train(layers(), TASK, prompts=5), "at least one batch of 1000; got 5"),
        (lambda: train(layers(), TASK, prompts=5000, curriculum=Curriculum(2)), "fresh prompts with a curriculum"),
        (lambda: train(layers(), TASK, device="tpu"), "device auto, cpu, cuda"),
        (lambda: Curriculum(0), "curriculum start"),
        (lambda: Recipe(held_out=1), "held_out >= 2"),
        (lambda: train(layers(), TASK, "sgd", rate=1e9, steps=50, batch=10), "finite loss; got .* at step .*1e"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present, so asking for one is no error")
def test_no_gpu_is_said():
    with pytest.raises(ValueError, match="expected a CUDA GPU for device cuda; found none"):
        choose_device("cuda")


def test_checkpoints_of_other_runs_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(layers(), TASK, steps=2, batch=5, held_out=2, checkpoint=path)
    with pytest.raises(ValueError, match="which exists"):
        train(layers(), TASK, steps=2, batch=5, held_out=2, checkpoint=path)
    cases = {
        "same task": lambda: train(layers(), MarkovTask(length=3, context=9), steps=2, batch=5, held_out=2, **on),
        "of the model lsa": lambda: train(layers(depth=2), TASK, steps=2, batch=5, held_out=2, **on),
        "batch = 6; got one with 5": lambda: train(layers(), TASK, steps=2, batch=6, held_out=2, **on),
        "at least the 2 steps": lambda: train(layers(), TASK, steps=1, batch=5, held_out=2, **on),
    }
    on = {"checkpoint": path, "resume": True}
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()
    save_checkpoint(tmp_path / "bare.safetensors", layers(), TASK)
    with pytest.raises(ValueError, match="with its recipe"):
        train(layers(), TASK, steps=2, batch=5, held_out=2, checkpoint=tmp_path / "bare.safetensors", resume=True)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, layers("sparse"), TASK)
    assert torch.equal(load_model(path).b, layers("sparse").b)
    data = path.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-8])
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "huge.safetensors").write_bytes(data.replace(b'\\"dimension\\": 3', b'\\"dimension\\": 9'))
    (tmp_path / "kind.safetensors").write_bytes(data.replace(b'\\"lsa\\"', b'\\"lxa\\"'))
    (tmp_path / "version.safetensors").write_bytes(data.replace(b'\\"version\\": 1', b'\\"version\\": 7'))
    for name in ("cut", "noise", "empty", "huge", "kind", "version", "missing"):
        with pytest.raises(ValueError, match="expected"):
            load_checkpoint(tmp_path / f"{name}.safetensors")


def test_a_model_of_each_kind_survives_the_disk(tmp_path):
    prompts = torch.rand(4, 3, 9, generator=torch.Generator().manual_seed(0))
    prompts[:, -1, -1] = 0
    for model in (
        layers("restricted", 3, heads=2).float(),
        SoftmaxAttention(3, 2),
        EnlargedAttention(3),
        GPT2Predictor(3, "tiny", max_context=8),
    ):
        path = tmp_path / f"{model.kind}.safetensors"
        save_checkpoint(path, model, TASK)
        found = load_checkpoint(path)
        assert found.task == TASK
        assert torch.equal(found.model(prompts), model.eval()(prompts))
