"""The command line as a user meets it."""

import json
import subprocess
import sys
from fractions import Fraction as F
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from markov_icl.interfaces.report.report import write_report
from markov_icl.tasks.sampling import sample_prompts
from markov_icl.tasks.spec import TaskSpec
from tests.experiments.figures.small_figures import shrink
from tests.interfaces.command_line import answer, run

WEATHER = str(Path(__file__).parents[3] / "examples" / "seattle_weather.csv")
SEQUENCES = ["--sequences", WEATHER, "--group", "month", "--time", "date", "--state", "wet"]


def test_optimum_in_fractions(capsys):
    result = answer(capsys, "optimum", "--context", 1, "--method", "rational")
    assert result["loss_exact"] == "115/288"
    assert result["X_exact"] == ["1/3", "-1/6", "1/2"]
    assert result["residual"] == 0
    assert result["recoverable"] is False
    assert result["witness"]["kind"] == "definite"
    assert {"loss", "X", "condition", "method", "task"} <= set(result)


def test_optimum_in_floats(capsys):
    result = answer(capsys, "optimum", "--length", 11, "--context", 100)
    assert abs(result["loss"] - 0.1743223206) < 1e-10
    assert len(result["X"]) == 660
    assert result["method"] == "dense"


def test_optimum_that_parameters_reach(capsys):
    result = answer(capsys, "optimum", "--context", 10, "--initial", "bernoulli:1/2")
    assert result["recoverable"] is True
    b, A = np.array(result["b"]), np.array(result["A"])
    np.testing.assert_allclose([b[0] * A[0, 0], b[0] * A[1, 0] + b[1] * A[0, 0], b[1] * A[1, 0]], result["X"])
    assert "sqrt(145)" in result["b_exact"][1]


def test_optimum_symbolic(capsys):
    result = answer(capsys, "optimum", "--method", "symbolic", "--initial", "correlated:3/10,9/100,49/100")
    assert len(result["X_formula"]) == 3
    assert set(result["symbols"]) == {"p", "a", "n"}


def test_optimum_singular(capsys):
    result = answer(capsys, "optimum", "--values", "-1,1", "--length", 3)
    assert result["unique"] is False
    assert result["nullity"] == len(result["free"]) == 4
    assert result["condition"] is None


def test_optimum_of_real_sequences(capsys):
    result = answer(capsys, "optimum", *SEQUENCES, "--length", 5)
    assert result["task"]["context"] == 4
    assert result["data"]["groups"] == 12
    assert result["data"]["bayes"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["optimum", "--states", 3, "--length", 3, "--prior", "dirichlet:1/2"],
        ["optimum", "--order", 2, "--length", 4],
        ["optimum", "--regression", 3],
        ["optimum", "--initial", "stationary"],
        ["optimum", "--bias"],
        ["optimum", "--method", "symbolic"],
        ["optimum", *SEQUENCES, "--length", 3],
        ["recover", "--x", "1/3,-1/6,1/2"],
        ["recover", "--regression", 2],
        ["sample", "--length", 4],
        ["sample", "--regression", 2],
        ["slices", "--length", 3],
        ["map", "--p", "1/4,1/2", "--contexts", "1,10"],
        ["best", "--length", 3],
        ["best", "--length", 3, "--heads", 2, "--starts", 5],
        ["nearest", "--length", 3],
        ["nearest", "--regression", 2, "--norm", "euclidean"],
        ["heads", "--length", 3],
        ["certify", "--length", 3],
        ["certify", "--initial", "stationary"],
        ["certify", "--regression", 2],
        ["evaluate", "--prompts", 40],
        ["evaluate", "--prompts", 40, "--states", 3, "--length", 3, "--predictors", "bayes,rounded,kernel"],
        ["evaluate", "--prompts", 40, "--initial", "stationary"],
        ["evaluate", "--prompts", 40, "--regression", 2, "--context", 1],
        ["evaluate", *SEQUENCES, "--length", 3],
    ],
    ids=lambda a: " ".join(str(v) for v in a if str(v) != WEATHER),
)
def test_every_command_talks_to_people_and_to_programs(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 0
    assert err == ""
    assert len(out.splitlines()) > 3
    assert answer(capsys, *arguments)


def test_recover_reads_what_optimum_wrote(capsys, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(answer(capsys, "optimum", "--context", 10)))
    assert answer(capsys, "recover", "--file", path)["recovery_exact"] is True
    path.write_text(json.dumps([[1.0, 0.0, -1.0]]))
    assert answer(capsys, "recover", "--file", path)["recovery_exact"] is False


def test_sample_writes_arrays(capsys, tmp_path):
    path = tmp_path / "prompts.npz"
    result = answer(capsys, "sample", "--prompts", 5, "--length", 3, "--seed", 4, "--out", path)
    with np.load(path) as saved:
        np.testing.assert_array_equal(saved["context"], np.array(result["context"]))
        assert saved["gram"].shape == (5, 3, 3)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures(capsys, tmp_path, suffix):
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    commands = [["optimum", "--length", 3], ["slices"], ["map", "--p", "1/2,3/4", "--contexts", "1,2,9"], ["sample"]]
    commands += [["best", "--length", 3], ["nearest"], ["heads"], ["certify"], ["evaluate", "--prompts", 20]]
    commands += [["evaluate", "--prompts", 20, "--regression", 2, "--context", 2], ["evaluate", *SEQUENCES]]
    for k, command in enumerate(commands):
        path = tmp_path / f"{k}.{suffix}"
        code, _, err = run(capsys, *command, "--plot", path)
        assert code == 0, err
        assert path.read_bytes().startswith(heads[suffix])
    assert len(list(tmp_path.iterdir())) == len(commands)


def test_certificates_travel(capsys, tmp_path):
    path = tmp_path / "proof.safetensors"
    made = answer(capsys, "certify", "--length", 3, "--context", 10, "--save", path)
    assert made["status"] == "certified"
    assert made["verified"] == "rational"
    assert made["gap"] <= 1e-6
    assert {"upper", "lower", "nodes", "b", "A", "seconds"} <= set(made)
    checked = answer(capsys, "verify", path)
    assert checked["lower"] == made["lower"]
    assert checked["task"]["length"] == 3
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))
    code, out, err = run(capsys, "verify", path)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    path.write_bytes(bytes(content[:-40]))
    assert run(capsys, "verify", path)[0] == 2


def test_a_time_limit_still_gives_a_valid_bound(capsys):
    result = answer(capsys, "certify", "--length", 8, "--context", 100, "--time-limit", "0.2")
    assert result["status"] == "bound"
    assert result["lower"] <= result["upper"]
    assert result["verified"] == "float"


def test_evaluate_prints_every_predictor_beside_the_ceiling(capsys):
    arguments = ["evaluate", "--length", 4, "--prompts", 100, "--seed", 5]
    result = answer(capsys, *arguments)
    rows = {row["predictor"]: row for row in result["rows"]}
    assert len(rows) == 11
    assert {"predictor", "loss", "loss_se", "accuracy", "accuracy_se", "excess", "excess_se"} <= set(rows["SVM"])
    assert (result["prompts"], result["seed"], result["groups"]) == (100, 5, None)
    assert result["task"]["length"] == 4
    assert rows["Bayes"]["loss"] < rows["constant"]["loss"]
    assert rows["transition counts + 1"]["excess"] == pytest.approx(0, abs=1e-12)
    chosen = answer(capsys, *arguments, "--predictors", "svm, bayes,best")
    assert [row["predictor"] for row in chosen["rows"]] == ["Bayes", "SVM", "best (b, A)"]
    for row in chosen["rows"]:
        assert row | {"seconds": 0} == rows[row["predictor"]] | {"seconds": 0}


def test_evaluate_on_real_sequences_counts_groups(capsys):
    result = answer(capsys, "evaluate", *SEQUENCES, "--length", 5, "--predictors", "bayes,optimum,constant")
    before = answer(capsys, "optimum", *SEQUENCES, "--length", 5)["data"]
    assert (result["prompts"], result["groups"]) == (before["prompts"], before["groups"]) == (71, 12)
    for row, key in zip(result["rows"], ("bayes", "optimum", "constant"), strict=True):
        assert (row["loss"], row["loss_se"]) == (before[key], before[f"{key}_se"])


def test_evaluate_leaves_out_what_it_cannot_do_and_says_so(capsys):
    result = answer(capsys, "evaluate", "--prompts", 20, "--initial", "stationary")
    assert "Bayes" not in [row["predictor"] for row in result["rows"]]
    assert {row["excess"] for row in result["rows"]} == {None}
    assert any("Bayes left out" in note and "stationary" in note for note in result["notes"])
    result = answer(capsys, "evaluate", "--prompts", 20, "--length", 60, "--memory", 0.01)
    assert "X*" not in [row["predictor"] for row in result["rows"]]
    assert any("X* and best (b, A) left out" in note for note in result["notes"])


def test_evaluate_adds_models_from_files(capsys, monkeypatch):
    import torch

    class Half(torch.nn.Module):
        def forward(self, Z):
            return torch.full((len(Z),), 0.5)

    loaded = []
    fake = SimpleNamespace(load_model=lambda path: loaded.append(path) or Half())
    monkeypatch.setitem(sys.modules, "markov_icl.models.checkpoint", fake)
    given = ["--model", "a/one.safetensors", "--model", "b/one.safetensors", "--model", "two.safetensors"]
    result = answer(capsys, "evaluate", "--prompts", 20, "--predictors", "bayes", *given)
    assert [str(path) for path in loaded] == given[1::2]
    assert [row["predictor"] for row in result["rows"][1:]] == given[1::2]
    assert {row["loss"] for row in result["rows"][1:]} == {0.25}
    alone = answer(capsys, "evaluate", "--prompts", 20, "--predictors", "bayes", *given[4:])
    assert alone["rows"][1]["predictor"] == "two"


def test_best_shows_every_minimum(capsys):
    result = answer(capsys, "best", "--length", 3, "--context", 10)
    np.testing.assert_allclose([m["loss"] for m in result["minima"]], [0.2546047767, 0.2551127991], atol=1e-9)
    assert result["floor"] < result["loss"]
    assert np.array(result["A"]).shape == (3, 2)


def test_task_files_and_overrides(capsys, tmp_path):
    (tmp_path / "kernel.yaml").write_text("[[1/2, 1/2], [1/4, 3/4]]")
    path = tmp_path / "task.yaml"
    path.write_text("length: 3\ncontext: 5\nprior: fixed:kernel.yaml\ninitial: bernoulli:3/10\n")
    result = answer(capsys, "optimum", "--task", path, "--context", 7)
    assert result["task"]["context"] == 7
    assert result["task"]["prior"]["finite"]["kernels"] == [[["1/2", "1/2"], ["1/4", "3/4"]]]
    path.write_text(json.dumps(result["task"]))
    assert answer(capsys, "optimum", "--task", path)["X_exact"] == result["X_exact"]


BAD = [
    ["optimum", "--length", 1],
    ["optimum", "--length", "x"],
    ["optimum", "--states", 1],
    ["optimum", "--context", 0],
    ["optimum", "--context", -3],
    ["optimum", "--order", 3],
    ["optimum", "--order", 99, "--length", 100],
    ["optimum", "--prior", "cauchy:1"],
    ["optimum", "--prior", "beta:1,1,1,0"],
    ["optimum", "--prior", "beta:1,1,1,-1"],
    ["optimum", "--prior", "beta:1,1"],
    ["optimum", "--prior", "dirichlet:x"],
    ["optimum", "--prior", "finite:nowhere.yaml"],
    ["optimum", "--prior", "beta:1/0,1,1,1"],
    ["optimum", "--initial", "bernoulli:3/2"],
    ["optimum", "--initial", "bernoulli:1e999999999"],
    ["optimum", "--initial", "pmf:1/2,1/4"],
    ["optimum", "--initial", "sometimes"],
    ["optimum", "--states", 3, "--initial", "correlated:1/2,0,1"],
    ["optimum", "--values", "0,0"],
    ["optimum", "--values", "a,b"],
    ["optimum", "--method", "magic"],
    ["optimum", "--values", "1e300,0"],
    ["optimum", "--context", "1" + 400 * "0"],
    ["optimum", "--context", "1" + 5000 * "0"],
    ["optimum", "--prior", "beta:1e-300,1,1,1"],
    ["optimum", "--prior", "dirichlet:1e300"],
    ["optimum", "--states", 300],
    ["optimum", "--method", "symbolic", "--length", 3],
    ["optimum", "--method", "rational", "--initial", "stationary"],
    ["optimum", "--method", "rational", "--length", 20],
    ["optimum", "--length", 200],
    ["optimum", "--length", 10000],
    ["optimum", "--length", 11, "--memory", 0.001],
    ["optimum", "--task", "nowhere.yaml"],
    ["optimum", "--plot", "x.gif"],
    ["optimum", "--plot", "/nowhere/x.png"],
    ["optimum", "--regression", 0],
    ["optimum", "--regression", 2, "--length", 3],
    ["optimum", "--group", "month"],
    ["optimum", "--sequences", WEATHER],
    ["optimum", *SEQUENCES, "--states", 2],
    ["optimum", *SEQUENCES[:-1], "nothing"],
    ["optimum", *SEQUENCES[:-1], "date"],
    ["optimum", *SEQUENCES, "--length", 40],
    ["optimum", *SEQUENCES, "--length", 15, "--context", 5],
    ["optimum", "--unknown"],
    ["optimum", "extra"],
    ["nothing"],
    ["recover", "--x", "1,2"],
    ["recover", "--x", "1,,2"],
    ["recover", "--x", "1,2,3", "--blocks", 2],
    ["recover", "--x", "1,2,3", "--file", WEATHER],
    ["recover", "--file", "nowhere.json"],
    ["recover", "--file", WEATHER],
    ["recover", "--tolerance", 2, "--x", "1,2,3"],
    ["sample", "--prompts", 0],
    ["sample", "--prompts", 1000000, "--context", 1000],
    ["sample", "--out", "x.txt"],
    ["slices", "--coordinates", "0"],
    ["slices", "--coordinates", "a"],
    ["slices", "--radius", "-1"],
    ["slices", "--radius", "nan"],
    ["map", "--p", "0"],
    ["map", "--p", "x"],
    ["map", "--contexts", "0"],
    ["map", "--contexts", "one"],
    ["map", "--length", 3],
    ["best", "--heads", 9],
    ["best", "--starts", 0],
    ["nearest", "--norm", "spectral"],
    ["heads", "--max-heads", 9],
    ["certify", "--tolerance", 0],
    ["certify", "--tolerance", "nan"],
    ["certify", "--tolerance", "inf"],
    ["certify", "--initial", "bernoulli:0"],
    ["best", "--memory", "-1"],
    ["optimum", "--length", 11, "--memory", "nan"],
    ["certify", "--time-limit", -1],
    ["certify", "--save", "x.txt"],
    ["certify", "--plot", "x.txt"],
    ["certify", "--length", 60],
    ["certify", "--length", 25],
    ["verify"],
    ["verify", "nowhere.safetensors"],
    ["verify", WEATHER],
    ["map", "--context", 3],
    ["report", "--out", WEATHER],
    ["report", "--store", WEATHER],
    ["claims", "Lemma 9"],
    ["evaluate", "--predictors", "forest"],
    ["evaluate", "--predictors", ""],
    ["evaluate", "--prompts", 1],
    ["evaluate", "--prompts", "many"],
    ["evaluate", "--prompts", 10**9],
    ["evaluate", "--memory", "nan"],
    ["evaluate", "--length", 60, "--predictors", "optimum", "--memory", 0.01],
    ["evaluate", *SEQUENCES, "--prompts", 10],
    ["evaluate", "--plot", "x.gif"],
    ["evaluate", "--seed", -1],
]


@pytest.mark.parametrize("arguments", BAD, ids=lambda a: " ".join(str(v)[:40] for v in a if str(v) != WEATHER))
def test_rubbish_gets_one_line_and_leaves_no_file(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("markov-icl: error: ")
    assert len(err) < 330
    assert list(tmp_path.iterdir()) == []


def test_rubbish_table_files(capsys, tmp_path):
    path = tmp_path / "x.csv"
    for text in ("", "a\n", "month,date,wet\n1,1,wet\n1,2,dry\n", "month,date,wet\n1,1,0\n1,2,1\n2,1,\n"):
        path.write_text(text)
        code, _, err = run(capsys, "optimum", "--sequences", path, *SEQUENCES[2:])
        assert code == 2
        assert len(err.splitlines()) == 1


def test_a_figure_that_cannot_be_written_leaves_nothing(capsys, tmp_path, monkeypatch):
    def broken(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    code, _, err = run(capsys, "optimum", "--plot", tmp_path / "x.png")
    assert code == 2
    assert "disk full" in err
    assert list(tmp_path.iterdir()) == []


def test_our_own_mistakes_are_one_line_too(capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug\nin two lines")

    monkeypatch.setattr("markov_icl.landscape.minimizer.minimizer", broken)
    code, out, err = run(capsys, "optimum")
    assert (code, out) == (1, "")
    assert err.startswith("markov-icl: internal error: RuntimeError: a bug in two lines")


def test_interrupt_is_quiet(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("markov_icl.landscape.minimizer.minimizer", interrupt)
    code, _, err = run(capsys, "optimum")
    assert code == 130
    assert err == "markov-icl: stopped\n"


def test_a_reader_that_stops_early():
    command = f"{sys.executable} -m markov_icl optimum --length 11 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "markov_icl", "optimum", "--json", "--initial", "bernoulli:0.3"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["task"]["initial"] == ["7/10", "3/10"]
    assert F(json.loads(done.stdout)["loss_exact"]) > 0


@pytest.fixture
def little_work(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    shrink(monkeypatch)


@pytest.mark.usefixtures("little_work")
def test_report_is_one_complete_file(tmp_path):
    shares = []
    path = write_report(tmp_path / "deep" / "report", lambda share, _: shares.append(share), workers=1)
    page = path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert shares[-1] == 1.0
    for text in (
        "Lemma 3.1",
        "Theorem 3.5",
        "Lemma C.8",
        "Seattle",
        "3-NN",
        "SVM",
        "Fig. 10",
        "What is hard",
        "prefers-color-scheme",
        "viewport",
    ):
        assert text in page
    assert "Theorem 4.1" in page
    assert page.index("Lemma 3.1") < page.index("data:image")
    assert "▲ above the Bayes ceiling: accuracy, 3 states, 3 layers, uniform rows: 0.98 (paper), ceiling 0.6" in page
    for name in ("fig3", "fig5", "fig6", "fig7"):
        assert f"Not run here: <code>markov-icl reproduce {name}</code>" in page
    scip = find_spec("pyscipopt") is not None
    assert page.count("data:image/png;base64,") == 11 + scip
    assert shares == sorted(shares)
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<figure>") == page.count("alt=")


SAMPLES = {
    "plain": ["--length", 3, "--context", 4],
    "three states": ["--states", 3, "--order", 2, "--length", 4, "--context", 2, "--values", "1/2,2,-3", "--bias"],
    "regression": ["--regression", 2, "--context", 3],
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "NPZ"])
def test_samples_travel(capsys, tmp_path, name, suffix):
    from safetensors import safe_open

    path = tmp_path / f"prompts.{suffix}"
    told = answer(capsys, "sample", "--prompts", 5, "--seed", 4, *SAMPLES[name], "--out", path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert ("kernels" in told) == (name != "regression")
    if suffix == "parquet":
        check_table(pl.read_parquet(path), told)
        origin = pl.read_parquet_metadata(path)
    elif suffix == "safetensors":
        with safe_open(path, framework="numpy") as file:
            origin = file.metadata()
            saved = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    else:
        with np.load(path) as file:
            saved = dict(file)
        origin = {"task": saved.pop("task").item(), "seed": str(saved.pop("seed"))}
    assert origin["seed"] == "4"
    again = sample_prompts(TaskSpec.read(json.loads(origin["task"])).task(), 5, int(origin["seed"]))
    np.testing.assert_array_equal(again.context, np.array(told["context"]))
    if suffix != "parquet":
        assert set(saved) == set(told) - {"seed"}
        for key, value in saved.items():
            np.testing.assert_array_equal(value, np.array(told[key]))


def check_table(table, told):
    context, kernels = np.array(told["context"]), told.get("kernels")
    n = context.shape[1]
    assert table["prompt"].to_list() == [p for p in range(1, 6) for _ in range(n + 1)]
    assert table["chain"].to_list() == [*range(1, n + 2)] * 5
    assert table["role"].to_list() == ([*["context"] * n, "query"]) * 5
    asked = table.filter(pl.col("role") == "query")
    last = "y" if kernels is None else f"t{len(told['query_states'][0])}"
    assert asked[last].to_list() == told["target"]
    shown = table.filter(pl.col("role") == "context")
    assert shown[last].to_list() == context[..., -1].reshape(-1).tolist()
    first = "x1" if kernels is None else "t1"
    assert shown[first].to_list() == context[..., 0].reshape(-1).tolist()
    if kernels is None:
        assert table.columns == ["prompt", "chain", "role", "x1", "x2", "y"]
    else:
        assert table.columns[3:] == [*(f"t{t + 1}" for t in range(len(told["query_states"][0]))), "kernel"]
        assert asked["kernel"].to_list() == kernels
        assert shown["kernel"].null_count() == len(shown)


def test_a_failed_sample_leaves_no_file(capsys, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError("expected space on the device; got none")

    monkeypatch.setattr(np, "savez_compressed", full)
    code, out, err = run(capsys, "sample", "--out", tmp_path / "prompts.npz")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_samples_too_large_are_refused(capsys):
    code, _, err = run(capsys, "sample", "--states", 200, "--prompts", 20_000)
    assert code == 2
    assert "expected work within 8 GB; got 20,000 prompts" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--length", 3, "--context", 8],
        ["--length", 3, "--context", 8, "--layers", 2, "--form", "restricted", "--optimizer", "adamw"],
        ["--length", 3, "--context", 8, "--model", "softmax", "--precision", 64],
        ["--length", 3, "--context", 8, "--model", "enlarged", "--prompts", 500],
        ["--regression", 2, "--optimizer", "sgd"],
        ["--length", 3, "--context", 8, "--curriculum", "2:3:5", "--evaluate-every", 10],
    ],
    ids=str,
)
def test_train(capsys, tmp_path, arguments):
    options = [*arguments, "--steps", 20, "--batch", 100, "--held-out", 200]
    result = answer(capsys, "train", *options, "--plot", tmp_path / "curve.png")
    assert len(result["losses"]) == 20
    assert result["loss"] > 0
    assert result["loss_se"] > 0
    assert result["floor"] is not None
    assert result["bayes"]["loss"] < result["loss"] + 5 * result["loss_se"]
    assert (tmp_path / "curve.png").stat().st_size > 5000
    code, out, err = run(capsys, "train", *options)
    assert (code, err) == (0, "")
    assert "Bayes loss" in out


def test_train_on_the_population_loss_names_the_minimum(capsys, tmp_path):
    file = tmp_path / "best.safetensors"
    result = answer(capsys, "train", "--length", 3, "--population", "--save", file, "--plot", tmp_path / "p.svg")
    assert result["converged"]
    assert result["nearest"] == 0
    assert abs(result["excess"]) < 1e-10
    assert result["loss"] > result["floor"]
    scored = answer(capsys, "evaluate", "--length", 3, "--model", file, "--predictors", "bayes,best", "--prompts", 500)
    rows = {row["predictor"]: row for row in scored["rows"]}
    assert rows["best"]["loss"] == pytest.approx(rows["best (b, A)"]["loss"], rel=1e-6)
    code, out, _ = run(capsys, "train", "--length", 3, "--population", "--optimizer", "gd", "--steps", 50)
    assert code == 0
    assert "allow more --steps" in out


def test_train_resumes(capsys, tmp_path):
    def options(steps, file):
        return ["--length", 3, "--steps", steps, "--batch", 50, "--held-out", 50, "--save", tmp_path / file]

    whole = answer(capsys, "train", *options(20, "whole.safetensors"))
    answer(capsys, "train", *options(10, "parts.safetensors"))
    parts = answer(capsys, "train", *options(20, "parts.safetensors"), "--resume")
    assert parts["losses"] == whole["losses"]
    assert parts["loss"] == whole["loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "newton"], "optimizer to be one of adam, adamw, sgd; got 'newton'"),
        (["--optimizer", "lbfgs"], "optimizer to be one of adam, adamw, sgd"),
        (["--model", "mamba"], "model of kind lsa, softmax, enlarged, gpt2; got 'mamba'"),
        (["--form", "sparce"], "form to be one of dense, sparse, restricted"),
        (["--model", "gpt2", "--size", "huge"], "size to be one of tiny, small, standard"),
        (["--precision", 16], "precision 32 or 64"),
        (["--device", "tpu"], "device auto, cpu, cuda"),
        (["--rate", "nan"], "positive learning rate"),
        (["--rate", "1e12", "--optimizer", "sgd", "--steps", 30], "finite loss"),
        (["--curriculum", "5:1"], "START:BY:EVERY"),
        (["--curriculum", "50:1:1"], "at or below the task's context 10"),
        (["--prompts", 10], "at least one batch"),
        (["--resume"], "--save FILE beside --resume"),
        (["--batch", 1_000_000, "--length", 40, "--context", 1000], "within 8 GB"),
        (["--batch", 10_000, "--context", 1000, "--model", "softmax"], "within 8 GB"),
        (["--memory", "nan"], "Invalid value for '--memory'"),
        (["--save", "model.pt"], "ending in .safetensors"),
        (["--save", "/nowhere/model.safetensors"], "writable folder"),
        (["--population", "--layers", 2], "one layer of linear attention beside --population"),
        (["--population", "--optimizer", "sgd"], "lbfgs or gd beside --population"),
        (["--layers", 0], "Invalid value for '--layers'"),
    ],
    ids=str,
)
def test_train_refuses(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", "--held-out", 10, "--batch", 20, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif("torch" in sys.modules and sys.modules["torch"].cuda.is_available(), reason="a GPU is present")
def test_train_says_that_there_is_no_gpu(capsys):
    code, _, err = run(capsys, "train", "--device", "cuda", "--steps", 1)
    assert code == 2
    assert "expected a CUDA GPU for device cuda; found none" in err


def test_files_of_models_are_checked(capsys, tmp_path):
    file = tmp_path / "model.safetensors"
    answer(capsys, "train", "--length", 3, "--steps", 2, "--batch", 5, "--held-out", 5, "--save", file)
    before = file.read_bytes()
    for arguments, message in (
        (["train", "--length", 3, "--steps", 2, "--batch", 5, "--held-out", 5, "--save", file], "which exists"),
        (
            ["train", "--length", 4, "--steps", 4, "--batch", 5, "--held-out", 5, "--save", file, "--resume"],
            "of the model",
        ),
        (["evaluate", "--length", 5, "--model", file, "--prompts", 20, "--predictors", "bayes"], "columns of"),
        (["evaluate", "--model", tmp_path / "none.safetensors", "--prompts", 20], "no file"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2, arguments
        assert message in err
        assert len(err.splitlines()) == 1
    assert file.read_bytes() == before


@pytest.mark.timed
def test_bench(capsys):
    result = answer(capsys, "bench", "sampling", "--repeat", 1)
    assert {"fast", "literal", "ratio", "unit", "environment"} <= set(result)
    assert result["ratio"] > 1
    assert run(capsys, "bench", "nonsense")[0] == 2
