"""What a page of the explorer is: controls with values, and one function from values to pictures.

Nothing here knows the web framework's components; a view can be computed and tested without a browser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from markov_icl.progress import Tell

if TYPE_CHECKING:
    import plotly.graph_objects as go

Value = int | float | str | tuple[tuple[float, ...], ...]
Values = Mapping[str, Value]

MAX_TEXT = 400
"""Characters accepted from any one text control or query parameter."""


class Refused(ValueError):  # noqa: N818
    """A value that its control accepts but the view does not; shown beside that control."""

    def __init__(self, control: str, message: str) -> None:
        super().__init__(control, message)
        self.control = control

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True)
class Control:
    """One input of a view: its query parameter, what it accepts, its default.

    ``kind``: ``integer`` and ``real`` are sliders with a number box, ``choice`` a drop-down,
    ``text`` one line, ``points`` a list such as ``0.1,0.2; 0.3,0.4`` that clicks on ``figure`` extend.
    """

    name: str
    label: str
    kind: Literal["integer", "real", "choice", "text", "points"]
    value: Value
    low: float = -math.inf
    high: float = math.inf
    step: float = 1.0
    choices: tuple[str, ...] = ()
    figure: str = ""
    most: int = 20
    help: str = ""

    def read(self, text: str) -> Value:
        """The value that ``text`` (from the page or a permalink) names.

        Raises:
            ValueError: "expected ...; got ..." for the place beside the control.
        """
        shown = text if len(text) <= 40 else text[:40] + "..."
        if len(text) > MAX_TEXT:
            raise ValueError(f"expected at most {MAX_TEXT} characters; got {len(text)}")
        if self.kind == "choice":
            if text not in self.choices:
                raise ValueError(f"expected one of {', '.join(self.choices)}; got {shown!r}")
            return text
        if self.kind == "text":
            return text.strip()
        if self.kind == "points":
            return self._points(text)
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"expected a number; got {shown!r}") from None
        if not math.isfinite(number):
            raise ValueError(f"expected a finite number; got {shown!r}")
        if self.kind == "integer" and number != math.floor(number):
            raise ValueError(f"expected a whole number; got {shown!r}")
        if not self.low <= number <= self.high:
            raise ValueError(f"expected {self.low:g} to {self.high:g}; got {shown!r}")
        return int(number) if self.kind == "integer" else number

    def _points(self, text: str) -> tuple[tuple[float, ...], ...]:
        pieces = [piece for piece in text.split(";") if piece.strip()]
        if len(pieces) > self.most:
            raise ValueError(f"expected at most {self.most} points; got {len(pieces)}")
        try:
            points = tuple(tuple(float(number) for number in piece.split(",")) for piece in pieces)
        except ValueError:
            raise ValueError(f"expected points such as 0.1,0.2; 0.3,0.4; got {text[:40]!r}") from None
        if any(len(point) < 2 or not all(map(math.isfinite, point)) for point in points):
            raise ValueError(f"expected at least two finite coordinates a point; got {text[:40]!r}")
        return points

    def write(self, value: Value) -> str:
        """The text that `read` takes back, for permalinks."""
        if isinstance(value, tuple):
            return "; ".join(",".join(f"{number:.6g}" for number in point) for point in value)
        return f"{value:.12g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Picture:
    """A figure of an outcome. ``alt`` says in words what it shows, for those who do not see it.

    ``figure`` may be plain data, ``{"data": [...], "layout": {...}}``: a Figure takes tens of milliseconds to build.
    """

    name: str
    alt: str
    figure: go.Figure | dict[str, Any]
    title: str = ""
    """Stands above the figure; its name if empty."""
    wide: bool = False
    """Takes a row of its own where others stand side by side."""


@dataclass(frozen=True)
class Outcome:
    """What a view shows for its values: pictures, words (Markdown), and the numbers behind them.

    A point of a figure whose ``customdata`` is a string that starts with ``/`` is a link inside the explorer. A click
    on the figure of a ``points`` control adds the numbers of ``customdata`` there, else x and y; a point that the list
    already has is taken away instead.
    """

    pictures: tuple[Picture, ...]
    words: str
    rows: tuple[dict[str, object], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Pairs (text, address inside the explorer), so that what a click opens can be opened by keyboard."""


def _never(_: Values) -> bool:
    return False


@dataclass(frozen=True)
class View:
    """A page: ``/name``, its controls, the function that computes it, the equivalent command line."""

    name: str
    title: str
    summary: str
    controls: tuple[Control, ...]
    compute: Callable[[Values, Tell], Outcome]
    command: Callable[[Values], str]
    slow: Callable[[Values], bool] = _never
    """Whether these values are computed in the background, with progress and a way to cancel."""
    checks: tuple[Callable[[Values], None], ...] = ()
    fresh: bool = False
    """Whether the outcome depends on more than the values, such as files, so that it is never kept."""

    def refuse(self, values: Values) -> None:
        """Raise ValueError when the values fit their controls but not each other, or ask for too much.

        A :class:`Refused` is shown beside the control it names, any other below the controls.
        """
        for check in self.checks:
            check(values)
