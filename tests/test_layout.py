"""Data flows one way, no two files need each other, and looking at the help costs nothing."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import markov_icl

ROOMS = [
    "choices",
    "environment",
    "files",
    "memory",
    "threads",
    "progress",
    "rationals",
    "features",
    "tasks",
    "moments",
    "landscape",
    "recovery",
    "hardness",
    "models",
    "depth",
    "analysis",
    "experiments",
    "interfaces",
]
HEAVY = {"torch", "matplotlib", "numba", "sympy", "polars", "sklearn", "transformers", "networkx", "pymoo", "pyscipopt"}
PACKAGE = Path(markov_icl.__file__).parent
MOST_FILES, MOST_LINES = 20, 370


def sources(folder):
    """All Python files below a folder of the package, compiled ones and assets left out."""
    return sorted(path for path in (PACKAGE / folder).rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules():
    return {name_of(path): path for path in sources(".")}


def imports(path):
    """Every module of the package that a file imports: in functions, under TYPE_CHECKING and by bare name too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@cache
def imported(path):
    return {name for name in imports(path) if name.split(".")[0] == "markov_icl"}


def room_of(name):
    """The room of a module; the top of the package, which knows every verb, is the last one."""
    return "interfaces" if name == "markov_icl" else name.split(".")[1]


def offences(rooms):
    for room in rooms:
        allowed = set(ROOMS[: ROOMS.index(room) + 1])
        if room in ("models", "depth"):
            allowed -= {"recovery", "hardness"}
        for path in sources(room) or [PACKAGE / f"{room}.py"]:
            yield from ((name_of(path), name) for name in sorted(imported(path)) if room_of(name) not in allowed)


def circles():
    """Modules that lie on a circle of imports."""
    edges = {name: imported(path) & modules().keys() - {name} for name, path in modules().items()}
    edges.pop("markov_icl")  # its imports under TYPE_CHECKING are its table of contents
    while True:
        needed = set().union(*edges.values())
        ends = [name for name, targets in edges.items() if name not in needed or not targets & edges.keys()]
        if not ends:
            return sorted(edges)
        for name in ends:
            del edges[name]


def test_every_room_is_known():
    found = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_one_above_it(room):
    assert list(offences([room])) == []


def test_no_two_files_need_each_other():
    assert circles() == []


def test_what_a_reader_trusts_imports_no_search():
    for path in sources("recovery/certificate"):
        reached, names = set(), [name_of(path)]
        while names:
            name = names.pop()
            if name in modules() and name not in reached:
                reached.add(name)
                names += imported(modules()[name])
        searching = ("markov_icl.recovery.solver", "markov_icl.recovery.search", "markov_icl.recovery.heads")
        assert not {name for name in reached if name.startswith(searching)}, path


@pytest.mark.parametrize("folder", sorted({path.parent for path in sources(".")}), ids=lambda path: path.name)
def test_folders_and_files_stay_small(folder):
    files = [path for path in sources(".") if path.parent == folder]
    assert len(files) <= MOST_FILES
    assert [path.name for path in files if len(path.read_text().splitlines()) > MOST_LINES] == []


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
