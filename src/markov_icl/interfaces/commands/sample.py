"""The command sample: prompts to look at or to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Json, Plot, Seed, Source, with_task

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="sample")(with_task(sample))


def sample(
    source: Source,
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=1_000_000, help="How many to draw.")] = 3,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write a .npz, .safetensors or .parquet file.")] = None,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Seeded prompts, with their Gram matrices and true kernels."""
    from markov_icl.interfaces import output
    from markov_icl.interfaces.prompt_files import FORMATS, prompt_arrays, write_prompts
    from markov_icl.tasks.prompts import MarkovTask
    from markov_icl.tasks.sampling import sample_prompts

    output.check_target(plot)
    output.check_target(out, FORMATS)
    kernel = source.task.rows * source.task.states if isinstance(source.task, MarkovTask) else 0
    size = prompts * ((source.task.context + 1) * source.task.dimension + kernel)
    if size > 200_000_000:
        raise ValueError(f"expected at most 200 million numbers; got {size:,} (draw fewer prompts)")
    with output.status_line("sample") as show:
        show(f"drawing {prompts:,} prompts")
        drawn = sample_prompts(source.task, prompts, seed)
        if out is not None:
            show(f"writing {out.name}")
            write_prompts(out, source.task, seed, drawn)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_prompts

        output.save_figure(plot_prompts(drawn), plot)
    if json:
        output.print_json({"seed": seed, **prompt_arrays(drawn)})
        return
    for k in range(min(prompts, 3)):
        rows = [("context", _digits(row)) for row in drawn.context[k][:8]]
        more = [("", f"... {source.task.context - 8} more chains")] if source.task.context > 8 else []
        asked = ("query", _digits(drawn.query[k]) + " ?"), ("answer", f"{drawn.target[k]:g}")
        output.print_table(f"Prompt {k + 1}", ("", "column"), [*rows, *more, *asked])


def _digits(row: Any) -> str:
    return " ".join(f"{v:.4g}" for v in row)
