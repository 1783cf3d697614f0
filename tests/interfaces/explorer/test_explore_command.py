"""The command that serves the page: what it says when it cannot, and that it leaves nothing running."""

import builtins
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.interfaces.command_line import run


def test_a_port_in_use_is_one_line(capsys):
    pytest.importorskip("dash", reason="the extra web is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run(capsys, "explore", "--no-browser", "--port", taken.getsockname()[1])
    assert code == 2
    assert err.startswith("markov-icl: error: expected a free port on this machine; got 127.0.0.1:")
    assert err.count("\n") == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "256.1.1.1"])
def test_an_address_that_is_none_is_one_line(capsys, host):
    pytest.importorskip("dash", reason="the extra web is not installed")
    code, _, err = run(capsys, "explore", "--no-browser", "--host", host)
    assert code == 2
    assert "expected a free port on this machine" in err


def test_a_missing_extra_says_what_to_install(capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "dash":
            raise ModuleNotFoundError("No module named 'dash'", name="dash")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = run(capsys, "explore", "--no-browser")
    assert code == 2
    assert "pip install 'markov-icl[web]'" in err


def _heed_interrupts():
    """A shell starts background jobs with SIGINT ignored, and they hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to(how):
    pytest.importorskip("dash", reason="the extra web is not installed")
    command = [sys.executable, "-m", "markov_icl", "explore", "--port", "0", "--no-browser"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_heed_interrupts
    ) as server:
        try:
            assert server.stdout.readline().startswith("explorer: http://127.0.0.1:")
            server.send_signal(how)
            _, err = server.communicate(timeout=20)
        finally:
            server.kill()
    assert "Traceback" not in err
    assert server.returncode in (0, 130)
