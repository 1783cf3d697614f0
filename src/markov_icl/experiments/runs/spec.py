"""What is to be run, as data: the same spec and the same code give the same rows, so a run has a name of its own."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markov_icl.choices import SCALES, unknown
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.spec import task_from_header, task_to_dict

__all__ = ["Code", "Spec", "code_of", "flat", "run_key", "spec_from_dict"]

_WORDS_ONLY = "choices.py"  # a new word changes no row
_BY_NAME = "models"  # checkpoint.py imports models by the name of their kind, which the syntax tree does not show


@dataclass(frozen=True, eq=False)
class Spec:
    """One unit of work: one point of a figure and one seed.

    Attributes:
        experiment: a key of :data:`markov_icl.experiments.registry.EXPERIMENTS`, which says how it is computed.
        part: which curve or point of the experiment.
        task: law of the prompts.
        model: kind and constructor arguments, plain JSON; empty where nothing is trained.
        training: recipe, plain JSON; empty where nothing is trained.
        settings: all other numbers that decide the rows, plain JSON.
        seed: of every random choice.
        scale: one of :data:`markov_icl.choices.SCALES`; only a label, the numbers are in the fields above.

    Raises:
        ValueError: for an unknown scale, a negative seed, or fields that are not plain JSON.
    """

    experiment: str
    part: str
    task: Task
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    scale: str = "quick"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown("a scale,", self.scale, SCALES)
        if self.seed < 0:
            raise ValueError(f"expected seed >= 0; got {self.seed}")
        for name in ("model", "training", "settings"):
            try:
                plain = json.loads(json.dumps(getattr(self, name), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"expected {name} of plain JSON; got {error}") from None
            object.__setattr__(self, name, plain)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, exact: ``spec_from_dict(spec.to_dict()) == spec``."""
        own = {name: getattr(self, name) for name in ("experiment", "part", "model", "training", "settings")}
        return own | {"task": task_to_dict(self.task), "seed": self.seed, "scale": self.scale}

    @property
    def text(self) -> str:
        """Return the canonical JSON, with sorted keys, no spaces, shortest decimals."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)


def spec_from_dict(data: Mapping[str, Any]) -> Spec:
    """Return the spec that :meth:`Spec.to_dict` wrote.

    Raises:
        ValueError: if fields are missing or malformed.
    """
    try:
        own = {**data, "task": task_from_header(data["task"])}
        return Spec(**own)
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected the fields of a spec; got {error}") from None


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Return the leaves of nested mappings as text, by names such as ``training.rate``."""
    if isinstance(value, Mapping) and value:
        inner = ((f"{name}.{key}" if name else str(key), one) for key, one in value.items())
        return {place: text for key, one in inner for place, text in flat(one, key).items()}
    return {name: str(value)}


@dataclass(frozen=True)
class Code:
    """Which code computes a spec.

    Attributes:
        version: of the package.
        digest: SHA-256 of the source files that the experiment's module imports, itself and indirect ones included,
            and of every file of ``models``; :mod:`markov_icl.choices`, which is words alone, is left out.
        files: how many they are.
    """

    version: str
    digest: str
    files: int


@lru_cache(maxsize=64)
def code_of(module: str) -> Code:
    """Return the code behind ``markov_icl.experiments.{module}``.

    Imports are read from the syntax trees, those inside functions included, so a change elsewhere in the package (a
    plot, another figure) does not make finished runs stale. Versions of NumPy and torch are not part of it: they
    stand in each run's ``environment.json``.

    Raises:
        ValueError: if there is no such module.
    """
    root = Path(__file__).parents[2]
    first = root.joinpath("experiments", *module.split(".")).with_suffix(".py")
    if not module.replace(".", "_").isidentifier() or not first.is_file():
        raise ValueError(f"expected a module of markov_icl.experiments; got {module!r:.60}")
    found: set[Path] = set()
    open_files = [first, *sorted((root / _BY_NAME).glob("*.py"))]
    while open_files:
        path = open_files.pop()
        if path not in found:
            found.add(path)
            open_files += _imported(path, root)
    total = hashlib.sha256()
    for path in sorted(found):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return Code(version("markov-icl"), total.hexdigest(), len(found))


@lru_cache(maxsize=1024)
def _imported(path: Path, root: Path) -> tuple[Path, ...]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    places = [root.parent.joinpath(*name.split(".")) for name in names if name.split(".")[0] == "markov_icl"]
    files = [place.with_suffix(".py") for place in places]
    return tuple(file for file in files if file.is_file() and file.name != _WORDS_ONLY)


def run_key(spec: Spec, code: Code) -> str:
    """Return 20 hexadecimal digits that name a run: equal for equal specs computed by equal code."""
    return hashlib.sha256(f"{spec.text}\n{code.version}\n{code.digest}".encode()).hexdigest()[:20]
