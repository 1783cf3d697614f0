"""Work of more than a second shows on a terminal, and only there."""

import io
import os
import pty
import subprocess
import sys
import time

import pytest
from rich.console import Console

from markov_icl.interfaces import output

REPORTS_LATE = """
import time
from markov_icl.interfaces import output
with output.{kind}("work") as tell:
    tell({first})
    time.sleep({seconds})
print("done")
"""


def on_a_terminal(kind, first, seconds):
    """Run a silent piece of work with stderr on a terminal; return what stood there."""
    ours, theirs = pty.openpty()
    code = REPORTS_LATE.format(kind=kind, first=first, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    assert process.stdout.read() == b"done\n"
    process.stdout.close()
    os.close(ours)
    return seen.decode()


@pytest.mark.parametrize(("kind", "first"), [("progress_bar", "0.25, 'a part'"), ("status_line", "'a part'")])
def test_silent_work_shows_after_a_second(kind, first):
    assert "a part" in on_a_terminal(kind, first, 1.6)
    assert on_a_terminal(kind, first, 0.0) == ""


@pytest.mark.parametrize("kind", [output.progress_bar, output.status_line])
def test_nothing_is_written_where_nobody_looks(kind, capsys, monkeypatch):
    monkeypatch.setattr(output, "_QUIET_SECONDS", 0.01)
    with kind("work"):
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [output.progress_bar, output.status_line])
def test_the_line_goes_when_the_work_fails(kind, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(output, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=screen, force_terminal=True))
    with pytest.raises(ValueError, match="expected"), kind("work"):  # noqa: PT012
        time.sleep(0.1)
        raise ValueError("expected")
    assert "work" in screen.getvalue()
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is back
