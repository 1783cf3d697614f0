"""How far a computation is, said in one way: the finished share, where it is known, and a few words.

Every verb that may take seconds has an argument ``progress``: False for silence, True for a bar on a terminal or in
a notebook, or a function of ``(share, words)``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, TypeAlias

__all__ = ["Progress", "Tell", "bar", "part", "shown"]

Tell: TypeAlias = Callable[[float | None, str], None]
"""Called with the finished share, 0 to 1 or None where nobody knows it, and a few words."""
Progress: TypeAlias = bool | Tell
"""What a verb takes: whether to draw a bar, or who wants to know."""

_QUIET_SECONDS = 1.0
"""Shorter work shows nothing: a bar that flashes up is noise."""
_A_DAY = 86_400.0
"""The speed is the mean over so many seconds: one step may take an hour."""


@contextmanager
def shown(progress: Progress, label: str) -> Iterator[Tell]:
    """Yield the function that a verb tells its progress to, whatever its caller asked for."""
    if progress is True:
        with bar(label) as tell:
            yield tell
    else:
        yield progress or _nobody


def _nobody(share: float | None, words: str) -> None:
    """Tell nobody."""


def part(tell: Tell, low: float, high: float) -> Tell:
    """Return what a part of the work tells: its own shares, 0 to 1, are shares ``low`` to ``high`` of the whole."""

    def told(share: float | None, words: str) -> None:
        tell(None if share is None else low + (high - low) * min(max(share, 0.0), 1.0), words)

    return told


@contextmanager
def bar(label: str) -> Iterator[Tell]:
    """Yield what draws a bar on standard error, where somebody looks and after one second."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *times)
    console = Console(file=sys.stderr)
    drawn = Progress(*columns, console=console, transient=True, speed_estimate_period=_A_DAY)
    task = drawn.add_task(label, total=None)

    def tell(share: float | None, words: str) -> None:
        total = None if share is None else 1.0
        drawn.update(task, total=total, completed=share or 0.0, description=f"{label} {words}".strip())

    with _after_a_second(drawn):
        yield tell


@contextmanager
def _after_a_second(drawn: Any) -> Iterator[None]:
    """Start drawing unless the work ends before, also if the work never tells anything."""
    started = False

    def start() -> None:
        nonlocal started
        drawn.start()
        started = True

    timer = Timer(_QUIET_SECONDS, start)
    timer.daemon = True
    if drawn.console.is_terminal or drawn.console.is_jupyter:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()
        if started:
            drawn.stop()
