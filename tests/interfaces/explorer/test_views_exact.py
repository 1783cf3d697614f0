"""Optimum, Landscape and Realizability without a browser: their numbers are the package's own."""

import re
import shlex

import numpy as np
import pytest

from markov_icl.analysis.realizability import realizability_map
from markov_icl.interfaces.explorer.pages import landscape, optimum, realizability
from markov_icl.interfaces.explorer.pages.views import all_views
from markov_icl.interfaces.explorer.pictures.colours import INK, PAPER, text_on, themed
from markov_icl.interfaces.explorer.pictures.drawing import SIGNED
from markov_icl.interfaces.explorer.server.result import as_result
from markov_icl.interfaces.explorer.view import Control, Refused
from tests.interfaces.command_line import answer
from tests.interfaces.explorer.browsing import contrast
from tests.interfaces.explorer.looking import read

VIEWS = all_views()


def outcome_of(view, **texts):
    values = read(view, **texts)
    view.refuse(values)
    return view.compute(values, lambda *_: None)


def rows_of(outcome, key):
    return {row[key]: row for row in outcome.rows}


def arguments(line, folder):
    """Return a command line as a shell would pass it; a task in place becomes a file."""
    found = re.search(r"<\(echo ('.*?')\)", line)
    if found:
        path = folder / "task.yaml"
        path.write_text(shlex.split(found[1])[0])
        line = line.replace(found[0], str(path))
    return shlex.split(line)[1:]


TEXTS = [
    {"length": "3", "n": "7", "p": "0.3"},
    {"length": "2", "n": "10"},
    {"length": "5", "n": "4", "prior": "beta:2,1,1,2"},
    {"length": "3", "states": "3", "n": "3", "prior": "dirichlet:1/2"},
    {"length": "3", "prior": "fixed:0.7,0.3;0.4,0.6"},
    {"length": "3", "proof": "certificate"},
]


@pytest.mark.parametrize("texts", TEXTS, ids=str)
def test_optimum_is_what_its_command_says(capsys, tmp_path, texts):
    outcome = outcome_of(optimum.PAGE, **texts)
    rows = rows_of(outcome, "quantity")
    first, second, _ = optimum.PAGE.command(read(optimum.PAGE, **texts)).splitlines()
    said = answer(capsys, *arguments(first, tmp_path))
    assert rows["enlarged space, f~*"]["value"] == pytest.approx(said["loss"], abs=1e-12)
    entries = [row["value"] for name, row in rows.items() if name.startswith("X[")]
    np.testing.assert_allclose(entries, said["X"], rtol=1e-6, atol=1e-9)
    assert ("**Realizable" in outcome.words) == said["recoverable"]
    best = answer(capsys, *arguments(second, tmp_path))
    loss = best["upper"] if "upper" in best else best["loss"]
    assert rows["one layer, f*"]["value"] == pytest.approx(loss, abs=1e-6)
    assert rows["best constant"]["known"].startswith("exact: ")
    bayes = rows["Bayes"]
    losses = [rows[name]["value"] for name in ("always 0 (E y^2)", "one layer, f*", "enlarged space, f~*")]
    assert losses[0] >= losses[1] >= losses[2] - 1e-12
    assert bayes["value"] <= losses[2] + 5 * (bayes["error"] or 0)


def test_the_bayes_loss_is_that_of_a_fixed_kernel():
    """With one kernel there is nothing to learn: the variance of the next state, in closed form."""
    rows = rows_of(outcome_of(optimum.PAGE, length="2", prior="fixed:0.7,0.3;0.4,0.6", p="0.5"), "quantity")
    exact = 0.5 * 0.7 * 0.3 + 0.5 * 0.4 * 0.6
    assert abs(rows["Bayes"]["value"] - exact) < 6 * rows["Bayes"]["error"]
    assert rows["best constant"]["value"] == pytest.approx(0.55 * 0.45)


def test_a_certificate_is_called_one_and_a_search_is_not():
    proved = rows_of(outcome_of(optimum.PAGE, length="3", proof="certificate"), "quantity")["one layer, f*"]["known"]
    assert proved.startswith("certified: all real (b, A); verified: rational")
    found = rows_of(outcome_of(optimum.PAGE, length="3"), "quantity")["one layer, f*"]["known"]
    assert "upper bound" in found


def test_long_chains_are_slow_and_have_no_search():
    values = read(optimum.PAGE, length="14")
    assert optimum.PAGE.slow(values)
    assert not optimum.PAGE.slow(read(optimum.PAGE, length="6"))
    names = set(rows_of(optimum.PAGE.compute(values, lambda *_: None), "quantity"))
    assert "one layer, f*" not in names
    assert {"always 0 (E y^2)", "enlarged space, f~*", "Bayes"} <= names


def test_without_the_matrix_the_optimum_is_still_no_estimate():
    rows = rows_of(outcome_of(optimum.PAGE, length="16"), "quantity")
    assert rows["enlarged space, f~*"]["known"].startswith("exact: exact up to rounding")
    assert rows["always 0 (E y^2)"]["known"] == "exact: in fractions"
    assert rows["Bayes"]["known"].startswith("estimate: ")


def test_landscape_names_its_minima_and_ends(capsys, tmp_path):
    outcome = outcome_of(landscape.PAGE)
    said = answer(capsys, *arguments(landscape.PAGE.command(read(landscape.PAGE)), tmp_path))
    minima = [row["loss"] for row in outcome.rows if row["what"].startswith("minimum")]
    np.testing.assert_allclose(minima, [one["loss"] for one in said["minima"]], atol=1e-10)
    ends = [row for row in outcome.rows if row["what"].startswith("path")]
    assert len(ends) == 2
    assert all(min(abs(end["loss"] - loss) for loss in minima) < 1e-6 for end in ends)
    held = outcome_of(landscape.PAGE, within="within the section")
    assert len([row for row in held.rows if row["what"].startswith("path")]) == 2


@pytest.mark.parametrize(
    ("texts", "control"),
    [
        ({"second": "9"}, "second"),
        ({"second": "1"}, "second"),
        ({"starts": "30,1"}, "starts"),
        ({"starts": "1,1,1"}, "starts"),
        ({"states": "3", "length": "6"}, "length"),
    ],
)
def test_landscape_refuses_beside_the_control(texts, control):
    with pytest.raises(Refused, match="expected") as refused:
        outcome_of(landscape.PAGE, **texts)
    assert refused.value.control == control


def test_landscape_of_one_minimum_is_cut_through_random_points():
    outcome = outcome_of(landscape.PAGE, length="2", second="0", starts="0.2,0.4")
    assert outcome.words.startswith("**1 local minimum** found")


def test_realizability_is_the_package_s_map(capsys, tmp_path):
    outcome = outcome_of(realizability.PAGE, steps="3", most="8", n="5")
    direct = realizability_map(["1/4", "1/2", "3/4"], range(1, 9))
    shown = [row["realizable"] == "yes" for row in outcome.rows]
    assert shown == direct.realizable.ravel().tolist()
    assert 0 < sum(shown) < len(shown)
    said = answer(
        capsys, *arguments(realizability.PAGE.command(read(realizability.PAGE, steps="3", most="8", n="5")), tmp_path)
    )
    assert shown == np.ravel(said["realizable"]).tolist()
    heat = outcome.pictures[0].figure["data"][0]
    assert heat["customdata"][1][4] == "/optimum?p=0.5&n=5&length=2&prior=uniform"
    assert outcome.links == (("Open p = 0.5, n = 5 on Optimum", "/optimum?p=0.5&n=5&length=2&prior=uniform"),)


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_a_permalink_names_every_value(view):
    for control in view.controls:
        assert control.read(control.write(control.value)) == control.value
        assert control.label


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_commands_exist_with_their_options(view):
    import typer

    from markov_icl.interfaces.cli import app

    group = typer.main.get_command(app)
    for line in view.command(read(view)).splitlines():
        words = shlex.split(re.sub(r"<\(.*?\)(?= |$)", "FILE", line))
        assert words[0] == "markov-icl"
        command, rest = group, words[1:]
        while rest and hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_plain_figures_are_figures():
    """What plotly's own classes accept: the figures are made without them, for speed."""
    go = pytest.importorskip("plotly.graph_objects", reason="the extra web is not installed")
    for view in (optimum.PAGE, landscape.PAGE):
        for picture in as_result(outcome_of(view), 0.0).pictures:
            for dark in (False, True):
                assert go.Figure(themed(picture["figure"], dark)).data


def test_the_page_s_plotly_is_the_installed_one():
    """The bundle in the assets is the smaller build of the version that the figures are checked against."""
    pytest.importorskip("plotly", reason="the extra web is not installed")
    from importlib.resources import files

    from plotly.offline import get_plotlyjs_version

    bundle = files("markov_icl.interfaces.explorer") / "assets" / "plotly" / "plotly-cartesian.min.js"
    assert f"v{get_plotlyjs_version()}" in bundle.read_text(encoding="utf-8")[:200]


def test_numbers_on_cells_stand_out():
    stops = [(share, [int(colour[k : k + 2], 16) for k in (1, 3, 5)]) for share, colour in SIGNED]
    for value in np.linspace(-1, 1, 201):
        place = (value + 1) / 2
        cell = [np.interp(place, [s for s, _ in stops], [c[k] for _, c in stops]) for k in range(3)]
        text = [int(text_on(value)[k : k + 2], 16) for k in (1, 3, 5)]
        assert contrast(text, cell) >= 4.5, value


def test_dark_is_light_with_other_colours():
    figure = {"data": [{"marker": {"color": [INK, PAPER, "#123456"]}}], "layout": {"height": 3}}
    dark = themed(figure, True)
    assert dark["layout"]["height"] == 3
    assert dark["data"][0]["marker"]["color"][2] == "#123456"
    assert INK not in str(dark["data"])
    assert figure["data"][0]["marker"]["color"][0] == INK


@pytest.mark.parametrize("text", ["1,2;3", "1", "a,b", "1,inf", ";".join(["1,2"] * 9)])
def test_points_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        Control("c", "c", "points", (), most=8).read(text)
