"""Exit codes, one line for what was wrong, and JSON: the same for every command."""

import json

import pytest

from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.checkpoint import save_checkpoint
from tests.interfaces.command_line import run
from tests.interfaces.test_catalogue import NAMES

GROUPS = ("hardness", "runs")
TINY = ["--length", "3", "--context", "5"]
SWEEP = {
    "task": {"length": 3, "context": 5},
    "training": {"steps": 5, "batch": 20, "held_out": 20},
    "grid": {"training.rate": [0.01, 0.1]},
    "seeds": 1,
    "prompts": 30,
}

GOOD = {
    "optimum": TINY,
    "ladder": [*TINY, "--prompts", 50],
    "recover": ["--x", "1/3,-1/6,1/2"],
    "certify": [*TINY, "--save", "proof.safetensors"],
    "verify": ["proof.safetensors"],
    "best": [*TINY, "--starts", 4],
    "nearest": [*TINY, "--starts", 4],
    "heads": [*TINY, "--starts", 2, "--max-heads", 2],
    "map": ["--p", "1/2", "--contexts", "1,10"],
    "slices": [*TINY, "--points", 5],
    "sample": TINY,
    "train": [*TINY, "--steps", 3, "--batch", 10, "--held-out", 10],
    "evaluate": [*TINY, "--prompts", 20, "--predictors", "bayes,constant"],
    "attention": [*TINY, "--model", "model.safetensors", "--kernels", 5, "--prompts", 4],
    "layers": [*TINY, "--depth", 2, "--steps", 3, "--batch", 20, "--prompts", 20, "--fronts", 1],
    "hardness separability": ["--inner", 3, "--outer", 3, "--starts", 2],
    "hardness reduce": ["--example"],
    "hardness independent-set": ["--graph", "cycle:5"],
    "hardness scaling": ["--most", 4, "--time-limit", 0.2],
    "reproduce": ["fig10"],
    "sweep": ["sweep.yaml"],
    "runs list": [],
    "runs show": ["last"],
    "runs compare": ["first", "last"],
    "runs export": ["--out", "rows.csv"],
    "claims": ["Lemma 3.1"],
    "bench": ["recovery", "--repeat", 1],
    "doctor": [],
}
"""Arguments that keep each command short, in an order in which each finds what it needs."""
UNTRIED = {
    "report": "a minute; tests/interfaces/commands/test_cli.py writes the page",
    "explore": "serves until it is stopped",
}

BAD = {
    "ladder": ["--prompts", 1],
    "recover": ["--x", "1,2"],
    "verify": ["nowhere.safetensors"],
    "map": ["--p", 2],
    "sample": ["--prompts", 0],
    "attention": ["--model", "nowhere.safetensors"],
    "reproduce": ["fig99"],
    "sweep": ["nowhere.yaml"],
    "bench": ["nothing"],
    "hardness separability": ["--inner", 0],
    "hardness reduce": ["--placement", "odd"],
    "hardness independent-set": ["--graph", "nothing"],
    "hardness scaling": ["--most", 0],
    "report": ["--out", "sweep.yaml"],
    "runs list": ["--store", "sweep.yaml"],
    "runs show": ["zzz"],
    "runs compare": ["zzz", "zzz"],
    "runs export": ["--out", "rows.txt"],
    "claims": ["Lemma 99"],
    "doctor": ["--fast"],
    "explore": ["--port", "nowhere"],
}
"""One bad value each; the others are refused a chain of one state."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP))
    save_checkpoint(tmp_path / "model.safetensors", SoftmaxAttention(3))


def test_every_command_is_tried():
    assert set(GOOD) | set(UNTRIED) | set(GROUPS) >= set(NAMES)


@pytest.mark.usefixtures("place")
def test_every_command_prints_json_and_words(capsys):
    for name, arguments in GOOD.items():
        code, out, err = run(capsys, *name.split(), *arguments, "--json")
        assert (code, err) == (0, ""), name
        assert isinstance(json.loads(out), dict), name
        if name not in ("reproduce", "bench", "layers", "hardness scaling"):
            code, out, err = run(capsys, *name.split(), *arguments)
            assert (code, err) == (0, ""), name
            assert out.strip(), name
            assert not out.lstrip().startswith("{"), name


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in GROUPS])
def test_a_bad_value_is_one_line_and_exit_code_2(capsys, name):
    arguments = BAD.get(name, ["--length", 1])
    code, out, err = run(capsys, *name.split(), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("markov-icl: error: ")
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in GROUPS])
def test_an_unknown_option_is_refused_with_the_nearest(capsys, name):
    code, out, err = run(capsys, *name.split(), "--jsom")
    assert (code, out) == (2, "")
    assert err.endswith("(did you mean '--json'?)\n") or name == "explore"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["optimun"], "optimum"),
        (["Certify"], "certify"),
        (["independent-set"], "hardness independent-set"),
        (["separabilty"], "hardness separability"),
        (["hardness", "independant-set"], "independent-set"),
        (["runs", "exprt"], "export"),
        (["optimum", "--contxt", 3], "--context"),
        (["optimum", "--contex=3"], "--context"),
        (["train", "--heldout", 3], "--held-out"),
        (["optimum", "--method", "rationl"], "rational"),
        (["optimum", "--prior", "dirichlt:1/2"], "dirichlet:1/2"),
        (["optimum", "--prior", "bet:1,1,1,1"], "beta:1,1,1,1"),
        (["optimum", "--initial", "stationery"], "stationary"),
        (["optimum", "--device", "cpuu"], "cpu"),
        (["nearest", "--norm", "euclid"], "euclidean"),
        (["train", "--model", "lsaa"], "lsa"),
        (["train", "--form", "restrict"], "restricted"),
        (["train", "--optimizer", "adm"], "adam"),
        (["train", "--device", "cuba"], "cuda"),
        (["train", "--model", "gpt2", "--size", "tinny"], "tiny"),
        (["evaluate", "--predictors", "bayes,optimm"], "optimum"),
        (["layers", "--front", "nsga"], "nsga2"),
        (["bench", "samplng"], "sampling"),
        (["reproduce", "fig1"], "fig10"),
        (["reproduce", "fig10", "--scale", "quik"], "quick"),
        (["reproduce", "fig10", "--engine", "rey"], "ray"),
        (["hardness", "separability", "--kind", "separabel"], "separable"),
        (["hardness", "reduce", "--placement", "printd"], "printed"),
        (["hardness", "independent-set", "--graph", "peterson"], "petersen"),
        (["hardness", "independent-set", "--graph", "cyle:7"], "cycle:7"),
    ],
    ids=lambda a: " ".join(map(str, a)) if isinstance(a, list) else a,
)
@pytest.mark.usefixtures("place")
def test_the_nearest_word_is_suggested(capsys, arguments, meant):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert f"(did you mean '{meant}'?)" in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ({"seed": 2}, "seeds"),
        ({"task": {"lenght": 3}}, "length"),
        ({"training": {"step": 3}}, "steps"),
        ({"model": {"dept": 3}}, "depth"),
        ({"model": {"kind": "lsaa"}}, "lsa"),
        ({"grid": {"tasks.length": [3]}}, "task.length"),
        ({"grid": {"training.rte": [3]}}, "rate"),
    ],
    ids=str,
)
def test_keys_of_a_sweep_are_suggested(capsys, tmp_path, change, meant):
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP | change))
    code, out, err = run(capsys, "sweep", "sweep.yaml", "--workers", 1)
    assert (code, out) == (2, "")
    assert f"(did you mean '{meant}'?)" in err
    assert len(err.splitlines()) == 1
    assert not list((tmp_path / "data").rglob("*.parquet"))


@pytest.mark.usefixtures("place")
def test_keys_of_a_task_file_are_suggested(capsys, tmp_path):
    (tmp_path / "task.yaml").write_text("lenght: 3\n")
    code, _, err = run(capsys, "optimum", "--task", "task.yaml")
    assert code == 2
    assert "got 'lenght' (did you mean 'length'?)" in err
