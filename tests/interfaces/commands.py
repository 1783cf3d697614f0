"""Commands as a user gives them."""

import json

import pytest

from markov_icl.interfaces.cli import main


def run(capsys, *arguments):
    """Run a command; return its exit code and what it printed on both streams."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return stop.value.code, out.out, out.err


def answer(capsys, *arguments):
    """Run a command that must succeed; return its JSON."""
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)
