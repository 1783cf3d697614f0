"""The command ladder: the losses of one task, from knowing nothing down to Bayes."""

from __future__ import annotations

import typer

from markov_icl.interfaces.commands.options import Memory, Prompts, Seed, Source, TimeLimit, answering, with_task
from markov_icl.interfaces.output import Answer, Table
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="ladder")(with_task(answering(ladder)))


def ladder(
    source: Source,
    prompts: Prompts = 20_000,
    time_limit: TimeLimit = 60.0,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The losses of a task as one ladder: always 0, one certified layer, the enlarged optimum, Bayes."""
    from markov_icl.analysis.ladder import ladder as losses_of
    from markov_icl.interfaces.plots.optimum import plot_ladder

    with bar("ladder") as tell:
        result = losses_of(source.task, prompts, time_limit=time_limit, seed=seed, memory=memory, progress=tell)
    rows = [
        (one.name, one.loss, f"± {one.error:.1g}" if one.error else "", f"{one.kind}: {one.note}")
        for one in result.rungs
    ]
    assert result.price is not None
    least, most = result.price
    return Answer(
        {"rungs": result.rungs, "price_of_real_parameters": result.price, "notes": result.notes},
        [
            Table("Ladder of losses", rows, ("", "loss", "", "this number is")),
            f"real parameters cost {least:.4g} to {most:.4g} beside f~*",
            *(f"note: {note}" for note in result.notes),
        ],
        lambda: plot_ladder(result),
    )
