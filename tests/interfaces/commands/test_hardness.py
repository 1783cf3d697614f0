"""The commands on hardness as a user meets them."""

from __future__ import annotations

import sys

import networkx as nx
import pytest

from markov_icl.analysis import hardness_scaling as scaling_module
from markov_icl.analysis.hardness_scaling import Scaling, Timing, hardness_scaling
from markov_icl.interfaces.graphs import read_graph
from markov_icl.interfaces.plots.hardness import plot_scaling
from markov_icl.interfaces.report.hardness import PROBLEMS, hardness_section
from tests.interfaces import command_line


def run(capsys, *arguments):
    return command_line.run(capsys, "hardness", *arguments)


def answer(capsys, *arguments):
    return command_line.answer(capsys, "hardness", *arguments)


def test_separability(capsys, tmp_path):
    picture = tmp_path / "planes.svg"
    result = answer(capsys, "separability", "--kind", "separable", "--seed", 4, "--plot", picture)
    assert result["status"] == "separable"
    assert sorted({i for side in result["planes"]["beyond"] for i in side}) == [1, 2, 3, 4, 5, 6]
    assert len(result["heuristic"]["values"]) == 20
    assert picture.read_text().startswith("<?xml")
    blocked = answer(capsys, "separability", "--kind", "inseparable")
    assert blocked["status"] == "inseparable"
    assert blocked["planes"] is None
    assert blocked["obstructions"]
    code, out, _ = run(capsys, "separability", "--kind", "inseparable", "--dimension", 3)
    assert code == 0
    assert "No plane cuts off all of" in out
    stopped = answer(capsys, "separability", "--time-limit", 0)
    assert stopped["status"] == "undecided"


def test_points_from_a_file(capsys, tmp_path):
    file = tmp_path / "points.json"
    file.write_text('{"inner": [[0, "1/3"]], "outer": [[1, 0.5], [-1, 0]]}')
    result = answer(capsys, "separability", "--file", file)
    assert result["inner"] == [["0", "1/3"]]
    assert result["outer"][0] == ["1", "1/2"]
    assert result["status"] == "separable"
    file.write_text('{"inner": 3}')
    code, _, err = run(capsys, "separability", "--file", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "lists of points named inner and outer" in err


def test_reduce_the_worked_example(capsys, tmp_path):
    pytest.importorskip("pyscipopt")
    picture = tmp_path / "placement.png"
    result = answer(capsys, "reduce", "--example", "--plot", picture)
    assert result["d"] == 8
    assert result["status"] == result["oracle"] == "separable"
    assert picture.stat().st_size > 10_000
    program = result["program"]
    assert [c["column"] for c in program["constraints"]] == [2, 3, 2, 3, 4, 5, 1, 1]
    assert program["fixed"]["b[9]"] == "1"
    assert program["names"]["A[1,1]"] == "z2[1]"
    assert len(result["b"]) == 9
    code, out, _ = run(capsys, "reduce", "--example", "--placement", "printed")
    assert code == 0
    assert "the minimum is 0 for every instance" in out


def test_reduce_agrees_with_the_oracle_and_keeps_bounds(capsys):
    pytest.importorskip("pyscipopt")
    result = answer(capsys, "reduce", "--kind", "inseparable", "--inner", 4, "--outer", 4, "--optimum")
    assert result["status"] == result["oracle"] == "inseparable"
    assert 4 <= result["lower"] + 1e-3 <= result["upper"] + 2e-3
    stopped = answer(capsys, "reduce", "--kind", "inseparable", "--time-limit", 0)
    assert stopped["status"] == "undecided"
    assert (stopped["lower"], stopped["upper"], stopped["solver"]) == (None, None, "limit")


def test_reduce_a_formula(capsys):
    pytest.importorskip("pyscipopt")
    clauses = [part for clause in ("1,2,3", "1,4,5", "2,4,6") for part in ("--clause", clause)]
    result = answer(capsys, "reduce", *clauses)
    assert result["status"] == "satisfiable"
    assert result["direct"] is True
    assert result["d"] == 6
    assert all(c["column"] == 1 and c["sense"] == "=" for c in result["program"]["constraints"])
    every = [part for clause in ("1,2,3", "1,2,4", "1,3,4", "2,3,4") for part in ("--clause", clause)]
    code, out, _ = run(capsys, "reduce", *every)
    assert code == 0
    assert out.count("unsatisfiable") == 2


@pytest.mark.parametrize(
    ("source", "alpha", "nearest"),
    [
        (["--graph", "petersen"], 4, 40.5),
        (["--graph", "cycle:5"], 2, 13.0),
        (["--graph6", "C~"], 1, 12.0),
        (["--graph", "random_regular:3,10,1"], None, None),
    ],
)
def test_independent_set(capsys, source, alpha, nearest):
    result = answer(capsys, "independent-set", *source)
    assert {"alpha", "set", "nearest", "lower", "status", "seconds"} <= set(result)
    assert result["status"] == "optimal"
    assert result["alpha"] == len(result["set"]) == result["cliques"]
    assert result["lower"] == result["nearest"]
    assert alpha in (None, result["alpha"])
    assert nearest in (None, result["nearest"])


def test_independent_set_of_a_file_with_a_picture(capsys, tmp_path):
    file, picture = tmp_path / "edges.csv", tmp_path / "graph.pdf"
    file.write_text("# a square\na b\nb,c\nc d\n\nd a # closes it\n")
    result = answer(capsys, "independent-set", "--edges", file, "--plot", picture)
    assert set(result["set"]) in ({"a", "c"}, {"b", "d"})
    assert picture.read_bytes().startswith(b"%PDF")
    code, out, _ = run(capsys, "independent-set", "--edges", file, "--time-limit", 0)
    assert code == 0
    assert "squared distance found" in out


def test_first_level_beside_the_exact_value(capsys):
    result = answer(capsys, "independent-set", "--graph", "complete:3", "--certify")
    assert result["first_level"] <= result["lower"] == result["nearest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["independent-set", "--graph", "path:4"], "expected a regular graph"),
        (["independent-set", "--graph", "empty:4"], "isolated vertices"),
        (["independent-set", "--graph", "nonsense"], "petersen, cycle:7"),
        (["independent-set", "--graph", "cycle:x"], "whole numbers after the colon"),
        (["independent-set", "--graph", "petersen:1,2,3,4"], "arguments that networkx accepts"),
        (["independent-set", "--graph", "random_regular:3,5"], "it says"),
        (["independent-set", "--graph", "complete:99999"], "numbers up to 1000"),
        (["independent-set", "--graph6", "ZZ!"], "expected a graph6 string"),
        (["independent-set", "--graph6", "C~", "--graph", "petersen"], "got 2 of them"),
        (["independent-set"], "got 0 of them"),
        (["independent-set", "--edges", "missing.txt"], "missing.txt"),
        (["separability", "--kind", "odd"], "expected kind separable"),
        (["separability", "--dimension", 3, "--plot", "x.png"], "2 dimensions for a picture"),
        (["separability", "--outer", 30], "at most 20 outer points"),
        (["reduce", "--placement", "odd"], "placement working or printed"),
        (["reduce", "--clause", "1,2"], "three different variables"),
        (["reduce", "--clause", "a,b,c"], "clauses such as 1,2,3"),
        (["scaling", "--time-limit", 0], "positive time limit"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["reduce"], ["reduce", "--clause", "1,2,3"], ["scaling"]])
def test_without_pyscipopt_the_extra_is_named(capsys, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    code, out, err = run(capsys, *command)
    assert (code, out) == (2, "")
    assert "pip install 'markov-icl[global]'" in err


def test_edges_must_be_pairs(tmp_path):
    file = tmp_path / "edges.txt"
    for text, message in (("a b c\n", "two vertices in line 1"), ("# none\n", "at least one edge")):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_graph(edges=file)
    assert nx.is_isomorphic(read_graph("petersen"), nx.petersen_graph())


def test_scaling(capsys, tmp_path, monkeypatch):
    pytest.importorskip("pyscipopt")
    monkeypatch.setattr(scaling_module, "_REPEATS", 1)
    monkeypatch.setattr(scaling_module, "_MOST", 2)
    picture = tmp_path / "scaling.png"
    result = answer(capsys, "scaling", "--most", 6, "--time-limit", 5, "--plot", picture)
    assert [t["d"] for t in result["exact"]] == [2, 4, 6]
    assert [t["d"] for t in result["nearest"]] == [1, 2]
    assert [t["d"] for t in result["general"]] == [7, 10]
    assert all(t["solved"] for t in result["exact"])
    assert picture.stat().st_size > 10_000
    code, out, _ = run(capsys, "scaling", "--most", 2, "--time-limit", 5)
    assert (code, out.count("solved")) == (0, 3)


def test_scaling_stops_at_the_limit():
    pytest.importorskip("pyscipopt")
    result = hardness_scaling(2, time_limit=1e-3)
    assert not result.nearest[-1].solved
    assert not result.general[-1].solved
    assert all(t.solved for t in (*result.nearest[:-1], *result.general[:-1], *result.exact))


def test_section_says_which_problem_each_proof_is_about():
    timing = (Timing(2, 0.1, True, 0.0), Timing(4, 1.0, False, 9.0))
    section = hardness_section()
    assert section.startswith("<h2>What is hard and what is not</h2>")
    assert section.count("data:image/png") == 3
    assert all(command in section for *_, command in PROBLEMS)
    axis = plot_scaling(Scaling(timing, timing, timing, 1.0)).axes[0]
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")


def test_group_is_listed(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in ("separability", "reduce", "independent-set", "scaling"))
