"""The command line as a user meets it."""

import json
import subprocess
import sys
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

from markov_icl.experiments.hardness_scaling import hardness_scaling
from markov_icl.interfaces import hardness_report
from markov_icl.interfaces.cli import main
from markov_icl.interfaces.report import write_report

WEATHER = str(Path(__file__).parents[2] / "examples" / "seattle_weather.csv")
SEQUENCES = ["--sequences", WEATHER, "--group", "month", "--time", "date", "--state", "wet"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return stop.value.code, out.out, out.err


def answer(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


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
    saved = np.load(path)
    np.testing.assert_array_equal(saved["context"], np.array(result["context"]))
    assert saved["gram"].shape == (5, 3, 3)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures(capsys, tmp_path, suffix):
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    commands = [["optimum", "--length", 3], ["slices"], ["map", "--p", "1/2,3/4", "--contexts", "1,2,9"], ["sample"]]
    commands += [["best", "--length", 3], ["nearest"], ["heads"], ["certify"]]
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


def test_report_is_one_complete_file(tmp_path, monkeypatch):
    monkeypatch.setattr(hardness_report, "hardness_scaling", lambda **_: hardness_scaling(8, time_limit=0.5))
    shares = []
    path = write_report(tmp_path / "deep" / "report", shares.append)
    page = path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert shares[-1] == 1.0
    for text in (
        "Lemma 3.1",
        "Theorem 3.5",
        "Lemma C.8",
        "Seattle",
        "Fig. 10",
        "What is hard",
        "prefers-color-scheme",
        "viewport",
    ):
        assert text in page
    assert page.count("data:image/png;base64,") == 10
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<figure>") == page.count("alt=")
