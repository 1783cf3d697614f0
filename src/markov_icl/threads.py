"""How many threads to work with.

Small matrices are slower with several BLAS threads, hundreds of times so when the machine is shared.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

__all__ = ["blas_threads", "worker_threads"]

_ONE_THREAD_UP_TO = 1500


def blas_threads(size: int) -> AbstractContextManager[object]:
    """Return a context in which matrices of order ``size`` are worked on by one BLAS thread if that is faster."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas") if size <= _ONE_THREAD_UP_TO else nullcontext()


def worker_threads() -> int:
    """Return the number of cores this process may use, or fewer if ``OMP_NUM_THREADS`` says so.

    Numba is not asked: its answer starts its own threads, which change those of torch.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(cores, int(wish))) if wish.isdecimal() else cores
