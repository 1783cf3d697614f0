"""Runs and figures in a local MLflow store."""

import pytest

from markov_icl.experiments.runs.engine import run_all
from markov_icl.experiments.runs.points import Point
from markov_icl.experiments.runs.store import Store
from markov_icl.experiments.runs.sweep import grid
from markov_icl.experiments.runs.tracking import _metrics, export_to_mlflow, metric_names
from tests.interfaces.command_line import answer, run

SWEEP = {
    "task": {"length": 3, "context": 5},
    "training": {"steps": 4, "batch": 20, "held_out": 20, "evaluate_every": 2},
    "seeds": 2,
    "prompts": 30,
}


@pytest.fixture
def mlflow():
    reason = "mlflow is not installed (extra track)"
    for name in ("sqlalchemy", "alembic"):
        pytest.importorskip(name, reason=reason)
    return pytest.importorskip("mlflow", reason=reason)


@pytest.fixture
def kept(tmp_path):
    store = Store(tmp_path / "store")
    return store, run_all(grid(SWEEP), store, workers=1)


def test_a_run_is_written_once_with_all_that_it_says(mlflow, kept, tmp_path, capsys):
    store, batch = kept
    answer(capsys, "reproduce", "fig10", "--store", store.folder, "--workers", 1)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    command = ["runs", "export", "--to", "mlflow", "--tracking-uri", uri, "--store", store.folder]
    code, out, err = run(capsys, *command)
    assert (code, err) == (0, "")
    assert out.startswith("4 runs and figures written, 0 already there")
    assert run(capsys, *command)[1].startswith("0 runs and figures written, 4 already there")
    client = mlflow.MlflowClient(tracking_uri=uri)
    places = {one.name: one.experiment_id for one in client.search_experiments() if one.name != "Default"}
    assert set(places) == {"markov-icl/train", "markov-icl/fig10", "markov-icl/figures"}
    found = {r.data.tags["markov_icl.key"]: r for r in client.search_runs([places["markov-icl/train"]])}
    assert set(found) == set(batch.keys)
    for key, outcome in zip(batch.keys, batch.outcomes, strict=True):
        one = found[key]
        assert one.info.status == "FINISHED"
        assert len(one.data.tags["markov_icl.spec"]) == 64
        assert one.data.params["training.steps"] == "4"
        assert one.data.params["seed"] == str(outcome.spec.seed)
        rows = {p.x: p.value for p in outcome.points if (p.curve, p.measure) == ("model", "loss on the way")}
        history = client.get_metric_history(one.info.run_id, "loss on the way/model")
        assert {m.step: m.value for m in history} == rows
        assert {f.path for f in client.list_artifacts(one.info.run_id)} >= {"rows.parquet", "spec.json"}
    (drawn,) = client.search_runs([places["markov-icl/figures"]])
    assert drawn.data.tags["markov_icl.verdict"] == "holds"
    kinds = {f.path for f in client.list_artifacts(drawn.info.run_id)}
    assert kinds == {"figure.png", "figure.svg", "rows.parquet", "finding.json"}
    assert (tmp_path / "mlartifacts").is_dir()


def test_what_was_left_half_is_done_again(mlflow, kept, tmp_path, monkeypatch):
    store, batch = kept
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifacts", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(ValueError, match=r"expected a tracking store at .*full"):
            export_to_mlflow(store, batch.keys, uri)
    done = export_to_mlflow(store, batch.keys, uri)
    assert (done.runs, done.known) == (2, 0)
    client = mlflow.MlflowClient(tracking_uri=uri)
    place = client.get_experiment_by_name("markov-icl/train").experiment_id
    assert [r.info.status for r in client.search_runs([place])] == ["FINISHED"] * 2


def test_metric_names_are_legal_and_different():
    names = metric_names([("a(1)", "loss"), ("a[1]", "loss"), ("Dirichlet(1/10)", "Bayes, accuracy"), ("", "..")])
    assert len(set(names.values())) == 4
    assert names["a(1)", "loss"] == "loss/a_1_"
    assert all(c.isalnum() or c in "_. -/" for name in names.values() for c in name)
    assert names["", ".."] == "_/_"


def test_steps_are_x_where_x_is_whole():
    rows = [Point("a", "loss", x, x / 10) for x in (5.0, 10.0)] + [Point("b", "loss", x, x) for x in (0.5, 1.0)]
    rows.append(Point("c", "map", 0.0, 1.0, None, 3.0))
    assert list(_metrics(rows)) == [("loss/a", 0.5, 5), ("loss/a", 1.0, 10), ("loss/b", 0.5, 0), ("loss/b", 1.0, 1)]


def test_without_the_extra_it_is_one_line(kept, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, out, err = run(
        capsys, "runs", "export", "--to", "mlflow", "--tracking-uri", "sqlite:///x.db", "--store", kept[0].folder
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "pip install 'markov-icl[track]'" in err
