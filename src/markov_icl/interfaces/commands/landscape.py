"""Commands that look at the landscape: slices, map."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

import typer

from markov_icl.interfaces.commands.options import Json, Memory, Plot, Source, with_task

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="slices")(with_task(slices))
    app.command(name="map")(with_task(map_command))


def slices(
    source: Source,
    coordinates: Annotated[
        str | None,
        typer.Option("--coordinates", help="One-based, such as 1,2,5; the first six if not given."),
    ] = None,
    radius: Annotated[float, typer.Option("--radius", help="Half-width of each slice.")] = 1.0,
    points: Annotated[int, typer.Option("--points", min=3, max=10_001, help="Points on a slice.")] = 81,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The population loss along coordinates of X, the minimizer marked (Fig. 10)."""
    from markov_icl.interfaces import output
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.landscape.slices import coordinate_slices

    output.check_target(plot)
    chosen = None if coordinates is None else [_whole(part) - 1 for part in coordinates.split(",")]
    with output.progress_bar("moments") as progress:
        form = minimizer(source.task, memory=memory, progress=progress)
    result = coordinate_slices(form, chosen, radius, points)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_slices

        output.save_figure(plot_slices(result), plot)
    if json:
        output.print_json({**result.__dict__, "coordinates": [c + 1 for c in result.coordinates]})
        return
    rows = [
        (result.labels[c], result.minimizer[c], result.loss, result.losses[c, 0], result.losses[c, -1])
        for c in range(len(result.coordinates))
    ]
    header = ("coordinate", "minimizer", "loss there", f"loss at -{radius:g}", f"loss at +{radius:g}")
    output.print_table("Slices of the loss", header, rows)


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
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Where transformer parameters reach the optimum: the exact discriminant over (p, n) at length 2."""
    from markov_icl.analysis.realizability import realizability_map
    from markov_icl.interfaces import output

    extra = sorted(set(source.given) - {"prior", "length", "states", "order"})
    if source.data is not None or extra:
        raise ValueError(f"expected only --prior beside map, which scans p and n; got --{(extra or ['sequences'])[0]}")
    if (source.task.states, source.task.order, source.task.length) != (2, 1, 2):
        raise ValueError("expected 2 states, order 1 and length 2 for the map; got another task")
    output.check_target(plot)
    grid = [Fraction(i, 50) for i in range(1, 50)] if p is None else [part.strip() for part in p.split(",")]
    sizes = list(range(1, 41)) if contexts is None else [_whole(part) for part in contexts.split(",")]
    with output.progress_bar("points") as progress:
        result = realizability_map(grid, sizes, source.task.prior, progress)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_map

        output.save_figure(plot_map(result), plot)
    if json:
        output.print_json(
            {
                "p": result.p,
                "n": result.n,
                "discriminant": result.discriminant.astype(float),
                "discriminant_exact": result.discriminant,
                "realizable": result.realizable,
                "loss": result.loss,
                "formula_b": result.b,
                "formula_A": result.A,
                "formula_error": result.formula_error,
            }
        )
        return
    yes = result.realizable
    rows = []
    half = len(result.p) // 2
    for k, n in enumerate(result.n):
        reached = [result.p[i] for i in range(len(result.p)) if yes[i, k]]
        span = f"{float(min(reached)):.4g} .. {float(max(reached)):.4g}" if reached else "none"
        b2 = result.b[half, k, 1]
        missing = "none: X1 = 0" if yes[half, k] else "not real"  # the formula divides by X1
        rows.append((n, f"{len(reached)} of {len(result.p)}", span, missing if b2 != b2 else f"{b2:.6g}"))
    header = ("n", "reached", "p", f"b2 of Theorem 3.3 at p = {result.p[half]}")
    output.print_table("Start probabilities whose optimum real parameters reach", header, rows)
