"""The command doctor: what works on this machine, what does not, and the command that repairs it.

It prints plain text and needs only the standard library and typer, so that it can report a broken NumPy.
"""

from __future__ import annotations

import json as json_module
import platform
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from markov_icl import environment, threads
from markov_icl.interfaces.commands.options import Json

__all__ = ["Check", "examine", "register"]

_IMPORTED = ("numpy", "scipy", "numba", "python-flint", "torch")
"""Required packages with compiled parts: doctor imports them, for the others it reads the version."""
_MODULES = {"python-flint": "flint"}
_EXTRAS = {
    "sdp": "certify(..., method='clarabel') in Python, a second solver",
    "dist": "sweep and reproduce on a Ray cluster",
    "hf": "GPT-2 models",
    "moo": "layers --front nsga2",
    "global": "hardness reduce and scaling with SCIP",
    "web": "explore, the interactive page",
    "docs": "make docs",
    "track": "copies of runs for an experiment tracker",
}
_NOT_FOR_USERS = ("", "dev", "all")
_LOW_DISK = 1e9


@dataclass(frozen=True)
class Check:
    """What was found out about one part of the installation.

    Attributes:
        part: heading it stands under.
        name: of the thing.
        status: ``ok``, ``note`` (works, or is optional), or ``broken`` (required and does not work).
        value: what was found.
        advice: what would repair or extend it.
    """

    part: str
    name: str
    status: str
    value: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="doctor")(doctor)


def doctor(json: Json = False) -> None:
    """What works on this machine: packages, threads, memory, GPU, browser, extras, folders, one known result."""
    began = time.monotonic()
    checks = examine()
    broken = [one.name for one in checks if one.status == "broken"]
    seconds = time.monotonic() - began
    if json:
        answer = {"ok": not broken, "broken": broken, "seconds": seconds, "checks": [asdict(one) for one in checks]}
        sys.stdout.write(json_module.dumps(answer, indent=2) + "\n")
    else:
        _print(checks)
        verdict = f"broken: {', '.join(broken)}" if broken else "everything required works"
        sys.stdout.write(f"\n{verdict} ({seconds:.1f} s)\n")
    if broken:
        raise typer.Exit(1)


def examine() -> list[Check]:
    """Run every check; one that fails to run is reported as broken and never raised."""
    looks: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("Required", _required),
        ("Machine", _machine),
        ("Extras", _extras),
        ("Folders", _folders),
        ("Self-check", _known_value),
    )
    checks: list[Check] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of a half-broken package is in its check
        for part, look in looks:
            try:
                checks += look()
            except Exception as error:
                checks.append(Check(part, part.lower(), "broken", _in_one_line(error)))
    return checks


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _required() -> Iterator[Check]:
    system = f"{platform.system()} {platform.machine()}"
    yield Check("Required", "python", "ok", f"{platform.python_version()}, {system}")
    own = environment.package_version("markov-icl")
    if own is None:
        yield Check("Required", "markov-icl", "broken", "not installed", "pip install markov-icl")
        return
    yield Check("Required", "markov-icl", "ok", own)
    least = environment.requirements().get("", {})
    for name in sorted(least, key=lambda name: (name not in _IMPORTED, name)):
        yield _package(name, least[name])


def _package(name: str, least: str) -> Check:
    found = environment.package_version(name)
    mend = f"pip install '{name}>={least}'"
    if found is None:
        return Check("Required", name, "broken", "not installed", mend)
    if _numbers(found) < _numbers(least):
        return Check("Required", name, "broken", f"{found}, older than {least}", mend)
    if name in _IMPORTED:
        try:
            import_module(_MODULES.get(name, name))
        except Exception as error:
            return Check("Required", name, "broken", _in_one_line(error), f"pip install --force-reinstall {name}")
    return Check("Required", name, "ok", found)


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.partition("+")[0].split(".")
    return tuple(int("".join(c for c in part if c.isdecimal()) or 0) for part in parts[:3])


def _machine() -> Iterator[Check]:
    yield Check("Machine", "cores", "ok", f"{len(threads.cores())} usable, {threads.worker_threads()} used at a time")
    memory = environment.memory_bytes()
    if memory is not None:
        yield Check("Machine", "memory", "ok", f"{memory[0] / 1e9:.1f} GB, {memory[1] / 1e9:.1f} GB of it free")
    yield _optional("threads", lambda: ", ".join(f"{k} {v}" for k, v in environment.thread_counts().items()), "", "")
    without = "none: train and optimum --device cuda need one; everything runs without"
    yield _optional("GPU", environment.gpu, without, "")
    install = "install Chromium to run the browser tests of the explorer"
    yield _optional("browser", environment.browser, "none found", install)


def _optional(name: str, look: Callable[[], str | None], without: str, advice: str) -> Check:
    try:
        found = look()
    except Exception as error:
        return Check("Machine", name, "note", _in_one_line(error), advice)
    return Check("Machine", name, "note", without, advice) if found is None else Check("Machine", name, "ok", found)


def _extras() -> Iterator[Check]:
    for extra, packages in environment.requirements().items():
        if extra in _NOT_FOR_USERS:
            continue
        found = {name: environment.package_version(name) for name in packages}
        use = _EXTRAS.get(extra, "")
        if all(found.values()):
            value = ", ".join(f"{name} {version}" for name, version in found.items())
            yield Check("Extras", extra, "ok", f"{value}: {use}" if use else value)
        else:
            yield Check("Extras", extra, "note", f"not installed: {use}", f"pip install 'markov-icl[{extra}]'")


def _folders() -> Iterator[Check]:
    store = environment.data_folder() / "store"
    if environment.is_writable(store):
        yield Check("Folders", "store", "ok", str(store))
    else:
        advice = "set XDG_DATA_HOME to a folder of yours, or give --store"
        yield Check("Folders", "store", "note", f"not writable: {store}", advice)
    free = shutil.disk_usage(environment.existing_parent(store)).free
    status = "ok" if free > _LOW_DISK else "note"
    advice = "" if status == "ok" else "finished runs need room: free some"
    yield Check("Folders", "disk", status, f"{free / 1e9:.1f} GB free", advice)
    code = Path(__file__).parents[2]
    if environment.is_writable(code / "landscape" / "operator" / "__pycache__"):
        yield Check("Folders", "compiled", "ok", "numba keeps compiled code beside the package")
    else:
        advice = "set NUMBA_CACHE_DIR to a folder of yours, or long chains compile again in every process"
        yield Check("Folders", "compiled", "note", "the package's folder is not writable", advice)


def _known_value() -> Iterator[Check]:
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.tasks.prompts import MarkovTask

    began = time.monotonic()
    task = MarkovTask(length=2, context=10)
    exact, floats = (minimizer(task, method) for method in ("rational", "dense"))
    apart = abs(floats.loss - 121 / 342)
    right = str(exact.loss_exact) == "121/342" and apart <= 1e-10
    value = f"f~* = {exact.loss_exact} at length 2, n = 10; in floats {apart:.0e} away"
    wrong = "expected 121/342: please report it with the output of doctor --json"
    took = f" ({time.monotonic() - began:.2f} s)"
    yield Check("Self-check", "known value", "ok" if right else "broken", value + took, "" if right else wrong)


def _print(checks: list[Check]) -> None:
    part: Any = None
    for one in checks:
        if one.part != part:
            part = one.part
            sys.stdout.write(f"\n{part}\n")
        for k, text in enumerate((one.value, one.advice)):
            if text:
                head = f"  {one.status:<7}{one.name:<14}" if k == 0 else f"{'':<23}> "
                sys.stdout.write(textwrap.fill(text, 100, initial_indent=head, subsequent_indent=" " * 25) + "\n")
