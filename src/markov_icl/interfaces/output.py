"""What a command answers, and the ways to show it: one JSON object, or tables and lines, and a picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markov_icl.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Answer",
    "Table",
    "check_target",
    "pick",
    "print_json",
    "print_table",
    "save_figure",
    "show",
    "to_json",
]

_PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Table:
    """A table to print.

    Attributes:
        title: above it.
        rows: of cells, in the order of the header.
        header: names of the columns.
    """

    title: str
    rows: Sequence[Sequence[object]]
    header: Sequence[str] = ("", "")


@dataclass(frozen=True)
class Answer:
    """What a command found, in every form that it can be shown in.

    Attributes:
        data: the object that ``--json`` prints; see :func:`to_json` for what may stand in it.
        words: the tables and lines that are printed otherwise.
        picture: draws what ``--plot`` writes; None if there is no picture.
    """

    data: Mapping[str, Any]
    words: Sequence[Table | str]
    picture: Callable[[], Figure] | None = None


def show(answer: Answer, json: bool = False, plot: Path | None = None) -> None:
    """Write the picture, then print the answer as one JSON object or in words."""
    if plot is not None:
        if answer.picture is None:
            raise ValueError(f"expected no --plot, since this answer has no picture; got {plot.name!r}")
        save_figure(answer.picture(), plot)
    if json:
        print_json(answer.data)
        return
    for one in answer.words:
        if isinstance(one, Table):
            print_table(one.title, one.header, one.rows)
        else:
            sys.stdout.write(f"{one}\n")
    if plot is not None:
        sys.stdout.write(f"picture: {plot}\n")


def pick(result: Any, *names: str) -> dict[str, Any]:
    """Return these attributes by their names."""
    return {name: getattr(result, name) for name in names}


def to_json(value: Any) -> Any:
    """Turn results into plain JSON: dataclasses to objects, arrays to lists, fractions to text, infinities to null."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return [to_json(v) for v in value.tolist()]
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if is_dataclass(value) and type(value).__str__ is object.__str__:  # others, such as surds, say themselves
        return to_json({one.name: getattr(value, one.name) for one in fields(value)})
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(dumps(to_json(value), indent=2, allow_nan=False) + "\n")


def print_table(title: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table that is readable without colour; numbers keep all their columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(v) for v in row))
    console = Console(highlight=False, markup=False)
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):  # NumPy's is one, too
        return f"{value:.10g}"
    if isinstance(value, Fraction):
        text = str(value)
        return text if len(text) <= 24 else f"{float(value):.10g}"
    return str(value)


def check_target(path: Path | None, suffixes: tuple[str, ...] = _PICTURES) -> None:
    """Refuse a file that could not be written, before any work is done; None is no file.

    Raises:
        ValueError: for an unknown ending or a folder that is missing or not writable.
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"expected a file ending in {', '.join(suffixes)}; got {path.name!r}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise ValueError(f"expected a writable folder for {path.name!r}; got {str(path.parent)!r}")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending decides the format."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")
