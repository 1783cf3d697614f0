"""Help, examples and panels: what a newcomer reads."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from markov_icl.interfaces.catalogue import EXAMPLES, PANELS
from markov_icl.interfaces.cli import app
from markov_icl.tasks.spec import TaskSpec
from tests.interfaces.command_line import cost, run

ROOT = Path(__file__).parents[2]
ONLY_PARSED = {
    "reproduce": "half a minute of training",
    "report": "a minute: every claim and figure",
    "explore": "serves until it is stopped",
}


def commands(group=None, above=()):
    """Every command of the application with its words, groups included."""
    group = typer.main.get_command(app) if group is None else group
    for name, one in group.commands.items():
        yield (*above, name), one
        if hasattr(one, "commands"):
            yield from commands(one, (*above, name))


COMMANDS = dict(commands())
NAMES = [" ".join(words) for words in COMMANDS]


def without_frames(text):
    return " ".join(re.sub(r"[╭╮╰╯│─]", " ", text).split())


@pytest.mark.parametrize("name", NAMES)
def test_every_help_has_a_sentence_options_and_an_example(capsys, name):
    code, out, err = run(capsys, *name.split(), "--help")
    assert (code, err) == (0, "")
    assert name in EXAMPLES, f"{name}: give it a panel and an example in interfaces/catalogue.py"
    shown = without_frames(out)
    assert f"Example: {EXAMPLES[name]}" in shown
    assert "Options" in shown
    sentence = COMMANDS[tuple(name.split())].help.strip()
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert sentence[0].isupper()


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_understood(name):
    words = shlex.split(EXAMPLES[name])
    assert words[0] == "markov-icl"
    assert " ".join(words[1:]).startswith(name)
    command, rest = typer.main.get_command(app), words[1:]
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, rest[0]
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(words[-1], list(rest))
    assert context.args == []


@pytest.mark.usefixtures("newcomer")
def test_every_cheap_example_runs(capsys):
    for name, line in EXAMPLES.items():
        if name not in NAMES or name in ONLY_PARSED:
            continue
        code, out, err = run(capsys, *shlex.split(line)[1:])
        assert code == 0, f"{line}: {err}"
        assert out, line
        assert err == "", line


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A fresh home, and the repository's examples in the current folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path / "here")


def test_the_panels_of_the_front_page(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    places = [out.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    for panel, names in PANELS.items():
        start = out.index(f"─ {panel} ─")
        listed = re.findall(r"^│ (\S+)", out[start : out.index("╰", start)], re.MULTILINE)
        assert listed == [name for name in names if " " not in name and name in NAMES]


def test_the_help_of_a_task_shows_its_defaults(capsys):
    _, out, _ = run(capsys, "optimum", "--help")
    shown = without_frames(out)
    for name in ("states", "order", "length", "context", "prior", "initial"):
        default = TaskSpec.model_fields[name].default
        assert re.search(rf"--{name} [^\[]*\[default: {default}\]", shown), name


def test_the_front_page_is_quick_and_light():
    work, _ = cost("--help")
    assert work < 0.5
    code = "import json, sys; from markov_icl.interfaces import cli; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic"} & set(json.loads(loaded.stdout))


@pytest.mark.parametrize("group", [[], ["hardness"], ["runs"]])
def test_no_command_is_answered_with_the_help(capsys, group):
    code, out, err = run(capsys, *group)
    assert code == 2
    assert "Usage: markov-icl" in out
    assert err == "markov-icl: error: expected a command; got none\n"
