"""Data flows one way, and looking at the help costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import markov_icl

ROOMS = [
    "choices",
    "environment",
    "files",
    "threads",
    "features",
    "tasks",
    "moments",
    "landscape",
    "recovery",
    "hardness",
    "models",
    "depth",
    "experiments",
    "interfaces",
]
HEAVY = {"torch", "matplotlib", "numba", "sympy", "polars", "sklearn", "transformers", "networkx", "pymoo", "pyscipopt"}
PACKAGE = Path(markov_icl.__file__).parent


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("markov_icl."))


def test_every_folder_is_a_known_room():
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"} <= set(ROOMS)


@pytest.mark.parametrize("room", [p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"])
def test_no_room_imports_one_below_it(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    if room in ("models", "depth"):
        allowed -= {"recovery", "hardness"}
    for path in (PACKAGE / room).glob("*.py"):
        assert set(imported_rooms(path)) <= allowed, path


@pytest.mark.parametrize("arguments", [["-c", "import markov_icl"], ["-m", "markov_icl", "--help"]])
def test_start_loads_nothing_heavy(arguments):
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "markov_icl" in loaded
    assert not loaded & HEAVY


def test_public_verbs_exist():
    assert list(markov_icl.__all__) == sorted(markov_icl.__all__)
    for name in markov_icl.__all__:
        assert getattr(markov_icl, name).__doc__
        assert callable(getattr(markov_icl, name))  # a room of the same name would hide the verb
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = markov_icl.nonsense
