"""Completion in bash, zsh and fish, asked as the shells ask."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from markov_icl import choices
from markov_icl.experiments.registry import FIGURES

PROGRAM = [sys.executable, "-m", "markov_icl"]
SHELLS = ("bash", "zsh", "fish")


def complete(shell, line):
    """Return what ``shell`` is offered at the end of ``line``."""
    words = line.split(" ")
    asked = {"_MARKOV_ICL_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    asked |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(PROGRAM, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    if shell == "zsh":
        return re.findall(r'^(?:_arguments \'\*: :\(\()?"([^"]+)"', done.stdout, re.MULTILINE)
    return [row.partition("\t")[0] for row in done.stdout.split("\n") if row]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("markov-icl opt", ["optimum"]),
        ("markov-icl hardness ", ["separability", "reduce", "independent-set", "scaling"]),
        ("markov-icl optimum --meth", ["--method"]),
        ("markov-icl optimum --method r", ["rational"]),
        ("markov-icl reproduce fig1", ["fig10"]),
        ("markov-icl nearest --norm e", ["euclidean"]),
        ("markov-icl bench sam", ["sampling"]),
        ("markov-icl train --model so", ["softmax"]),
        ("markov-icl sweep --device a", ["auto"]),
        ("markov-icl hardness reduce --placement w", ["working"]),
    ],
)
def test_commands_options_and_values(shell, line, offered):
    assert complete(shell, line) == offered


WORDS = {
    "markov-icl reproduce ": (*FIGURES, "all"),
    "markov-icl train --optimizer ": (*choices.OPTIMIZERS, *choices.POPULATION_OPTIMIZERS),
    "markov-icl train --precision ": ("32", "64"),
    "markov-icl evaluate --predictors bayes,": [f"bayes,{name}" for name in choices.PREDICTORS],
    "markov-icl optimum --prior ": ("uniform", "beta:", "dirichlet:", "finite:", "fixed:"),
    "markov-icl optimum --initial ": ("uniform", "bernoulli:", "pmf:", "stationary", "correlated:"),
}


@pytest.mark.parametrize("line", WORDS)
def test_words_that_are_put_together(line):
    assert sorted(complete("bash", line)) == sorted(WORDS[line])


def test_graphs_are_offered_by_name():
    assert complete("bash", "markov-icl hardness independent-set --graph pet") == ["petersen"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell(shell):
    asked = os.environ | {"_MARKOV_ICL_COMPLETE": f"source_{shell}"}
    done = subprocess.run(PROGRAM, env=asked, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in done.stdout
    assert "markov-icl" in done.stdout
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_bash_itself_completes(tmp_path):
    """A real bash loads the script, and its completion function answers."""
    assert shutil.which("bash") is not None
    program = tmp_path / "markov-icl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m markov_icl "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_MARKOV_ICL_COMPLETE=source_bash markov-icl)"; '
        "COMP_WORDS=(markov-icl optimum --method d); COMP_CWORD=3; "
        '_markov_icl_completion markov-icl; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "dense"


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_the_shell_above_is_found(tmp_path, option):
    """Both options ask which shell started them; the second writes below the home folder only."""
    command = f"{sys.executable} -m markov_icl {option}; exit $?"
    done = subprocess.run(
        ["bash", "--norc", "-c", command], env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    written = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    if option == "--show-completion":
        assert "complete_bash" in done.stdout
        assert written == []
    else:
        assert written == [".bashrc", "markov-icl.sh"]
