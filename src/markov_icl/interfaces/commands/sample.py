"""The command sample: prompts to look at or to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Seed, Source, answering, with_task
from markov_icl.interfaces.output import Answer, Table, check_target
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="sample")(with_task(answering(sample)))


def sample(
    source: Source,
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=1_000_000, help="How many to draw.")] = 3,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write a .npz, .safetensors or .parquet file.")] = None,
) -> Answer:
    """Seeded prompts, with their Gram matrices and true kernels."""
    from markov_icl.interfaces.plots.optimum import plot_prompts
    from markov_icl.interfaces.prompt_files import FORMATS, prompt_arrays, write_prompts
    from markov_icl.tasks.sampling import prompt_gigabytes, sample_prompts

    check_target(out, FORMATS)
    need = prompt_gigabytes(source.task, prompts)
    require(need, DEFAULT_MEMORY_GB, f"{prompts:,} prompts", "draw fewer with --prompts")
    with bar("sample") as tell:
        tell(None, f"drawing {prompts:,} prompts")
        drawn = sample_prompts(source.task, prompts, seed)
        if out is not None:
            tell(None, f"writing {out.name}")
            write_prompts(out, source.task, seed, drawn)
    tables = [_prompt(drawn, k) for k in range(min(prompts, 3))]
    return Answer({"seed": seed, **prompt_arrays(drawn)}, tables, lambda: plot_prompts(drawn))


def _prompt(drawn: Any, k: int) -> Table:
    context = drawn.context[k]
    rows = [("context", _digits(row)) for row in context[:8]]
    if len(context) > 8:
        rows.append(("", f"... {len(context) - 8} more chains"))
    rows += [("query", _digits(drawn.query[k]) + " ?"), ("answer", f"{drawn.target[k]:g}")]
    return Table(f"Prompt {k + 1}", rows, ("", "column"))


def _digits(row: Any) -> str:
    return " ".join(f"{v:.4g}" for v in row)
