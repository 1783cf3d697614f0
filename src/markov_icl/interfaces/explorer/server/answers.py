"""From the text of a request to an outcome: values read, refused, computed at once or in the background, kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from markov_icl.interfaces.explorer.server.jobs import Failed, Jobs, Running
from markov_icl.interfaces.explorer.server.result import Result, as_result
from markov_icl.interfaces.explorer.view import MAX_TEXT, Refused, Value, View

__all__ = ["Answer", "Answers"]

_MOST_QUERY = 8_000
_KEPT_BYTES = 64_000_000
_KEPT_RESULTS = 200
_QUICK_WAIT = 10.0
"""Seconds a request waits for its turn before it is told that the server is busy."""


@dataclass(frozen=True)
class Answer:
    """What one request is told.

    Attributes:
        query: the permalink's query, without its question mark; None when a value is refused.
        command: the equivalent command line.
        errors: message by control; the empty name is for the controls together.
        result: None when it is refused or still being computed.
        running: the share done and a few words, while it is computed.
    """

    query: str | None = None
    command: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    result: Result | None = None
    running: tuple[float, str] | None = None


class Answers:
    """Answers the requests of all sessions; safe to call from several threads."""

    def __init__(self, views: Sequence[View], jobs: Jobs) -> None:
        self.views = {view.name: view for view in views}
        self.jobs = jobs
        self._kept: OrderedDict[tuple[Any, ...], tuple[Result, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._quick = threading.Lock()

    def warm(self) -> None:
        """Compute the first page's defaults, so that its first reader does not wait for imports and compilers."""
        view = next(iter(self.views.values()))
        self.answer(view, {}, "0" * 8)

    def texts(self, view: View, query: str) -> dict[str, str]:
        """Return what each control shows for a permalink: its default where the query does not name it.

        Unknown names are ignored and a repeated one counts once, the last time.
        """
        given = dict(parse_qsl(query.removeprefix("?")[:_MOST_QUERY], keep_blank_values=True, max_num_fields=100))
        default = {control.name: control.write(control.value) for control in view.controls}
        return {name: given.get(name, text)[: MAX_TEXT + 1] for name, text in default.items()}

    def answer(self, view: View, texts: Mapping[str, str], session: str, cancel: bool = False) -> Answer:
        """Answer one request of a session.

        Args:
            view: the page.
            texts: what its controls say, by name; one that is missing has its default.
            session: whose computation this is; a new one takes the place of the session's last.
            cancel: stop what is being computed for the session instead.
        """
        try:
            return self._answered(view, texts, session, cancel)
        except Exception as error:  # a view's mistake is one line on its page, never a traceback
            return Answer(errors={"": f"internal error: {type(error).__name__} (please report it)"})

    def _answered(self, view: View, texts: Mapping[str, str], session: str, cancel: bool) -> Answer:
        values, errors = _read(view, texts)
        if errors:
            self.jobs.stop(session)
            return Answer(errors=errors)
        query = _query(view, values)
        try:
            command = view.command(values)
            view.refuse(values)
        except ValueError as error:
            self.jobs.stop(session)
            return Answer(errors=_beside(error))
        if cancel:
            self.jobs.stop(session)
            return Answer(query, command, errors={"": "Cancelled; change a value to compute again."})
        key = view.name, *sorted(values.items())
        result = None if view.fresh else self._recall(key)
        if result is not None:
            self.jobs.stop(session)
            return Answer(query, command, result=result)
        try:
            if view.slow(values):
                state = self.jobs.state(session, key, view.name, values)
                if isinstance(state, Running):
                    return Answer(query, command, running=(state.share, state.words))
                if isinstance(state, Failed):
                    return Answer(errors=_beside(state.error))
                result = state
            else:
                self.jobs.stop(session)
                result = self._compute(view, values)
        except ValueError as error:
            return Answer(errors=_beside(error))
        if not view.fresh:
            self._keep(key, result)
        return Answer(query, command, result=result)

    def _compute(self, view: View, values: Mapping[str, Value]) -> Result:
        if not self._quick.acquire(timeout=_QUICK_WAIT):
            raise ValueError("expected a free moment; got a busy server (try again)")
        try:
            began = time.perf_counter()
            outcome = view.compute(values, lambda share, words: None)  # noqa: ARG005
            return as_result(outcome, time.perf_counter() - began)
        finally:
            self._quick.release()

    def _recall(self, key: tuple[Any, ...]) -> Result | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def _keep(self, key: tuple[Any, ...], result: Result) -> None:
        size = result.size
        with self._lock:
            self._bytes += size - self._kept.pop(key, (result, 0))[1]
            self._kept[key] = result, size
            while len(self._kept) > _KEPT_RESULTS or self._bytes > _KEPT_BYTES:
                self._bytes -= self._kept.popitem(last=False)[1][1]


def _read(view: View, texts: Mapping[str, str]) -> tuple[dict[str, Value], dict[str, str]]:
    """Return every value, and a message for each control whose text names none."""
    values: dict[str, Value] = {}
    errors = {}
    for control in view.controls:
        text = texts.get(control.name)
        try:
            values[control.name] = control.value if text is None else control.read(text)
        except ValueError as error:
            errors[control.name] = str(error)
    return values, errors


def _query(view: View, values: Mapping[str, Value]) -> str:
    """Return the shortest query that restores the values: those that differ from the defaults."""
    named = {c.name: c.write(values[c.name]) for c in view.controls}
    return urlencode({c.name: named[c.name] for c in view.controls if named[c.name] != c.write(c.value)}, safe=",:;/")


def _beside(error: ValueError) -> dict[str, str]:
    return {error.control if isinstance(error, Refused) else "": " ".join(str(error).split())[:400]}
