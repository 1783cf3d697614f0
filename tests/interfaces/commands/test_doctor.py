"""The command doctor, on this machine and on broken ones."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from markov_icl import environment
from markov_icl.interfaces.commands import doctor as doctor_command
from markov_icl.interfaces.commands.doctor import Check, examine
from tests.interfaces.command_line import cost, run

ROOT = Path(__file__).parents[3]


def doctor(*broken):
    """Run doctor in a process in which the modules ``broken`` cannot be imported."""
    lines = [f"sys.modules[{name!r}] = None" for name in broken]
    code = "\n".join(["import sys", *lines, "from markov_icl.interfaces.cli import main", "main(['doctor', '--json'])"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_a_sound_machine(capsys):
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    assert "everything required works" in out
    assert "f~* = 121/342" in out
    assert "\x1b" not in out
    for part in ("Required", "Machine", "Extras", "Folders", "Self-check"):
        assert f"\n{part}\n" in out
    assert max(map(len, out.splitlines())) <= 100


def test_it_answers_within_three_seconds():
    work, _ = cost("doctor")
    assert work < 3


@pytest.mark.parametrize("broken", ["numpy", "scipy", "torch", "flint"])
def test_a_broken_package_is_named_and_nothing_is_raised(broken):
    code, answer = doctor(broken)
    assert code == 1
    assert not answer["ok"]
    name = {"flint": "python-flint"}.get(broken, broken)
    assert name in answer["broken"]
    check = next(one for one in answer["checks"] if one["name"] == name)
    assert check["status"] == "broken"
    assert "pip install" in check["advice"]


def test_a_missing_or_old_package(monkeypatch):
    versions = {"numpy": None, "scipy": "1.2.3", "torch": "99.1.0+cpu"}
    found = environment.package_version
    monkeypatch.setattr(environment, "package_version", lambda name: versions.get(name, found(name)))
    checks = {one.name: one for one in examine()}
    assert (checks["numpy"].status, checks["numpy"].value) == ("broken", "not installed")
    assert checks["scipy"].value.startswith("1.2.3, older than")
    assert checks["torch"].status == "ok"
    assert checks["known value"].status == "ok"


def test_a_wrong_result_is_broken(monkeypatch):
    from markov_icl.landscape import minimizer as module
    from markov_icl.tasks.prompts import MarkovTask

    true = module.minimizer
    monkeypatch.setattr(module, "minimizer", lambda _, method: true(MarkovTask(length=2, context=11), method))
    check = next(one for one in examine() if one.part == "Self-check")
    assert check.status == "broken"
    assert "please report it" in check.advice


def test_a_look_that_fails_is_a_check(monkeypatch, capsys):
    def burst():
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(doctor_command, "_folders", burst)
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (1, "")
    assert "broken folders       RuntimeError: no such thing" in out


def test_what_is_optional_does_not_break(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "browser", lambda: None)
    monkeypatch.setattr(environment, "gpu", lambda: None)
    monkeypatch.setattr(environment, "is_writable", lambda _: False)
    monkeypatch.setattr(
        environment, "requirements", lambda: {"": {}, "web": {"no-such-package": "1"}, "hf": {"numpy": "2"}}
    )
    checks = {one.name: one for one in examine()}
    assert {one.status for one in checks.values()} == {"ok", "note"}
    assert checks["web"].advice == "pip install 'markov-icl[web]'"
    assert checks["hf"].status == "ok"
    assert "XDG_DATA_HOME" in checks["store"].advice
    assert "NUMBA_CACHE_DIR" in checks["compiled"].advice
    assert checks["GPU"].value.startswith("none:")
    assert "Chromium" in checks["browser"].advice


def test_the_store_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    checks = {one.name: one for one in examine()}
    assert checks["store"] == Check("Folders", "store", "ok", str(tmp_path / "data" / "markov-icl" / "store"))
    assert list(tmp_path.iterdir()) == []  # looked at, not made


def test_every_extra_for_users_has_its_use_in_words():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - set(doctor_command._NOT_FOR_USERS)
    assert extras <= set(doctor_command._EXTRAS)


def test_facts_about_the_machine():
    total, free = environment.memory_bytes()
    assert 0 < free <= total
    assert set(environment.thread_counts()) == {"BLAS", "numba", "torch"}
    assert environment.package_version("no-such-package") is None
    assert environment.requirements()[""]["numpy"] == "2.2"
    assert environment.existing_parent(Path("/nowhere/at/all")) == Path("/")
