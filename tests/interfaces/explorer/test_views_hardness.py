"""The page Hardness: lines that separate, sets that show why none do, and independent sets of known size."""

import json
import re
import shlex
import subprocess
import sys
from fractions import Fraction

import pytest

from markov_icl.hardness.separability import Instance, is_proof, separate
from markov_icl.interfaces.explorer.pages.hardness import GRAPHS, PAGE
from markov_icl.interfaces.explorer.pictures.separation import clip
from markov_icl.interfaces.explorer.view import Refused
from markov_icl.interfaces.graphs import read_graph
from tests.interfaces.command_line import answer
from tests.interfaces.explorer.looking import figure_of, look, read

NONE_DO = "0,-2,1; -2,1,1; 2,1,1; 0,4,-1; -4,-2,-1; 4,-2,-1"
NUMBERS = {
    "petersen": 4,
    "cycle:5": 2,
    "cycle:6": 3,
    "cycle:9": 4,
    "complete:5": 1,
    "octahedral": 2,
    "cubical": 4,
    "icosahedral": 3,
    "truncated_tetrahedron": 4,
    "frucht": 5,
    "heawood": 7,
    "moebius_kantor": 8,
    "hypercube:4": 8,
    "pappus": 9,
    "dodecahedral": 8,
}


def corners(outcome, name):
    trace = next(t for t in figure_of(outcome, "points").data if t.name == name)
    return [(Fraction(x), Fraction(y)) for x, y in zip(trace.x, trace.y, strict=True)]


def test_the_lines_separate_the_points():
    outcome = look(PAGE)
    lines = [row for row in outcome.rows if row["what"] == "line w, g"]
    assert len(lines) == 2
    planes = [(Fraction(row["x"]), Fraction(row["y"]), Fraction(row["note"])) for row in lines]
    near, beyond = corners(outcome, "near both lines"), corners(outcome, "beyond at least one")
    assert (len(near), len(beyond)) == (6, 6)
    assert all(a * x + b * y >= g + 1 for a, b, g in planes for x, y in near)
    assert all(any(a * x + b * y <= g - 1 for a, b, g in planes) for x, y in beyond)
    for number, (a, b, g) in enumerate(planes, 1):
        for x, y in corners(outcome, f"line {number}"):
            assert float(a * x + b * y) == pytest.approx(float(g))


def test_why_no_lines_do():
    outcome = look(PAGE, points=NONE_DO)
    assert "No two lines" in outcome.words
    sets = {row["note"] for row in outcome.rows if row["what"] == "no line cuts off"}
    assert sets == {"{1, 2}", "{1, 3}", "{2, 3}"}
    names = [t.name for t in figure_of(outcome, "points").data]
    assert names.count("no line cuts off all") == 3
    meetings = [t for t in figure_of(outcome, "points").data if t.name == "where the hulls meet"]
    assert {(t.x[0], t.y[0]) for t in meetings} == {(0.0, -2.0), (-2.0, 1.0), (2.0, 1.0)}


def test_links_show_both_answers():
    outcome = look(PAGE)
    assert outcome.links[0][1] == "/hardness"
    _, address = outcome.links[1]
    points = address.removeprefix("/hardness?points=")
    assert "No two lines" in look(PAGE, points=points).words


def test_a_click_adds_a_point_that_the_control_reads():
    for add, label in (("near", 1), ("beyond", -1)):
        figure = figure_of(look(PAGE, add=add), "points")
        ground = next(t for t in figure.data if t.showlegend is False and t.mode == "markers")
        assert len(ground.customdata) == 13 * 13
        assert all(point[2] == label and max(map(abs, point[:2])) <= 6 for point in ground.customdata)
        control = PAGE.controls[0]
        assert control.read(control.write((tuple(ground.customdata[0]),))) == ((-6.0, -6.0, label),)


@pytest.mark.parametrize("name", [g for g in GRAPHS if not PAGE.slow(read(PAGE, graph=g))])
def test_independent_sets_have_the_known_size(name):
    outcome = look(PAGE, graph=name)
    assert f"independence number = {NUMBERS[name]}.**" in outcome.words
    members = {row["number"] - 1 for row in outcome.rows if row.get("note") == "in the set"}
    vertices = list(read_graph(name).nodes)
    assert len(members) == NUMBERS[name]
    assert not any(vertices.index(u) in members and vertices.index(v) in members for u, v in read_graph(name).edges)
    drawn = next(t for t in figure_of(outcome, "graph").data if t.name == "in the set")
    assert {int(text) - 1 for text in drawn.text} == members


def test_the_long_search_is_declared():
    assert [g for g in GRAPHS if PAGE.slow(read(PAGE, graph=g))] == ["dodecahedral"]
    assert PAGE.slow(read(PAGE, points="0,0,1;" + ";".join(f"{k - 4},4,-1" for k in range(9))))


def test_its_commands_say_the_same(capsys, tmp_path):
    first, second = PAGE.command(read(PAGE, points=NONE_DO, graph="cubical", seed="3")).splitlines()
    document = re.fullmatch(r"(markov-icl hardness separability --file) <\(echo (.*)\)", first)
    file = tmp_path / "points.json"
    file.write_text(shlex.split(document[2])[0])
    found = answer(capsys, *shlex.split(document[1])[1:], file)
    assert found["status"] == "inseparable"
    points = (tuple(map(tuple, found[side])) for side in ("inner", "outer"))
    instance = Instance(*points)
    assert is_proof(instance, separate(instance))
    assert len(instance.outer) == 3
    graph = answer(capsys, *shlex.split(second)[1:])
    assert (graph["alpha"], graph["status"]) == (4, "optimal")


@pytest.mark.skipif(sys.platform == "win32", reason="process substitution needs bash")
def test_the_command_runs_as_it_is_copied():
    command = PAGE.command(read(PAGE, points="0.25,1,1; 3,-1.5,-1")).splitlines()[0]
    command = command.replace("markov-icl", f"{shlex.quote(sys.executable)} -m markov_icl", 1) + " --json"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["status"], found["inner"], found["outer"]) == ("separable", [["1/4", "1"]], [["3", "-3/2"]])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("1,2", "expected x,y,1"),
        ("1,2,3", "expected x,y,1"),
        ("7,0,1; 0,0,-1", "of -6 to 6; got 7,0,1"),
        ("1,1,1,1; 0,0,-1", "expected x,y,1"),
        ("", "got 0 and 0"),
        ("0,0,-1", "got 0 and 1"),
        ("0,0,1", "got 1 and 0"),
        ("0,0,1;" + "1,1,-1;" * 11, "got 1 and 11"),
    ],
)
def test_refuses_points_beside_their_control(points, message):
    values = read(PAGE, points=points)
    with pytest.raises(Refused, match=message) as refusal:
        PAGE.refuse(values)
    assert refusal.value.control == "points"


@pytest.mark.parametrize("text", ["__import__('os')", "0,0,1;" * 21, "1e999,0,1", "nan,0,1", "x" * 401, "1,1,1;2"])
def test_malformed_points_never_get_that_far(text):
    with pytest.raises(ValueError, match=r"expected .*; got"):
        read(PAGE, points=text)


@pytest.mark.parametrize("name", ["random_regular:3,1000,1", "../petersen", "lollipop:5,5", ""])
def test_no_other_graph_is_made(name):
    with pytest.raises(ValueError, match="expected one of petersen"):
        read(PAGE, graph=name)


@pytest.mark.parametrize(
    ("line", "area"),
    [((1, 0, 0), 2.0), ((1, 1, 0), 2.0), ((0, 1, -5), 4.0), ((0, 1, 5), 0.0), ((0, 0, -1), 4.0), ((1, 0, 1), 0.0)],
)
def test_half_of_a_square(line, area):
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    kept = clip(square, line)
    around = zip(kept, [*kept[1:], *kept[:1]], strict=True)
    assert sum(x * v - y * u for (x, y), (u, v) in around) / 2 == pytest.approx(area)
