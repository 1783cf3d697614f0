"""The same rows whoever computes them, and nothing lost when somebody dies."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from markov_icl.experiments.runs import engine as engine_module
from markov_icl.experiments.runs.engine import compute, run_all
from markov_icl.experiments.runs.points import parquet
from markov_icl.experiments.runs.store import Store
from markov_icl.experiments.runs.sweep import grid, sweep_from_file

SMALL = {
    "task": {"length": 3, "context": 5},
    "model": {"form": "sparse"},
    "training": {"steps": 20, "batch": 30, "held_out": 50, "evaluate_every": 10},
    "grid": {"model.depth": [1, 2]},
    "seeds": 2,
    "prompts": 40,
}


def rows_of(store, keys):
    return [(store.folder / "runs" / key / "rows.parquet").read_bytes() for key in keys]


def test_a_grid_is_every_combination_with_every_seed():
    specs = grid(SMALL)
    assert [(spec.part, spec.seed) for spec in specs] == [
        ("depth=1", 0),
        ("depth=1", 1),
        ("depth=2", 0),
        ("depth=2", 1),
    ]
    assert specs[2].model == {"kind": "lsa", "form": "sparse", "depth": 2}
    assert specs[0].task.length == 3
    assert len(grid({})) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grd": {}}, "got 'grd'"),
        ({"grid": {"model.depth": 3}}, "a list of values"),
        ({"grid": {"depth": [3]}}, "grid names such as"),
        ({"grid": {"model.depth": [1, 1]}}, "one twice"),
        ({"task": 3}, "expected task to be a mapping"),
        ({"task": {"lenght": 3}}, "lenght"),
        ({"seeds": 0}, "expected seeds"),
        ({"training": {"seed": 3}}, "without seed"),
    ],
)
def test_a_malformed_sweep_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        grid({**SMALL, **change})


def test_reads_a_file(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(SMALL))
    assert sweep_from_file(file) == grid(SMALL)
    with pytest.raises(ValueError, match="expected a mapping"):
        grid([1])


def test_rows_do_not_depend_on_workers_or_order(tmp_path):
    specs = grid(SMALL)
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    seen = []
    alone = run_all(specs, here, workers=1, progress=lambda *said: seen.append(said))
    shared = run_all(specs[::-1], there, workers=3)
    assert seen == [(k / 4, f"{k} of 4 runs") for k in range(5)]
    assert (alone.computed, shared.computed) == (4, 4)
    assert alone.keys == shared.keys[::-1]
    assert rows_of(here, alone.keys) == rows_of(there, alone.keys)
    assert rows_of(here, alone.keys)[0] == parquet(compute(specs[0]))
    assert run_all(specs, here).computed == 0


def test_a_run_that_fails_costs_only_itself(tmp_path):
    specs = [replace(spec, training={**spec.training, "rate": -1.0}) if k == 1 else spec
             for k, spec in enumerate(grid(SMALL))]  # fmt: skip
    store = Store(tmp_path / "store")
    with pytest.raises(ValueError, match=r"4 runs to finish; got 1 that failed.*depth=1 \(seed 1\).*positive learning"):
        run_all(specs, store, workers=1)
    assert len(store.records()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "slurm"}, "loky or ray"),
        ({"workers": 0}, "1 worker"),
        ({"address": "auto"}, "beside engine ray"),
    ],
)
def test_refuses_unfit_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_all(grid(SMALL), Store(tmp_path / "store"), **arguments)


@pytest.mark.slow
def test_a_killed_worker_loses_no_run(tmp_path):
    """The first worker that comes to one of the runs dies there; the flag is in the environment it inherits."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {os.getcwd()!r})
from tests.experiments.runs import dying
from markov_icl.experiments.runs import engine
from markov_icl.experiments.runs.store import Store
from markov_icl.experiments.runs.sweep import grid
from tests.experiments.runs.test_engine import SMALL
engine._work_in_child = dying.work
batch = engine.run_all(grid(SMALL), Store(Path({str(tmp_path / "store")!r})), workers=2)
print(batch.computed, len(set(batch.keys)))
"""
    flag = tmp_path / "die-once"
    flag.touch()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "DIE_ONCE": str(flag)}
    )
    assert done.stdout.split() == ["4", "4"], done.stderr
    assert not flag.exists()
    store, plain = Store(tmp_path / "store"), Store(tmp_path / "plain")
    keys = run_all(grid(SMALL), plain, workers=1).keys
    assert rows_of(store, keys) == rows_of(plain, keys)


def test_workers_that_always_die_end_the_sweep(tmp_path, monkeypatch):
    def dies(*_):
        raise engine_module._WorkerDied("killed")
        yield

    monkeypatch.setattr(engine_module, "_results", dies)
    with pytest.raises(ValueError, match="3 deaths without a finished run: killed"):
        run_all(grid(SMALL), Store(tmp_path / "store"))


@pytest.mark.slow
def test_killed_at_any_moment_and_taken_up_again(tmp_path):
    """kill -9 of the whole sweep at two moments, then to the end: the bytes are those of an undisturbed sweep."""
    document = {**SMALL, "seeds": 4, "training": {**SMALL["training"], "steps": 200}}
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(document))
    store = Store(tmp_path / "store")
    command = [sys.executable, "-m", "markov_icl", "sweep", file, "--store", store.folder, "--workers", "1"]
    counts = [0]
    for more in (1, 2):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and len(list(store.folder.glob("runs/[!.]*"))) < counts[-1] + more:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        counts.append(len(store.records()))
    assert counts == sorted(counts)
    batch = run_all(grid(document), store, workers=1)
    assert batch.computed == 8 - counts[-1]
    plain = Store(tmp_path / "plain")
    assert run_all(grid(document), plain, workers=1).keys == batch.keys
    assert rows_of(store, batch.keys) == rows_of(plain, batch.keys)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps({**SMALL, "training": {"steps": 100_000, "batch": 100}}))
    command = [sys.executable, "-m", "markov_icl", "sweep", file, "--store", tmp_path / "store", "--workers", "2"]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    try:
        workers = _within(120, lambda: children(parent.pid), lambda found: len(found) == 2)
        assert parent.poll() is None
        # Busy with a run: three seconds of work. Before its first run a worker has nothing of ours to watch anybody.
        _within(120, lambda: [cpu_seconds(pid) for pid in workers], lambda used: min(used) > 3)
    finally:
        parent.kill()
        parent.wait()
    assert not _within(60, lambda: {pid for pid in workers if alive(pid)}, lambda left: not left)


def _within(seconds, look, enough):
    """Look until it is enough or the time is over; return the last look."""
    end = time.monotonic() + seconds
    while not enough(found := look()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _stat(pid):
    """Return state, parent and clock ticks of a process, from what follows its name in brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[11]) + int(fields[12])


def alive(pid):
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def cpu_seconds(pid):
    return _stat(pid)[2] / os.sysconf("SC_CLK_TCK")


def children(pid):
    """Return the worker processes among a process's children."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if _stat(folder.name)[1] == pid and b"popen_loky" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path):
    document = {**SMALL, "seeds": 5, "training": {**SMALL["training"], "steps": 100}}
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(document))
    command = [sys.executable, "-m", "markov_icl", "sweep", file, "--store", tmp_path / "s", "--workers", "1", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(child.communicate(timeout=120)[0]) for child in both]
    assert [a["runs"] for a in answers] == [10, 10]
    assert sum(a["computed"] for a in answers) == 10
    assert answers[0]["rows"] == answers[1]["rows"]


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes(tmp_path):
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed (extra dist)")
    specs = grid({**SMALL, "seeds": 3})
    plain = Store(tmp_path / "plain")
    keys = run_all(specs, plain, workers=1).keys
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        store = Store(tmp_path / "store")
        batch = run_all(specs, store, workers=2, engine="ray", address=cluster.address)
        import ray

        assert len(ray.nodes()) == 2
        ray.shutdown()
    finally:
        cluster.shutdown()
    assert batch.computed == 6
    assert rows_of(store, keys) == rows_of(plain, keys)
