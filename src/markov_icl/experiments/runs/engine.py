"""Who computes runs: this process, joblib's workers or a Ray cluster, always with the same rows.

A run is a pure function of its spec and works in one thread, so nothing depends on who computes it or how many
others there are. Only the process that called :func:`run_all` writes to the store: workers may sit on machines that
do not see it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

from markov_icl.choices import ENGINES, unknown
from markov_icl.experiments.registry import EXPERIMENTS, experiment
from markov_icl.experiments.runs.finished import outdated
from markov_icl.experiments.runs.points import FinishedRun, Point
from markov_icl.experiments.runs.spec import Spec, code_of, run_key
from markov_icl.experiments.runs.store import Store
from markov_icl.progress import Progress, Tell, shown
from markov_icl.threads import worker_threads

__all__ = ["AllRuns", "compute", "run_all"]

_DEATHS, _POLL_SECONDS = 3, 0.3
"""Dead workers in a row without a finished run that end the work; wait where others compute what is left."""
_WATCH, _WATCH_SECONDS = "markov-icl parent", 1.0


@dataclass(frozen=True, eq=False)
class AllRuns:
    """Finished runs.

    Attributes:
        outcomes: one a spec, in the order of the specs.
        keys: their names in the store.
        computed: how many this call computed; the others were in the store or came from a process beside this one.
        seconds: wall time of the call.
    """

    outcomes: tuple[FinishedRun, ...]
    keys: tuple[str, ...]
    computed: int
    seconds: float


@dataclass(frozen=True)
class _Done:
    key: str
    points: tuple[Point, ...]
    seconds: float
    failure: str | None


class _WorkerDied(Exception):  # noqa: N818
    """A worker process ended before its run did."""


def compute(spec: Spec) -> tuple[Point, ...]:
    """Return the rows of one run, computed here and now, in one thread.

    Raises:
        ValueError: for an unknown experiment, or one that cannot be computed.
    """
    with _one_thread():
        return experiment(spec.experiment).compute(spec)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of floats depend on how they are split over threads; one thread is also what a core is for."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _work(key: str, spec: Spec) -> _Done:
    began = time.perf_counter()
    try:
        points, failure = compute(spec), None
    except Exception as error:
        points, failure = (), f"{type(error).__name__}: {error}"
    return _Done(key, points, time.perf_counter() - began, failure)


def _work_in_child(key: str, spec: Spec, parent: int) -> _Done:
    """Do a run in a worker process that ends with its parent: joblib's own would stay, busy or idle, for minutes.

    The parent says who it is: by the time a worker has started, it may be gone.
    """
    if not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=_WATCH, daemon=True).start()
    return _work(key, spec)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def run_all(
    specs: Sequence[Spec],
    store: Store,
    workers: int | None = None,
    engine: str = "loky",
    address: str | None = None,
    progress: Progress = False,
) -> AllRuns:
    """Compute what the store lacks and return everything.

    Runs that another process computes meanwhile in the same store are waited for, not computed twice. A worker that
    dies costs the runs it was at, which are done again.

    Args:
        specs: different ones.
        store: opened for writing.
        workers: runs at a time; None means one a core. With one worker and joblib this process does the work.
        engine: one of :data:`markov_icl.choices.ENGINES`.
        address: of the Ray cluster; None starts one on this machine.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for an unfit argument, runs that fail (all others are computed first), workers that keep dying,
            or a store that cannot be written.
    """
    if engine not in ENGINES:
        raise unknown("an engine,", engine, ENGINES)
    if address is not None and engine != "ray":
        raise ValueError("expected an address only beside engine ray")
    if workers is not None and workers < 1:
        raise ValueError(f"expected at least 1 worker; got {workers}")
    began = time.perf_counter()
    keys = [run_key(spec, code_of(EXPERIMENTS[experiment(spec.experiment).name])) for spec in specs]
    with shown(progress, "runs") as tell:
        queue = _Queue(dict(zip(keys, specs, strict=True)), store, tell)
        if queue.pending:
            _say_why(queue, tell)
        _drain(queue, workers, engine, address)
    if queue.failures:
        key, text = next(iter(queue.failures.items()))
        part = queue.specs[key].part
        raise ValueError(f"expected {len(keys)} runs to finish; got {len(queue.failures)} that failed, such as "
                         f"{part} (seed {queue.specs[key].seed}): {text}")  # fmt: skip
    outcomes = tuple(store.read(key) for key in keys)
    return AllRuns(outcomes, tuple(keys), queue.computed, time.perf_counter() - began)


def _say_why(queue: _Queue, tell: Tell) -> None:
    """Note the runs of the same names that are not taken, since another version of the code computed them."""
    wanted = {(s.experiment, s.part, s.scale, s.seed) for key, s in queue.specs.items() if key in queue.pending}
    records = queue.store.records()
    why = outdated(one for one in records if (one.experiment, one.part, one.scale, one.seed) in wanted)
    if why:
        queue.store.notes.append(why)
        tell(None, why)


def _drain(queue: _Queue, workers: int | None, engine: str, address: str | None) -> None:
    """Compute until nothing is pending: go on after a worker died, wait for what another process computes."""
    deaths = 0
    while queue.pending:
        before = len(queue.pending)
        try:
            for done in _results(queue.claimed(), workers, engine, address):
                queue.keep(done)
        except _WorkerDied as death:
            deaths = 0 if len(queue.pending) < before else deaths + 1
            if deaths == _DEATHS:
                raise ValueError(f"expected workers that live; got {deaths} deaths without a finished run: {death} "
                                 "(out of memory?)") from None  # fmt: skip
        else:
            if len(queue.pending) == before:
                time.sleep(_POLL_SECONDS)
        finally:
            queue.release()


class _Queue:
    """Runs that are still to be done, and what became of the others."""

    def __init__(self, specs: dict[str, Spec], store: Store, tell: Tell) -> None:
        self.specs, self.store, self.tell = specs, store, tell
        self.pending = dict.fromkeys(key for key in specs if not store.finished(key))
        self.failures: dict[str, str] = {}
        self.computed = 0
        self.claims: dict[str, ExitStack] = {}
        self._told()

    def claimed(self) -> Iterator[tuple[str, Spec]]:
        """Yield the pending runs that nobody else is at, each claimed until it is kept or all are released."""
        for key in list(self.pending):
            self.claims[key] = ExitStack()
            mine = self.claims[key].enter_context(self.store.claim(key))
            if mine and not self.store.finished(key):
                yield key, self.specs[key]
                continue
            self.claims.pop(key).close()
            if self.store.finished(key):
                self._remove(key)

    def release(self) -> None:
        """Give up every claim."""
        while self.claims:
            self.claims.popitem()[1].close()

    def keep(self, done: _Done) -> None:
        """Write a run to the store."""
        if done.failure is None:
            spec = self.specs[done.key]
            self.store.write(spec, code_of(EXPERIMENTS[spec.experiment]), done.points, done.seconds)
            self.computed += 1
        else:
            self.failures[done.key] = done.failure
        self._remove(done.key)

    def _remove(self, key: str) -> None:
        self.pending.pop(key, None)
        if key in self.claims:
            self.claims.pop(key).close()
        self._told()

    def _told(self) -> None:
        done, total = len(self.specs) - len(self.pending), len(self.specs)
        self.tell(done / max(total, 1), f"{done} of {total} runs")


def _results(
    tasks: Iterator[tuple[str, Spec]], workers: int | None, engine: str, address: str | None
) -> Iterator[_Done]:
    if engine == "ray":
        return _on_ray(tasks, workers, address)
    count = worker_threads() if workers is None else workers
    return (_work(key, spec) for key, spec in tasks) if count == 1 else _on_loky(tasks, count)


def _on_loky(tasks: Iterator[tuple[str, Spec]], workers: int) -> Iterator[_Done]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = Parallel(
        workers, backend="loky", batch_size=1, pre_dispatch=workers, return_as="generator_unordered", max_nbytes=None
    )
    try:
        yield from pool(delayed(_work_in_child)(key, spec, os.getpid()) for key, spec in tasks)
    except BrokenProcessPool as error:
        raise _WorkerDied(" ".join(str(error).split())[:120]) from None


def _on_ray(tasks: Iterator[tuple[str, Spec]], workers: int | None, address: str | None) -> Iterator[_Done]:
    """Joblib's Ray backend returns whole batches, so batches are as small as the cluster allows: a run a worker."""
    from joblib import Parallel, delayed, parallel_config

    ray = require_ray()
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            where = "on this machine" if address is None else f"at {address!r}"
            raise ValueError(f"expected a Ray cluster {where}; got: {' '.join(str(error).split())[:120]}") from None
    count = int(ray.cluster_resources().get("CPU", 1)) if workers is None else workers
    with parallel_config(backend="ray", n_jobs=count):
        while batch := list(islice(tasks, count)):
            try:
                yield from Parallel(batch_size=1)(delayed(_work)(key, spec) for key, spec in batch)
            except ray.exceptions.RayError as error:
                raise _WorkerDied(" ".join(str(error).split())[:120]) from None


def require_ray() -> Any:
    """Return the package ray, its joblib backend registered.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        ray = import_module("ray")
        import_module("ray.util.joblib").register_ray()
    except ImportError:
        raise ValueError("expected the package ray; install it with: pip install 'markov-icl[dist]'") from None
    return ray
