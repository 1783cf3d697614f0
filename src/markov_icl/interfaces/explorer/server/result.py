"""What a page computed, as plain data: ready for another process or the browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markov_icl.interfaces.explorer.view import Outcome

__all__ = ["Result", "as_result"]


@dataclass(frozen=True)
class Result:
    """An outcome as plain data, ready for another process or the page."""

    pictures: tuple[dict[str, Any], ...]
    words: str
    rows: tuple[dict[str, Any], ...]
    links: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def size(self) -> int:
        """Return the bytes that its JSON takes."""
        return len(json.dumps([self.pictures, self.words, self.rows, self.links]))


def as_result(outcome: Outcome, seconds: float) -> Result:
    """Turn figures and numbers into plain data."""
    from markov_icl.interfaces.output import to_json

    pictures = tuple(
        {
            "name": one.name,
            "title": one.title or one.name.capitalize(),
            "alt": one.alt,
            "wide": one.wide,
            "figure": _plain_figure(one.figure),
        }
        for one in outcome.pictures
    )
    rows = tuple({str(key): to_json(value) for key, value in row.items()} for row in outcome.rows)
    return Result(pictures, outcome.words, rows, outcome.links, seconds)


def _plain_figure(figure: Any) -> dict[str, Any]:
    from markov_icl.interfaces.output import to_json

    plain: dict[str, Any] = to_json(figure) if isinstance(figure, dict) else json.loads(figure.to_json())
    return plain
