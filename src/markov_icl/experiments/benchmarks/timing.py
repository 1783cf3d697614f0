"""Timing two ways to one result, which take turns.

Machines are shared and noisy: each number is a median, and the ratio is what to quote.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Benchmark", "compare", "rates", "seconds_of", "turns"]


@dataclass(frozen=True)
class Benchmark:
    """One case.

    Attributes:
        case: what was timed.
        fast: of the package's path, in ``unit``.
        literal: of the plain way, in ``unit``; None if there is none.
        ratio: how many times the fast path is faster.
        unit: ``seconds``, or something a second.
        note: what else is worth knowing.
        length: states in a chain, where cost grows with it.
    """

    case: str
    fast: float
    literal: float | None
    ratio: float | None
    unit: str
    note: str = ""
    length: int | None = None


def turns(calls: tuple[Callable[[], object], Callable[[], object]], repeat: int) -> tuple[float, float]:
    """Return the median seconds of two calls that take turns, after one unmeasured round."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat + 1):
        for kept, call in zip(times, calls, strict=True):
            began = time.perf_counter()
            call()
            if turn > 0:
                kept.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def rates(case: str, amount: int, unit: str, fast: float, literal: float, note: str = "") -> Benchmark:
    """Return how much work a second both ways do, from the seconds they take for an amount of it."""
    return Benchmark(case, amount / fast, amount / literal, literal / fast, unit, note)


def seconds_of(call: Callable[[], object], repeat: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def compare(
    case: str,
    fast: Callable[[], object],
    literal: Callable[[], object] | None,
    repeat: int,
    note: str = "",
    length: int | None = None,
) -> Benchmark:
    """Return the seconds of a fast path, and of the plain way if there is one."""
    if literal is None:
        return Benchmark(case, seconds_of(fast, repeat), None, None, "seconds", note, length)
    mine, theirs = turns((fast, literal), repeat)
    return Benchmark(case, mine, theirs, theirs / mine, "seconds", note, length)
