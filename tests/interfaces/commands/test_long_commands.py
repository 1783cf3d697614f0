"""Long chains from the command line."""

import json

import pytest

from markov_icl.recovery.search import fit as fits
from tests.interfaces.command_line import answer, run


def test_optimum_of_a_long_chain(capsys, tmp_path):
    result = answer(capsys, "optimum", "--length", 17, "--context", 100, "--plot", tmp_path / "blocks.png")
    assert result["method"] == "operator"
    assert result["moments"] == "spectral"
    assert result["nodes"] < 300
    assert len(result["X"]) == 16 * 17 * 18 // 2
    assert result["unique"] is True
    assert result["nullity"] == 0
    assert result["recoverable"] is False
    assert 0.164 < result["loss"] < 0.175
    assert result["residual"] < 1e-9
    assert "conjugate-gradient products" in result["error"]
    assert (tmp_path / "blocks.png").stat().st_size > 10_000
    json.dumps(result, allow_nan=False)


def test_the_table_names_what_was_done(capsys):
    code, out, _ = run(capsys, "optimum", "--length", 17, "--method", "operator")
    assert code == 0
    assert "operator, spectral over" in " ".join(out.split())
    assert "preconditioned" in out


def test_singular_long_chains_do_not_count_their_free_directions(capsys):
    result = answer(capsys, "optimum", "--length", 4, "--values", "-1,1", "--method", "operator")
    assert result["unique"] is False
    assert result["nullity"] is None
    assert result["condition"] is None
    code, out, _ = run(capsys, "optimum", "--length", 4, "--values", "-1,1", "--method", "operator")
    assert code == 0
    assert "not to working precision" in " ".join(out.split())


def test_best_of_a_long_chain_says_what_it_did(capsys, monkeypatch):
    monkeypatch.setattr(fits, "_FOLLOWED", 1)
    code, out, _ = run(capsys, "best", "--length", 22, "--starts", 2)
    assert code == 0
    assert "long chain, no matrix: 67 starts evaluated, 1 followed down" in out
    assert "0/0/" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--length", 65, "--memory", "0.2"),
            "within 0.2 GB; got an iterative solution for 137,280 unknowns",
        ),
        (("--length", 2000), "which needs about"),
        (("--length", 20, "--device", "tpu"), "expected device cpu or cuda"),
        (("--regression", 3, "--method", "operator"), "expected a Markov task for method operator"),
    ],
)
def test_refusals_are_one_line(capsys, arguments, message):
    code, out, err = run(capsys, "optimum", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_search_too_large_is_refused_before_work(capsys):
    code, _, err = run(capsys, "best", "--length", 129)
    assert code == 2
    assert "expected work within 8 GB; got a search at length 129, which needs about" in err
