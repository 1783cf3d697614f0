"""The command ladder: the losses of one task, from knowing nothing down to Bayes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from markov_icl.interfaces.commands.options import Json, Memory, Plot, Seed, Source, TimeLimit, with_task

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="ladder")(with_task(ladder))


def ladder(
    source: Source,
    prompts: Annotated[
        int, typer.Option("--prompts", min=2, max=1_000_000, help="Fresh prompts to estimate Bayes on.")
    ] = 20_000,
    time_limit: TimeLimit = 60.0,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The losses of a task as one ladder: always 0, one certified layer, the enlarged optimum, Bayes."""
    from markov_icl.analysis.ladder import ladder as compute
    from markov_icl.interfaces import output

    output.check_target(plot)
    with output.status_line("ladder") as show:
        tell = lambda _share, words: show(words)  # noqa: E731
        result = compute(source.task, prompts, time_limit=time_limit, seed=seed, memory=memory, progress=tell)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_ladder

        output.save_figure(plot_ladder(result), plot)
    if json:
        rungs = [one.__dict__ for one in result.rungs]
        output.print_json({"rungs": rungs, "price_of_real_parameters": result.price, "notes": result.notes})
        return
    rows = [
        (one.name, one.loss, f"± {one.error:.1g}" if one.error else "", f"{one.kind}: {one.note}")
        for one in result.rungs
    ]
    output.print_table("Ladder of losses", ("", "loss", "", "this number is"), rows)
    sys.stdout.write(f"real parameters cost at least {result.price:.3g} beside f~*\n")
    for note in result.notes:
        sys.stdout.write(f"note: {note}\n")
