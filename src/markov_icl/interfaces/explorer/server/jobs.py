"""Slow work in processes of its own: progress, one computation a session, a bound on all, an end at any moment.

Dash's background callbacks fork a server that has threads, through a second multiprocessing library, and keep pickles
in a cache on disk. Here a process is spawned, stays warm between jobs, and is ended when its job is cancelled.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.server.result import Result, as_result
from markov_icl.interfaces.explorer.view import Refused, Value

if TYPE_CHECKING:
    from markov_icl.interfaces.explorer.view import View

__all__ = ["Failed", "Jobs", "Running"]

ViewSource = Callable[[], "tuple[View, ...]"]
"""A function that a fresh process can import (or a partial of one), which returns the views."""

_ABANDONED = 15.0
"""Seconds without a question after which a job's page is gone."""
_LONGEST = 900.0
"""Seconds after which a job is ended."""
_REPORTS = 0.1
"""Least seconds between two reports of progress."""


@dataclass(frozen=True)
class Running:
    """A computation that goes on: the share done, and a few words."""

    share: float
    words: str


@dataclass(frozen=True)
class Failed:
    """A computation that ended without a result."""

    error: ValueError


class _Worker:
    """A spawned process that computes one job after another."""

    def __init__(self, views: ViewSource) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, views), daemon=True)
        self.process.start()
        theirs.close()

    def end(self) -> None:
        self.process.terminate()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(2)
        self.pipe.close()


@dataclass
class _Job:
    key: tuple[Any, ...]
    worker: _Worker
    began: float
    asked: float
    state: Running | Failed | Result = Running(0.0, "starting")


class Jobs:
    """The computations of all sessions; safe to call from several threads."""

    def __init__(self, views: ViewSource, most: int = 2) -> None:
        """Work with at most ``most`` processes on the views that ``views()`` returns in each of them."""
        self._views = views
        self._most = most
        self._jobs: dict[str, _Job] = {}
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._sweep, daemon=True).start()

    def state(
        self, session: str, key: tuple[Any, ...], view: str, values: Mapping[str, Value]
    ) -> Running | Failed | Result:
        """Return how far the session's job is; another key ends the last job and starts this one.

        A finished job is forgotten once its result has been asked for.

        Raises:
            ValueError: if every process is busy for other sessions.
        """
        with self._lock:
            job = self._jobs.get(session)
            if job is not None and job.key != key:
                self._drop(session)
                job = None
            now = time.monotonic()
            if job is None:
                job = self._jobs[session] = _Job(key, self._free_worker(), now, now)
                job.worker.pipe.send((view, dict(values)))
            job.asked = now
            self._listen(job)
            if not isinstance(job.state, Running):
                self._drop(session)
            return job.state

    def stop(self, session: str) -> None:
        """End the session's job, if there is one."""
        with self._lock:
            self._drop(session)

    def close(self) -> None:
        """End every process."""
        self._closed.set()
        with self._lock:
            for session in list(self._jobs):
                self._drop(session)
            while self._idle:
                self._idle.pop().end()

    def _free_worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end()
        if len(self._jobs) >= self._most:
            raise ValueError(
                f"expected at most {self._most} long computations at a time; got another "
                "(wait for one of the other pages, or cancel it there)"
            )
        return _Worker(self._views)

    def _drop(self, session: str) -> None:
        job = self._jobs.pop(session, None)
        if job is None:
            return
        if isinstance(job.state, Running) or not job.worker.process.is_alive():
            job.worker.end()
        else:
            self._idle.append(job.worker)

    def _listen(self, job: _Job) -> None:
        try:
            while isinstance(job.state, Running) and job.worker.pipe.poll():
                job.state = job.worker.pipe.recv()
        except (EOFError, OSError):
            job.state = Failed(ValueError("expected the computation to finish; its process ended (out of memory?)"))
        if isinstance(job.state, Running) and time.monotonic() - job.began > _LONGEST:
            job.worker.end()
            job.state = Failed(ValueError(f"expected at most {_LONGEST:.0f} s; got a longer computation"))

    def _sweep(self) -> None:
        while not self._closed.wait(2.0):
            with self._lock:
                late = time.monotonic() - _ABANDONED
                for session in [name for name, job in self._jobs.items() if job.asked < late]:
                    self._drop(session)


def _work(pipe: Connection, views: ViewSource) -> None:
    """Answer jobs until the other end is closed; never print."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    known = {view.name: view for view in views()}
    while True:
        try:
            name, values = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        began = last = time.perf_counter()
        known_share = 0.0

        def tell(share: float | None, words: str) -> None:
            nonlocal last, known_share
            now = time.perf_counter()
            if now - last >= _REPORTS:
                last, known_share = now, known_share if share is None else min(max(share, 0.0), 1.0)
                pipe.send(Running(known_share, words[:200]))

        try:
            outcome = known[name].compute(values, tell)
            answer: Any = as_result(outcome, time.perf_counter() - began)
        except (ValueError, MemoryError) as error:
            answer = Failed(_plain(error))
        except KeyboardInterrupt:
            return
        except Exception as error:  # what a view gets wrong must not reach the page as a traceback
            answer = Failed(ValueError(f"internal error: {type(error).__name__} (please report it)"))
        try:
            pipe.send(answer)
        except OSError:
            return


def _end_with_server() -> None:
    """End this process when the server has ended without a word."""
    server = multiprocessing.parent_process()
    if server is not None:
        server.join()
        os._exit(0)


def _plain(error: Exception) -> ValueError:
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return ValueError("expected a smaller task; got one that does not fit in memory")
    return ValueError(str(error))
