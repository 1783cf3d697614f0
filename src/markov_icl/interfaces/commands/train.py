"""The command train: where training ends, beside every minimum and Bayes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.choices import (
    FORMS,
    MODELS,
    OPTIMIZERS,
    POPULATION_OPTIMIZERS,
    PRECISIONS,
    SIZES,
    TRAINING_DEVICES,
    unknown,
)
from markov_icl.interfaces.commands.options import (
    Batch,
    Memory,
    Rate,
    Seed,
    Source,
    Steps,
    answering,
    choice,
    with_fields,
    with_task,
)
from markov_icl.interfaces.output import Answer, Table, check_target, pick
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.progress import bar

__all__ = ["register"]

ModelKind = Annotated[str, choice("--model", *MODELS)]
Form = Annotated[str, choice("--form", *FORMS, note=" (sparse: Eq. 7, restricted: Eq. 11)")]
Size = Annotated[str, choice("--size", *SIZES, note=", of GPT-2")]
Optimizer = Annotated[
    str, choice("--optimizer", *OPTIMIZERS, *POPULATION_OPTIMIZERS, note="; the last two with --population")
]
Precision = Annotated[int, choice("--precision", *PRECISIONS, note=", bits of a number")]


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model: its kind and its size."""

    model: ModelKind = "lsa"
    layers: Annotated[int, typer.Option("--layers", min=1, max=1000, help="Attention layers.")] = 1
    heads: Annotated[int, typer.Option("--heads", min=1, max=1000, help="Heads a layer.")] = 1
    form: Form = "dense"
    size: Size = "tiny"
    precision: Precision = 32

    def build(self, task: Any, seed: int) -> Any:
        """Return a fresh model for the prompts of ``task``."""
        import torch

        from markov_icl.models.checkpoint import build_model

        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        config: dict[str, Any] = {"dimension": task.dimension}
        if self.model in ("lsa", "softmax"):
            config |= {"depth": self.layers, "heads": self.heads, "form": self.form}
        elif self.model == "gpt2":
            config |= {"size": self.size, "max_context": task.context}
        dtype = torch.float32 if self.precision == 32 else torch.float64
        return build_model(self.model, config, seed=seed, dtype=dtype)

    def require_memory(self, task: Any, batch: int, prompts: int | None, memory: float) -> None:
        """Refuse batches that do not fit: what a step keeps for its gradients, and the fixed training set."""
        D, columns = task.dimension, task.context + 1
        stored = D * columns
        if self.model in ("lsa", "enlarged"):
            stored, step = D * D, D * D * (4 + 6 * self.layers * self.heads)
        elif self.model == "gpt2":
            from markov_icl.models.gpt2 import SHAPES

            width, blocks, _ = SHAPES.get(self.size, (0, 0, 0))
            step = 2 * columns * width * (4 + 30 * blocks)
        else:
            step = self.layers * self.heads * columns * (3 * columns + 4 * D)
        need = 8e-9 * (batch * step + (prompts or 0) * stored)
        require(need, memory, f"steps of {batch:,} prompts", "lower --batch or --prompts, or raise --memory")

    def require_population(self, optimizer: str) -> None:
        """Refuse what has no exact population loss."""
        if self.model != "lsa" or self.layers != 1 or self.form not in ("dense", "sparse"):
            raise ValueError("expected one layer of linear attention beside --population; got another model")
        if optimizer not in (*POPULATION_OPTIMIZERS, "adam"):
            raise ValueError(f"expected --optimizer {' or '.join(POPULATION_OPTIMIZERS)} beside --population")


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="train")(with_task(with_fields(answering(train), "model", ModelOptions)))


def train(
    source: Source,
    model: ModelOptions,
    optimizer: Optimizer = "adam",
    rate: Rate = 0.01,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Of the optimizer.")] = 0.0,
    steps: Steps = 1000,
    batch: Batch = 1000,
    prompts: Annotated[int | None, typer.Option("--prompts", min=1, help="Fixed training set; fresh if none.")] = None,
    curriculum: Annotated[
        str | None, typer.Option("--curriculum", help="Growing contexts START:BY:EVERY, such as 26:5:1000.")
    ] = None,
    held_out: Annotated[int, typer.Option("--held-out", min=2, max=10_000_000, help="Prompts to test on.")] = 10_000,
    evaluate_every: Annotated[
        int | None, typer.Option("--evaluate-every", min=1, help="Steps between tests on the way.")
    ] = None,
    population: Annotated[
        bool, typer.Option("--population", help="Train one layer on the exact population loss, without sampling.")
    ] = False,
    device: Annotated[str, choice("--device", *TRAINING_DEVICES)] = "auto",
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep the model, and go on from it (.safetensors).")
    ] = None,
    save_every: Annotated[int, typer.Option("--save-every", min=1, help="Steps between two writes.")] = 1000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the file of --save.")] = False,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """Train a model on sampled prompts, or one layer on the exact population loss, and say where it ends."""
    _check_save(save, resume)
    if population:
        model.require_population(optimizer)
        return _on_population(source, model.heads, optimizer, steps, save, seed)
    from markov_icl.models.training import train as run

    model.require_memory(source.task, batch, prompts, memory)
    built = model.build(source.task, seed)
    options: dict[str, Any] = {"rate": rate, "weight_decay": weight_decay, "prompts": prompts, "held_out": held_out}
    options |= {"evaluate_every": evaluate_every, "checkpoint": save, "checkpoint_every": save_every, "resume": resume}
    plan = _curriculum(curriculum, source.task.context)
    with bar("train") as tell:
        result = run(built, source.task, optimizer, steps, batch, seed, device, plan, progress=tell, **options)
    return _on_prompts(source, result, seed)


def _check_save(save: Path | None, resume: bool) -> None:
    check_target(save, (".safetensors",))
    if resume and save is None:
        raise ValueError("expected --save FILE beside --resume")
    if save is not None and save.exists() and not resume:
        raise ValueError(f"expected a new file, or --resume to go on from it; got {save}, which exists")


def _curriculum(text: str | None, context: int) -> Any:
    from markov_icl.models.training import Curriculum

    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise ValueError(f"expected a curriculum START:BY:EVERY of whole numbers; got {text!r:.40}")
    plan = Curriculum(*map(int, parts))
    if plan.start > context:
        raise ValueError(
            f"expected a curriculum that starts at or below the task's context {context}; got {plan.start}"
        )
    return plan


def _on_prompts(source: Source, result: Any, seed: int) -> Answer:
    """Return what training on sampled prompts led to."""
    from markov_icl.interfaces.plots.models import plot_training

    placed = _placed(result.model, source, seed)
    final, recipe = result.final, result.recipe
    data = {
        "task": source.document,
        "model": {"kind": result.model.kind, **result.model.config},
        **{name: value for name, value in final.__dict__.items() if name != "step"},
        **pick(result, "recipe", "losses", "evaluations", "seconds", "prompts_per_second", "environment"),
        **_placed_data(placed),
    }
    rows: list[tuple[str, object]] = [
        ("held-out loss", f"{final.loss:.8g} ± {final.loss_se:.2g}"),
        *([("held-out accuracy", f"{final.accuracy:.4f} ± {final.accuracy_se:.2g}")] if final.accuracy else []),
        *_placed_rows(placed),
        ("steps, prompts a step", f"{recipe.steps:,}, {recipe.batch:,}"),
        ("prompts/s, seconds", f"{result.prompts_per_second:,.0f}, {result.seconds:.1f}"),
    ]
    return Answer(data, [Table("Trained model", rows)], lambda: plot_training(result, placed))


def _on_population(source: Source, heads: int, optimizer: str, steps: int, save: Path | None, seed: int) -> Answer:
    """Train one layer on the exact population loss."""
    from markov_icl.interfaces.plots.models import plot_population
    from markov_icl.models.bridge import to_module
    from markov_icl.models.checkpoint import save_checkpoint
    from markov_icl.models.population import train_population

    method = "lbfgs" if optimizer == "adam" else optimizer
    with bar("train") as tell:
        result = train_population(source.task, method, heads, steps=steps, seed=seed, progress=tell)
    module = to_module(result.b, result.A)
    placed = _placed(module, source, seed)
    if save is not None:
        save_checkpoint(save, module, source.task)
    own = ("loss", "b", "A", "losses", "finals", "gradient_norm", "converged", "optimizer", "seconds")
    rows: list[tuple[str, object]] = [
        ("population loss", result.loss),
        ("converged", f"{'yes' if result.converged else 'no'} (gradient norm {result.gradient_norm:.2g})"),
        *_placed_rows(placed),
        ("steps of the winning start", len(result.losses) - 1),
        ("seconds", f"{result.seconds:.2f}"),
    ]
    words: list[Table | str] = [Table("One layer trained on the population loss", rows)]
    if not result.converged:
        words.append("note: the steps ran out before the gradient was zero to rounding; allow more --steps")
    return Answer({**pick(result, *own), **_placed_data(placed)}, words, lambda: plot_population(result, placed))


def _placed(model: Any, source: Source, seed: int) -> Any:
    from markov_icl.analysis.standing import place

    with bar("train") as tell:
        tell(None, "local minima and Bayes")
        return place(model, source.task, seed=seed)


def _placed_data(placed: Any) -> dict[str, Any]:
    scores = ("loss", "loss_se", "accuracy", "accuracy_se")
    bayes = None if placed.bayes is None else pick(placed.bayes, *scores)
    return {**pick(placed, "population", "floor", "minima", "nearest", "excess"), "bayes": bayes}


def _placed_rows(placed: Any) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if placed.population is not None:
        rows.append(("loss over all prompts", placed.population))
    if placed.nearest is not None:
        which = "the best one found" if placed.nearest == 0 else f"number {placed.nearest + 1}, not the best"
        rows.append((f"nearest of {len(placed.minima)} local minima ({which})", float(placed.minima[placed.nearest])))
        rows.append(("above that minimum by", placed.excess))
    if placed.floor is not None:
        rows.append(("f~*, one layer in the enlarged space", placed.floor))
    if placed.bayes is not None:
        rows.append(("Bayes loss (no predictor is below)", f"{placed.bayes.loss:.8g} ± {placed.bayes.loss_se:.2g}"))
        if placed.bayes.accuracy is not None:
            rows.append(("Bayes accuracy", f"{placed.bayes.accuracy:.4f} ± {placed.bayes.accuracy_se:.2g}"))
    return rows
