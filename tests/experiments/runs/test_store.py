"""Specs, rows and the store: names that mean something, folders that are whole, and what happens when they are not."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.experiments.runs import store as store_module
from markov_icl.experiments.runs.points import FinishedRun, Point, curves, parquet, points_of, series
from markov_icl.experiments.runs.spec import Spec, code_of, run_key, spec_from_dict
from markov_icl.experiments.runs.store import Store, default_store
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask

CODE = code_of("runs.sweep")
SPEC = Spec("train", "depth=1", MarkovTask(length=3), {"kind": "lsa"}, {"steps": 3, "rate": 0.1}, {"prompts": 7})
ROWS = (Point("model", "loss", 3.0, 0.1 + 0.2, 1e-3), Point("Bayes", "accuracy", 3.0, float("nan")))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_specs_survive_json():
    tasks = (MarkovTask(states=3), MarkovTask(initial=CorrelatedStart("3/10", (0, "1/7"))), RegressionTask(2))
    for task in tasks:
        spec = replace(SPEC, task=task)
        again = spec_from_dict(json.loads(spec.text))
        assert again == spec
        assert hash(again) == hash(spec)
        assert again.task == task


def test_a_key_follows_every_field_and_the_code():
    others = [
        replace(SPEC, **change)
        for change in (
            {"experiment": "fig9"},
            {"part": "b"},
            {"task": MarkovTask(length=4)},
            {"model": {}},
            {"training": {"rate": 0.1, "steps": 4}},
            {"settings": {}},
            {"seed": 1},
            {"scale": "paper"},
        )
    ]
    keys = {run_key(spec, CODE) for spec in (SPEC, *others)} | {run_key(SPEC, replace(CODE, digest="0"))}
    assert len(keys) == len(others) + 2
    reordered = replace(SPEC, training={"rate": 0.1, "steps": 3})
    assert run_key(reordered, CODE) == run_key(SPEC, CODE)


def test_the_code_is_what_a_module_imports():
    assert code_of("runs.sweep").digest != code_of("figures.gap").digest
    assert code_of("runs.sweep").files > 20
    with pytest.raises(ValueError, match="expected a module"):
        code_of("../features")


def test_a_run_on_a_gpu_says_which(store, monkeypatch):
    monkeypatch.setattr("markov_icl.environment.gpu", lambda: "Some GPU, 80 GiB")
    keys = [
        store.write(replace(SPEC, training={"steps": 3, "device": device}), CODE, ROWS, 0.5)
        for device in ("cpu", "cuda")
    ]
    assert [store.details(key)["environment"].get("gpu") for key in keys] == [None, "Some GPU, 80 GiB"]


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"scale": "huge"}, {"model": {"x": object()}}, {"training": {"r": float("nan")}}]
)
def test_refuses_specs_that_are_not_data(change):
    with pytest.raises(ValueError, match="expected"):
        replace(SPEC, **change)


numbers = st.floats(allow_nan=False) | st.just(float("nan"))
points = st.builds(Point, st.text(max_size=5), st.text(max_size=5), numbers, numbers, st.none() | numbers, st.none())


@given(st.lists(points, max_size=8))
def test_rows_survive_parquet_and_equal_rows_are_equal_bytes(rows):
    data = parquet(rows)
    assert str(points_of(data)) == str(tuple(rows))
    assert parquet(rows) == data


def test_series_line_up_seeds():
    runs = [
        FinishedRun(replace(SPEC, seed=seed), tuple(Point("a", "loss", x, seed + x) for x in xs))
        for seed, xs in ((0, (2.0, 1.0)), (3, (1.0, 2.0)))
    ]
    line = series(runs, "a", "loss")
    assert line.x.tolist() == [1, 2]
    assert line.values.tolist() == [[1, 2], [4, 5]]
    assert line.mean.tolist() == [2.5, 3.5]
    assert line.at(2.0).tolist() == [2, 5]
    assert curves(runs, "loss") == ("a",)
    for bad in (lambda: line.at(9.0), lambda: series(runs, "b", "loss")):
        with pytest.raises(ValueError, match="expected"):
            bad()


def test_keeps_a_run_and_reads_it_back(store):
    key = store.write(SPEC, CODE, ROWS, 1.5)
    assert store.finished(key)
    assert store.read(key).spec == SPEC
    assert str(store.read(key).points) == str(ROWS)
    assert store.details(key)["times"]["seconds"] == 1.5
    assert store.details(key)["environment"]["numpy"]
    (record,) = store.records()
    assert (record.key, record.part, record.points, record.seconds) == (key, "depth=1", 2, 1.5)
    assert Store(store.folder, read_only=True).records() == (record,)


def test_a_second_writing_changes_nothing(store):
    key = store.write(SPEC, CODE, ROWS, 1.5)
    before = (store.folder / "runs" / key / "times.json").read_bytes()
    store.write(SPEC, CODE, ROWS, 99.0)
    assert (store.folder / "runs" / key / "times.json").read_bytes() == before
    assert not list(store.folder.glob("runs/.new-*"))


@pytest.mark.parametrize("damage", ["rows.parquet", "spec.json", "run.json", "environment.json"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_broken_run_is_not_finished_and_is_set_aside_when_redone(store, damage, how):
    key = store.write(SPEC, CODE, ROWS, 1.5)
    file = store.folder / "runs" / key / damage
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if how == "cut" else b"{}" + content)
    assert not store.finished(key)
    with pytest.raises(ValueError, match="missing or damaged"):
        store.read(key)
    store.write(SPEC, CODE, ROWS, 1.5)
    assert store.finished(key)
    assert len(list((store.folder / "aside").glob("*/*"))) == 1
    assert "damaged" in store.notes[0]


@pytest.mark.parametrize("content", [None, b"", b"not a database, and long enough to look like one" * 99, "foreign"])
def test_the_index_is_rebuilt_from_the_folders(store, content):
    key = store.write(SPEC, CODE, ROWS, 1.5)
    index = store.folder / "index.sqlite"
    index.unlink()
    if content == "foreign":
        with sqlite3.connect(index) as database:
            database.execute("CREATE TABLE theirs (x)")
        database.close()
    elif content is not None:
        index.write_bytes(content)
    assert [record.key for record in store.records()] == [key]
    assert [record.key for record in store.records()] == [key]
    aside = list(store.folder.glob("aside/*/index.sqlite"))
    assert len(aside) == (content not in (None, b""))
    assert len(store.notes) == len(aside)


def test_a_damaged_page_of_the_index_is_noticed(store):
    for seed in range(60):
        store.write(replace(SPEC, seed=seed), CODE, ROWS, 1.5)
    index = store.folder / "index.sqlite"
    with sqlite3.connect(index) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)
    assert len(store.records()) == 60


def test_the_index_follows_the_folders(store):
    first, second = (store.write(replace(SPEC, seed=seed), CODE, ROWS, 1.0) for seed in (0, 1))
    shutil.rmtree(store.folder / "runs" / first)
    assert [record.key for record in store.records()] == [second]


@pytest.mark.parametrize("key", ["", "..", "../runs", "0" * 20])
def test_only_names_of_runs_are_looked_up(store, key):
    assert not store.finished(key)


@pytest.mark.parametrize("where", ["file", "foreign", "version", "marker"])
def test_refuses_what_is_not_a_store_and_leaves_it_alone(tmp_path, where):
    folder = tmp_path / "x"
    if where == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        text = {"foreign": "mine", "version": '{"version": 99}', "marker": "{"}[where]
        (folder / ("thesis.tex" if where == "foreign" else "markov-icl-store.json")).write_text(text)
    before = sorted((p.name, p.read_bytes()) for p in [folder, *folder.rglob("*")] if p.is_file())
    with pytest.raises(ValueError, match=r"^expected .*; got .*x"):
        Store(folder)
    assert sorted((p.name, p.read_bytes()) for p in [folder, *folder.rglob("*")] if p.is_file()) == before


def test_reading_needs_a_store(tmp_path):
    with pytest.raises(ValueError, match="none yet"):
        Store(tmp_path, read_only=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_said_and_costs_nothing(store, monkeypatch, code):
    kept = store.write(SPEC, CODE, ROWS, 1.5)

    def refuse(path, content):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(store_module, "_write", refuse)
    with pytest.raises(ValueError, match=os.strerror(code)):
        store.write(replace(SPEC, seed=1), CODE, ROWS, 1.5)
    with pytest.raises(ValueError, match=os.strerror(code)):
        store.publish("fig5-quick", {"figure.png": b"x"})
    assert store.finished(kept)
    assert [p.name for p in store.folder.glob("runs/*")] == [kept]
    assert not list(store.folder.glob("*/.new-*"))


def test_killed_while_writing_leaves_nothing_that_counts(store, tmp_path):
    """A process that dies between two files of a run."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom markov_icl.experiments.runs import store as s\n"
        "from tests.experiments.runs.test_store import SPEC, CODE, ROWS\nwrite, left = s._write, [3]\n"
        "def die(path, content):\n    left[0] -= 1\n"
        "    os.kill(os.getpid(), 9) if not left[0] else write(path, content)\n"
        "target = s.Store(Path(sys.argv[1]))\ns._write = die\ntarget.write(SPEC, CODE, ROWS, 1.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, store.folder])
    assert done.returncode == -9
    assert store.records() == ()
    (left,) = store.folder.glob("runs/.new-*")
    old = time.time() - 7200
    os.utime(left, (old, old))
    Store(store.folder)
    assert not left.exists()
    assert store.finished(store.write(SPEC, CODE, ROWS, 1.0))


def test_a_claim_is_held_once_and_ends_with_the_block(store):
    other = Store(store.folder)
    with store.claim("a") as mine, other.claim("a") as theirs, other.claim("b") as free:
        assert (mine, theirs, free) == (True, False, True)
    with other.claim("a") as theirs:
        assert theirs


def test_pictures_replace_the_ones_of_before(store):
    first = store.publish("fig5-quick", {"figure.png": b"1", "figure.svg": b"2"})
    store.publish("fig5-quick", {"figure.png": b"3"})
    assert [(p.name, p.read_bytes()) for p in first.iterdir()] == [("figure.png", b"3")]
    assert [p.name for p in (store.folder / "figures").iterdir()] == ["fig5-quick"]
    assert len(list(store.folder.glob("aside/fig5-quick-*/fig5-quick/figure.svg"))) == 1


def test_figures_are_read_by_the_names_that_the_store_lists(store):
    assert store.figures() == ()
    files = {"finding.json": b"{}", "figure.png": b"1"}
    for name in ("fig5-quick-5", "fig10-quick-5"):
        store.publish(name, files)
    (store.folder / "figures" / "half").mkdir()
    assert store.figures() == ("fig10-quick-5", "fig5-quick-5")
    assert store.read_figure("fig5-quick-5") == files
    for name in ("half", "fig7-quick-5", "../runs", ""):
        with pytest.raises(ValueError, match="expected a figure of the store; got"):
            store.read_figure(name)


def test_the_usual_place(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store() == tmp_path / "markov-icl" / "store"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_store().parts[-4:] == (".local", "share", "markov-icl", "store")
