"""What commands print and write: JSON, tables, pictures, progress."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "check_target",
    "print_json",
    "print_table",
    "progress_bar",
    "residual_bar",
    "save_figure",
    "status_line",
    "to_json",
]

_PICTURES = (".png", ".svg", ".pdf")
_QUIET_SECONDS = 1.0


def to_json(value: Any) -> Any:
    """Turn results into plain JSON: arrays to lists, fractions to strings, infinities to null."""
    if isinstance(value, np.ndarray):
        return [to_json(v) for v in value.tolist()]
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(to_json(value), indent=2, allow_nan=False) + "\n")


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
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    if isinstance(value, Fraction):
        text = str(value)
        return text if len(text) <= 24 else f"{float(value):.10g}"
    return str(value)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[..., None]]:
    """Yield a callback for the finished share and a word beside it; a bar appears on a terminal after one second."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
    task = bar.add_task(label, total=1.0)

    def update(share: float | None, words: str = "") -> None:
        bar.update(task, completed=share or 0.0, description=f"{label} {words}".strip())

    with _after_a_second(bar):
        yield update


@contextmanager
def _after_a_second(shown: Any) -> Iterator[None]:
    """Start ``shown`` on a terminal unless the work ends before; also if the work never reports."""
    started = False

    def start() -> None:
        nonlocal started
        shown.start()
        started = True

    timer = Timer(_QUIET_SECONDS, start)
    timer.daemon = True
    if shown.console.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()
        if started:
            shown.stop()


def residual_bar(update: Callable[..., None]) -> Callable[[int, float], None]:
    """Return a callback for iterations of a linear solver, shown by the decades of their relative residual."""

    def tell(iteration: int, relative: float) -> None:
        share = min(max(-np.log10(max(relative, 1e-300)) / 11, 0.0), 1.0)
        update(float(share), f"{iteration}, residual {relative:.0e}")

    return tell


@contextmanager
def status_line(label: str) -> Iterator[Callable[[str], None]]:
    """Yield a callback for one line of text that replaces itself, on a terminal after one second."""
    from rich.console import Console

    status = Console(file=sys.stderr).status(label)

    def update(text: str) -> None:
        status.update(f"{label}: {text}")

    with _after_a_second(status):
        yield update


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
