"""The command attention: whether a trained model attends to the chains of the same kernel."""

from __future__ import annotations

import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Json, Memory, Plot, Seed, Source, with_task

if TYPE_CHECKING:
    from markov_icl.analysis.kernel_attention import KernelAttention
    from markov_icl.models.prompt_model import PromptModel
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="attention")(with_task(attention))


def attention(
    source: Source,
    model: Annotated[Path, typer.Option("--model", help="A model that train kept: lsa, softmax or gpt2.")],
    kernels: Annotated[int, typer.Option("--kernels", min=1, help="In a prompt; they share the chains equally.")] = 2,
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Put the chains in random order, not kernel by kernel.")
    ] = False,
    prompts: Annotated[int, typer.Option("--prompts", min=2, max=1_000_000, help="Fresh prompts.")] = 200,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Does a model attend to the chains of the same kernel? Its maps beside the chains' similarity (Fig. 7)."""
    from markov_icl.analysis.kernel_attention import kernel_attention
    from markov_icl.interfaces import output
    from markov_icl.models.checkpoint import load_model
    from markov_icl.tasks.prompts import MarkovTask

    output.check_target(plot)
    if not isinstance(source.task, MarkovTask):
        raise ValueError("expected chains, which come from kernels; got a regression task")
    built = load_model(model)
    if built.dimension != source.task.dimension:
        raise ValueError(
            f"expected a task whose prompts have the model's {built.dimension} rows; got one with "
            f"{source.task.dimension} (give the task options that the model was trained with)"
        )
    _require_memory(built, source.task, prompts, memory)
    with output.status_line("attention") as show:
        show(f"{prompts:,} prompts")
        found = kernel_attention(built, source.task, kernels, prompts, seed, shuffled)
    if plot is not None:
        from markov_icl.interfaces.plots.models import plot_attention

        output.save_figure(plot_attention(found), plot)
    how = {"kernels": kernels, "order": "in random order" if shuffled else "side by side", "prompts": prompts}
    if json:
        output.print_json(_json(source, built, found, {**how, "seed": seed}))
    else:
        _print(found, how)


def _require_memory(model: PromptModel, task: MarkovTask, prompts: int, memory: float) -> None:
    """Refuse prompts that do not fit: every head's maps, and what becomes of them."""
    from markov_icl.models.gpt2 import SIZES

    config = model.config
    layers, heads = SIZES[config["size"]][1:] if "size" in config else (config.get("depth", 1), config.get("heads", 1))
    cells = 8e-9 * layers * task.context**2
    need = cells * (prompts * (2 * heads + 4) + 4 * heads * min(prompts, 100))
    need += 1e-9 * prompts * task.length * task.context**2
    if not need <= memory:
        raise ValueError(
            f"expected attention maps that fit in {memory:g} GB; got {prompts:,} prompts that need about {need:.3g} GB "
            "(draw fewer with --prompts, or raise --memory)"
        )


def _json(source: Source, model: PromptModel, found: KernelAttention, how: dict[str, Any]) -> dict[str, Any]:
    from markov_icl.tasks.spec import task_to_dict

    layers = [
        {
            "layer": k,
            "difference": one.difference,
            "difference_se": one.error,
            "correlation": one.correlation,
            "map": share.mean(0),
        }
        for k, (one, share) in enumerate(zip(found.contrasts, found.shares, strict=True), start=1)
    ]
    return {
        "task": task_to_dict(source.task),
        "model": {"kind": model.kind, **model.config},
        **how,
        "similarity": found.alike.mean(0),
        "layers": layers,
    }


def _print(found: KernelAttention, how: dict[str, Any]) -> None:
    from markov_icl.interfaces import output

    rows = []
    for k, one in enumerate(found.contrasts, start=1):
        difference = "-" if isnan(one.difference) else f"{one.difference:+.4f} ± {one.error:.4f}"
        rows.append((str(k), difference, f"{one.correlation:.3f}"))
    mixed = f"{how['kernels']} kernels {how['order']}" if how["kernels"] > 1 else "one kernel each"
    title = f"Attention on {how['prompts']:,} prompts, {mixed}"
    output.print_table(title, ("layer", "same kernel minus others", "correlation with similarity"), rows)
    sys.stdout.write(
        "note: what a chain takes from another, over the mean of its row; its look at itself is left out; "
        "± one standard error over prompts\n"
    )
