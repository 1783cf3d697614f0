"""The command bench: a fast path beside the plain one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from markov_icl.choices import unknown
from markov_icl.interfaces.commands.options import Json, completion

__all__ = ["register"]

_BENCHMARKS = (
    "minimizer",
    "rational",
    "recovery",
    "certify",
    "long-chains",
    "startup",
    "sampling",
    "train-step",
    "population",
)
"""The names in :mod:`markov_icl.experiments.benchmarks.benchmarks`, which is too heavy to import for the help."""


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="bench")(bench)


def bench(
    name: Annotated[
        str,
        typer.Argument(help=f"{' | '.join(_BENCHMARKS)}.", autocompletion=completion(_BENCHMARKS)),
    ],
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=1000, help="Turns of each arm; medians are shown.")] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Most threads; the benchmark's own choice if none.")
    ] = None,
    json: Json = False,
) -> None:
    """Time a fast path beside the plain way of doing the same, on this machine, in one run."""
    from dataclasses import asdict

    from markov_icl.environment import environment
    from markov_icl.experiments.benchmarks.benchmarks import BENCHMARKS
    from markov_icl.interfaces import output

    if name not in BENCHMARKS:
        raise unknown("a benchmark of", name, BENCHMARKS)
    with output.status_line("bench") as show:
        show(name)
        rows = _timed(BENCHMARKS[name], repeat, threads)
    if json:
        first = {k: getattr(rows[0], k) for k in ("case", "fast", "literal", "ratio", "unit")}
        output.print_json({**first, "rows": [asdict(row) for row in rows], "environment": environment()})
        return
    table = [
        (
            r.case,
            _amount(r.fast, r.unit),
            _amount(r.literal, r.unit),
            "-" if r.ratio is None else f"{r.ratio:.3g}",
            r.note,
        )
        for r in rows
    ]
    output.print_table(f"Benchmark {name}", ("case", "fast", "plain", "ratio", "note"), table)


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
