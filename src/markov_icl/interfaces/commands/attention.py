"""The command attention: whether a trained model attends to the chains of the same kernel."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from markov_icl.interfaces.commands.options import Memory, Prompts, Seed, Source, answering, with_task
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.progress import bar

if TYPE_CHECKING:
    from markov_icl.analysis.kernel_attention import KernelAttention
    from markov_icl.models.prompt_model import PromptModel
    from markov_icl.tasks.prompts import MarkovTask, Task

__all__ = ["register"]

_NOTE = (
    "note: what a chain takes from another, over the mean of its row; its look at itself is left out; "
    "± one standard error over prompts"
)


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="attention")(with_task(answering(attention)))


def attention(
    source: Source,
    model: Annotated[Path, typer.Option("--model", help="A model that train kept: lsa, softmax or gpt2.")],
    kernels: Annotated[int, typer.Option("--kernels", min=1, help="In a prompt; they share the chains equally.")] = 2,
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Put the chains in random order, not kernel by kernel.")
    ] = False,
    prompts: Prompts = 200,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """Does a model attend to the chains of the same kernel? Its maps beside the chains' similarity (Fig. 7)."""
    from markov_icl.analysis.kernel_attention import kernel_attention
    from markov_icl.interfaces.plots.models import plot_attention

    built = _model(model, source.task)
    _require_memory(built, source.task, prompts, memory)
    with bar("attention") as tell:
        tell(None, f"{prompts:,} prompts")
        found = kernel_attention(built, source.task, kernels, prompts, seed, shuffled)
    shares = [share.mean(0) for share in found.shares]
    order = "in random order" if shuffled else "side by side"
    title = f"Attention on {prompts:,} prompts, {f'{kernels} kernels {order}' if kernels > 1 else 'one kernel each'}"
    data = {
        "task": source.document,
        "model": {"kind": built.kind, **built.config},
        "kernels": kernels,
        "order": order,
        "prompts": prompts,
        "seed": seed,
        "similarity": found.alike.mean(0),
        "layers": [
            {"layer": k, **pick(one, "difference", "correlation"), "difference_se": one.error, "map": share}
            for k, (one, share) in enumerate(zip(found.contrasts, shares, strict=True), start=1)
        ],
    }
    return Answer(data, [_table(title, found), _NOTE], lambda: plot_attention(found))


def _model(file: Path, task: Task) -> PromptModel:
    from markov_icl.models.checkpoint import load_model
    from markov_icl.tasks.prompts import MarkovTask

    if not isinstance(task, MarkovTask):
        raise ValueError("expected chains, which come from kernels; got a regression task")
    model = load_model(file)
    if model.dimension != task.dimension:
        raise ValueError(
            f"expected a task whose prompts have the model's {model.dimension} rows; got one with "
            f"{task.dimension} (give the task options that the model was trained with)"
        )
    return model


def _table(title: str, found: KernelAttention) -> Table:
    rows = [
        (
            layer,
            "-" if isnan(one.difference) else f"{one.difference:+.4f} ± {one.error:.4f}",
            f"{one.correlation:.3f}",
        )
        for layer, one in enumerate(found.contrasts, start=1)
    ]
    return Table(title, rows, ("layer", "same kernel minus others", "correlation with similarity"))


def _require_memory(model: PromptModel, task: MarkovTask, prompts: int, memory: float) -> None:
    """Refuse prompts that do not fit: every head's maps, and what becomes of them."""
    from markov_icl.models.gpt2 import SHAPES

    config = model.config
    layers, heads = SHAPES[config["size"]][1:] if "size" in config else (config.get("depth", 1), config.get("heads", 1))
    cells = 8e-9 * layers * task.context**2
    need = cells * (prompts * (2 * heads + 4) + 4 * heads * min(prompts, 100))
    need += 1e-9 * prompts * task.length * task.context**2
    require(need, memory, f"attention maps of {prompts:,} prompts", "draw fewer with --prompts, or raise --memory")
