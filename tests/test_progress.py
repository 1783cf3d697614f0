"""Work of more than a second shows where somebody looks, and only there."""

import io
import os
import pty
import subprocess
import sys
import time

import pytest
from rich.console import Console

from markov_icl import progress
from markov_icl.progress import bar, part, shown

TELLS_ONCE = """
import time
from markov_icl.progress import bar
with bar("work") as tell:
    tell({share}, "a part")
    time.sleep({seconds})
print("done")
"""


def on_a_terminal(share, seconds):
    """Run a silent piece of work with stderr on a terminal; return what stood there."""
    ours, theirs = pty.openpty()
    code = TELLS_ONCE.format(share=share, seconds=seconds)
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


@pytest.mark.parametrize("share", [0.25, None])
def test_silent_work_shows_after_a_second(share):
    seen = on_a_terminal(share, 1.6)
    assert "work a part" in seen
    assert ("25%" in seen) == (share is not None)
    assert on_a_terminal(share, 0.0) == ""


def test_nothing_is_written_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.01)
    with bar("work") as tell:
        tell(0.5, "half")
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def screen(monkeypatch):
    """A terminal that is looked at from the beginning."""
    seen = io.StringIO()
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=seen, force_terminal=True))
    return seen


def test_the_line_goes_when_the_work_fails(screen):
    with pytest.raises(ValueError, match="expected"), bar("work"):  # noqa: PT012
        time.sleep(0.1)
        raise ValueError("expected")
    assert "work" in screen.getvalue()
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is back


def test_a_share_that_nobody_knows_pulses(screen):
    with bar("work") as tell:
        tell(0.5, "")
        tell(None, "on and on")
        time.sleep(0.1)
    assert "work on and on" in screen.getvalue()
    assert "50%" not in screen.getvalue()


def test_who_asks_is_told(screen):
    news = []
    with shown(lambda *one: news.append(one), "work") as tell:
        tell(0.5, "half")
    assert news == [(0.5, "half")]
    with shown(False, "work") as tell:
        tell(0.5, "half")
    assert screen.getvalue() == ""
    with shown(True, "work"):
        time.sleep(0.1)
    assert "work" in screen.getvalue()


def test_a_part_tells_shares_of_the_whole():
    news = []
    tell = part(lambda *one: news.append(one), 0.5, 0.75)
    for share in (0.0, 0.5, 1.0, 2.0, -1.0, None):
        tell(share, "words")
    assert [share for share, _ in news] == [0.5, 0.625, 0.75, 0.75, 0.5, None]
    assert {words for _, words in news} == {"words"}
