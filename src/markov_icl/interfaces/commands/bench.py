"""The command bench: a fast path beside the plain one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from markov_icl.choices import BENCHMARKS, unknown
from markov_icl.interfaces.commands.options import answering, completion
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="bench")(answering(bench, picture=False))


def bench(
    name: Annotated[str, typer.Argument(help=f"{' | '.join(BENCHMARKS)}.", autocompletion=completion(BENCHMARKS))],
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=1000, help="Turns of each arm; medians are shown.")] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Most threads; the benchmark's own choice if none.")
    ] = None,
) -> Answer:
    """Time a fast path beside the plain way of doing the same, on this machine, in one run."""
    from markov_icl.environment import environment
    from markov_icl.experiments.benchmarks.benchmarks import TIMED

    if name not in BENCHMARKS:
        raise unknown("a benchmark of", name, BENCHMARKS)
    with bar("bench") as tell:
        tell(None, name)
        rows = _timed(TIMED[name], repeat, threads)
    shown = [
        (
            row.case,
            _amount(row.fast, row.unit),
            _amount(row.literal, row.unit),
            "-" if row.ratio is None else f"{row.ratio:.3g}",
            row.note,
        )
        for row in rows
    ]
    first = pick(rows[0], "case", "fast", "literal", "ratio", "unit")
    table = Table(f"Benchmark {name}", shown, ("case", "fast", "plain", "ratio", "note"))
    return Answer({**first, "rows": rows, "environment": environment()}, [table])


def _timed(benchmark: Any, repeat: int, threads: int | None) -> list[Any]:
    from inspect import signature

    if threads is None:
        return list(benchmark(repeat=repeat))
    if "threads" not in signature(benchmark).parameters:
        raise ValueError("expected --threads only beside sampling, train-step or population; got another benchmark")
    return list(benchmark(repeat=repeat, threads=threads))


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"
