"""The commands reproduce, sweep and runs as a user meets them."""

import json
import shutil
import sys

import polars
import pytest
import torch

from markov_icl.experiments import registry as figures
from markov_icl.experiments.runs.spec import Code
from markov_icl.experiments.runs.store import Store
from tests.experiments.figures.small_figures import shrink
from tests.interfaces.command_line import answer, run

SWEEP = {
    "task": {"length": 3, "context": 5},
    "training": {"steps": 5, "batch": 20, "held_out": 20},
    "grid": {"training.rate": [0.01, 0.1]},
    "seeds": 1,
    "prompts": 30,
}


@pytest.fixture
def swept(tmp_path, capsys):
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(SWEEP))
    result = answer(capsys, "sweep", file, "--store", tmp_path / "store", "--workers", 1)
    return tmp_path / "store", file, result


def test_a_sweep_is_run_once(swept, capsys):
    store, file, result = swept
    assert (result["runs"], result["computed"]) == (2, 2)
    again = answer(capsys, "sweep", file, "--store", store)
    assert again["computed"] == 0
    assert again["rows"] == result["rows"]
    code, out, err = run(capsys, "sweep", file, "--store", store)
    assert (code, err) == (0, "")
    assert "rate=0.1" in out
    assert "0 of 2 runs computed" in out


def test_a_store_of_another_version_opens_and_its_runs_are_computed_again(swept, capsys):
    """As after files have moved: the same names and rows, under keys that the present code does not give."""
    folder, file, result = swept
    store = Store(folder)
    kept = [(store.read(r.key), r.seconds) for r in store.records()]
    shutil.rmtree(folder)
    old = Store(folder)
    keys = [old.write(run.spec, Code("0.0.9", "0" * 64, 1), run.points, seconds) for run, seconds in kept]
    code, out, err = run(capsys, "runs", "list", "--store", folder)
    assert (code, keys[0][:10] in out) == (0, True)
    assert err == "markov-icl: note: 2 runs of another version of the code: reproduce and sweep compute them again\n"
    code, out, err = run(capsys, "sweep", file, "--store", folder, "--workers", 1)
    assert (code, "2 of 2 runs computed" in out) == (0, True)
    assert err.count("2 runs of another version of the code") == 1
    assert set(keys) < {r.key for r in Store(folder).records()}
    again = answer(capsys, "sweep", file, "--store", folder)
    assert (again["computed"], again["rows"]) == (0, result["rows"])


def test_runs_are_listed_shown_and_compared(swept, capsys):
    store, _, _ = swept
    runs = answer(capsys, "runs", "list", "--store", store)["runs"]
    first, second = (r["key"] for r in runs)
    shown = answer(capsys, "runs", "show", first[:9], "--store", store)
    assert shown["spec"]["training"]["rate"] == 0.01
    assert shown["environment"]["torch"]
    assert shown["times"]["seconds"] > 0
    assert {row["curve"] for row in shown["rows"]} == {"model", "Bayes", "constant"}
    compared = answer(capsys, "runs", "compare", first, second, "--store", store)
    assert compared["changes"] == {"part": ["rate=0.01", "rate=0.1"], "training.rate": ["0.01", "0.1"]}
    assert len(compared["rows"]) == len(shown["rows"])
    for command in (["list"], ["show", first], ["compare", first, second]):
        code, out, err = run(capsys, "runs", *command, "--store", store)
        assert (code, err) == (0, "")
        assert first[:10] in out
    assert answer(capsys, "runs", "list", "--experiment", "fig5", "--store", store)["runs"] == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_exported(swept, capsys, tmp_path, kind):
    store, _, result = swept
    out = tmp_path / f"rows.{kind}"
    assert run(capsys, "runs", "export", "--out", out, "--store", store)[0] == 0
    table = polars.read_csv(out) if kind == "csv" else polars.read_parquet(out)
    assert len(table) == len(result["rows"])
    assert table["value"].to_list() == [row["value"] for row in result["rows"]]
    assert table["run"].n_unique() == 2


def test_a_figure_is_reproduced_once(capsys, tmp_path):
    store, picture = tmp_path / "store", tmp_path / "slices.png"
    first = answer(capsys, "reproduce", "fig10", "--store", store, "--plot", picture)
    second = answer(capsys, "reproduce", "fig10", "--store", store)
    assert (first["runs_computed"], second["runs_computed"]) == (1, 0)
    assert first["rows"] == second["rows"]
    assert first["finding"]["verdict"] == "holds"
    assert picture.stat().st_size > 10_000
    kept = {path.name for path in (store / "figures" / "fig10-quick-5").iterdir()}
    assert kept == {"figure.png", "figure.svg", "rows.parquet", "finding.json"}
    assert not (store / "aside").exists()  # the second pictures were the same bytes
    code, out, err = run(capsys, "reproduce", "fig10", "--store", store)
    assert (code, err) == (0, "")
    assert "6 of 6" in out


def test_a_damaged_index_is_said_and_rebuilt(swept, capsys):
    store, _, _ = swept
    (store / "index.sqlite").write_bytes(b"x" * 5000)
    code, out, err = run(capsys, "runs", "list", "--store", store)
    assert code == 0
    assert "2 runs" in out
    assert err.startswith("markov-icl: note: index.sqlite was damaged")
    assert len(Store(store).records()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "fig9"], "expected a figure"),
        (["reproduce", "fig10", "--scale", "huge"], "quick or paper"),
        (["reproduce", "all", "--plot", "x.png"], "--plot beside one figure"),
        (["reproduce", "fig10", "--engine", "slurm"], "loky or ray"),
        (["reproduce", "fig10", "--address", "auto"], "beside engine ray"),
        (["reproduce", "fig4", "--device", "tpu"], "device auto, cpu, cuda"),
        (["claims", "Lemma 9"], "statements of the paper"),
        (["runs", "export"], "--out FILE or --to mlflow"),
        (["runs", "export", "--to", "wandb"], "--to mlflow"),
        (["runs", "export", "--to", "mlflow"], "--tracking-uri beside"),
        (["runs", "export", "--out", "x.csv", "--tracking-uri", "sqlite:///x.db"], "--tracking-uri beside"),
        (["sweep", "missing.yaml"], "expected a readable file"),
        (["runs", "list"], "none yet"),
        (["runs", "show", "abc"], "none yet"),
        (["runs", "export", "--out", "x.txt"], "ending in .csv"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("markov-icl: error: expected")
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_gpu_that_is_not_there_is_said(swept, capsys):
    store, file, _ = swept
    for command in (["reproduce", "fig4"], ["reproduce", "all"], ["sweep", file]):
        code, out, err = run(capsys, *command, "--device", "cuda", "--store", store)
        assert (code, out) == (2, "")
        assert err == "markov-icl: error: expected a CUDA GPU for device cuda; found none (use cpu or auto)\n"
    assert answer(capsys, "sweep", file, "--store", store, "--device", "auto")["computed"] == 0


def test_what_is_not_installed_is_left_out_of_all(capsys, tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(figures, "FIGURES", ("fig10", "hardness"))
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    code, out, err = run(capsys, "reproduce", "all", "--store", tmp_path / "store", "--workers", 1, "--json")
    assert code == 0
    assert "note: hardness is left out: expected pyscipopt" in err
    first, second = json.loads(out)["figures"]
    assert first["finding"]["verdict"] == "holds"
    assert "pip install 'markov-icl[global]'" in second["left_out"]
    code, _, err = run(capsys, "reproduce", "hardness", "--store", tmp_path / "store")
    assert code == 2
    assert "markov-icl[global]" in err


def test_claims_say_both_numbers(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    one, three = answer(capsys, "claims", "Lemma 3.1", "fig3")["claims"]
    assert (one["claim"], one["verdict"], one["above_ceiling"]) == ("Lemma 3.1", "holds where 0 < p < 1", [])
    assert three["verdict"] == "not run here"
    (mark,) = three["above_ceiling"]
    assert (mark["reported"], mark["source"]) == (0.98, "paper")
    assert mark["ceiling"] < 0.65
    code, out, err = run(capsys, "claims", "fig3", "fig10", "--store", tmp_path / "none")
    assert (code, err) == (0, "")
    assert "above the Bayes ceiling" in " ".join(out.split())
    assert "1 numbers above the Bayes ceiling" in out


def test_unknown_and_ambiguous_runs(swept, capsys):
    store, _, _ = swept
    for name in ("zzz", ""):
        code, _, err = run(capsys, "runs", "show", name, "--store", store)
        assert code == 2
        assert "the start of one run's name" in err


@pytest.mark.parametrize("where", ["file", "foreign"])
def test_something_else_in_the_place_of_the_store(capsys, tmp_path, where):
    folder = tmp_path / "place"
    if where == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "thesis.tex").write_text("mine")
    code, _, err = run(capsys, "reproduce", "fig10", "--store", folder)
    assert code == 2
    assert str(folder) in err
    assert (folder if where == "file" else folder / "thesis.tex").read_text() == "mine"
    assert where == "file" or len(list(folder.iterdir())) == 1
