"""Commands as a user gives them."""

import json
import resource
import subprocess
import sys
import time

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


def cost(*arguments):
    """Run the command in a process of its own; return its seconds of work and by the clock, the least of three.

    The clock also counts what others do on this machine, so limits are set to the work.
    """

    def once():
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "markov_icl", *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return work, time.perf_counter() - began

    work, wall = min(once() for _ in range(3))
    print(f"{' '.join(arguments)}: {work:.2f} s of work, {wall:.2f} s by the clock")
    return work, wall
