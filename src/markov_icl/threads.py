"""How many threads linear algebra may use.

Small matrices are slower with several BLAS threads, hundreds of times so when the machine is shared.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

__all__ = ["blas_threads", "one_blas_thread"]

_ONE_THREAD_UP_TO = 1500


def blas_threads(size: int) -> AbstractContextManager[object]:
    """Return a context in which matrices of order ``size`` are worked on by one BLAS thread if that is faster."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas") if size <= _ONE_THREAD_UP_TO else nullcontext()


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which every caller's BLAS has one thread, so that it does not fight the caller's own."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
