"""Commands that look at the landscape: slices, map."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Memory, Source, answering, with_task
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="slices")(with_task(answering(slices)))
    app.command(name="map")(with_task(answering(map_command)))


def slices(
    source: Source,
    coordinates: Annotated[
        str | None,
        typer.Option("--coordinates", help="One-based, such as 1,2,5; the first six if not given."),
    ] = None,
    radius: Annotated[float, typer.Option("--radius", help="Half-width of each slice.")] = 1.0,
    points: Annotated[int, typer.Option("--points", min=3, max=10_001, help="Points on a slice.")] = 81,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The population loss along coordinates of X, the minimizer marked (Fig. 10)."""
    from markov_icl.interfaces.plots.optimum import plot_slices
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.landscape.slices import coordinate_slices

    chosen = None if coordinates is None else [_whole(text) - 1 for text in coordinates.split(",")]
    with bar("moments") as tell:
        form = minimizer(source.task, memory=memory, progress=tell)
    result = coordinate_slices(form, chosen, radius, points)
    rows = [
        (label, place, result.loss, losses[0], losses[-1])
        for label, place, losses in zip(result.labels, result.minimizer, result.losses, strict=True)
    ]
    header = ("coordinate", "minimizer", "loss there", f"loss at -{radius:g}", f"loss at +{radius:g}")
    data = {**result.__dict__, "coordinates": [c + 1 for c in result.coordinates]}
    return Answer(data, [Table("Slices of the loss", rows, header)], lambda: plot_slices(result))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected whole numbers separated by commas; got {text!r:.40}") from None


def map_command(
    source: Source,
    p: Annotated[
        str | None, typer.Option("--p", help="Start probabilities, such as 1/10,1/2; a grid if not given.")
    ] = None,
    contexts: Annotated[str | None, typer.Option("--contexts", help="Context sizes; a grid if not given.")] = None,
) -> Answer:
    """Where transformer parameters reach the optimum: the exact discriminant over (p, n) at length 2."""
    from markov_icl.analysis.realizability import realizability_map
    from markov_icl.interfaces.plots.optimum import plot_map

    extra = sorted(set(source.given) - {"prior", "length", "states", "order"})
    if source.data is not None or extra:
        raise ValueError(f"expected only --prior beside map, which scans p and n; got --{(extra or ['sequences'])[0]}")
    if (source.task.states, source.task.order, source.task.length) != (2, 1, 2):
        raise ValueError("expected 2 states, order 1 and length 2 for the map; got another task")
    grid = [Fraction(i, 50) for i in range(1, 50)] if p is None else [text.strip() for text in p.split(",")]
    sizes = list(range(1, 41)) if contexts is None else [_whole(text) for text in contexts.split(",")]
    with bar("points") as tell:
        result = realizability_map(grid, sizes, source.task.prior, tell)
    data = {
        **pick(result, "p", "n", "realizable", "loss", "formula_error"),
        "discriminant": result.discriminant.astype(float),
        "discriminant_exact": result.discriminant,
        "formula_b": result.b,
        "formula_A": result.A,
    }
    header = ("n", "reached", "p", f"b2 of Theorem 3.3 at p = {result.p[len(result.p) // 2]}")
    table = Table("Start probabilities whose optimum real parameters reach", _map_rows(result), header)
    return Answer(data, [table], lambda: plot_map(result))


def _map_rows(result: Any) -> list[tuple[object, ...]]:
    half = len(result.p) // 2
    rows: list[tuple[object, ...]] = []
    for n, reached, b2 in zip(result.n, result.realizable.T, result.b[half, :, 1], strict=True):
        inside = [p for p, yes in zip(result.p, reached, strict=True) if yes]
        span = f"{float(min(inside)):.4g} .. {float(max(inside)):.4g}" if inside else "none"
        missing = "none: X1 = 0" if reached[half] else "not real"  # the formula divides by X1
        rows.append((n, f"{len(inside)} of {len(result.p)}", span, missing if b2 != b2 else f"{b2:.6g}"))
    return rows
