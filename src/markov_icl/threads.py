"""How many threads to work with.

Small matrices are slower with several BLAS threads, hundreds of times so when the machine is shared.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from threading import Lock

__all__ = ["blas_threads", "cores", "one_blas_thread", "thread_pool", "worker_threads"]

_ONE_THREAD_UP_TO = 1500


def blas_threads(size: int) -> AbstractContextManager[object]:
    """Return a context in which matrices of order ``size`` are worked on by one BLAS thread if that is faster."""
    return one_blas_thread() if size <= _ONE_THREAD_UP_TO else nullcontext()


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which every caller's BLAS has one thread, so that it does not fight the caller's own."""
    from threadpoolctl import threadpool_limits

    context: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return context


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def worker_threads() -> int:
    """Return the number of cores this process may use, or fewer if ``OMP_NUM_THREADS`` says so.

    Numba is not asked: its answer starts its own threads, which change those of torch.
    """
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(len(cores()), int(wish))) if wish.isdecimal() else len(cores())


def thread_pool(threads: int | None = None) -> ThreadPoolExecutor:
    """Return a pool whose threads have a core each: some machines leave new threads on the core of their parent.

    Deal it more pieces of work than threads, so that a core that is busy elsewhere gets fewer of them.
    """
    usable = cores()
    turns, lock = cycle(usable), Lock()

    def settle() -> None:
        with lock:
            core = next(turns)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})

    return ThreadPoolExecutor(threads or len(usable), initializer=settle)
