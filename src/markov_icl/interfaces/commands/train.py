"""The command train: where training ends, beside every minimum and Bayes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import (
    Json,
    Memory,
    Plot,
    Seed,
    Source,
    choice,
    completion,
    with_fields,
    with_task,
)

__all__ = ["register"]

ModelKind = Annotated[str, choice("--model", "lsa", "softmax", "gpt2", "enlarged")]
Form = Annotated[str, choice("--form", "dense", "sparse", "restricted", note=" (sparse: Eq. 7, restricted: Eq. 11)")]
Size = Annotated[str, choice("--size", "tiny", "small", "standard", note=", of GPT-2")]
Optimizer = Annotated[
    str, choice("--optimizer", "adam", "adamw", "sgd", "lbfgs", "gd", note="; the last two with --population")
]
Precision = Annotated[
    int, typer.Option("--precision", help="Bits of a number: 32 | 64.", autocompletion=completion(("32", "64")))
]
TrainDevice = Annotated[str, choice("--device", "auto", "cpu", "cuda")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps.")]
Save = Annotated[Path | None, typer.Option("--save", help="Keep the model, and go on from it (.safetensors).")]


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

        if self.precision not in (32, 64):
            raise ValueError(f"expected precision 32 or 64; got {self.precision}")
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
            from markov_icl.models.gpt2 import SIZES

            width, blocks, _ = SIZES.get(self.size, (0, 0, 0))
            step = 2 * columns * width * (4 + 30 * blocks)
        else:
            step = self.layers * self.heads * columns * (3 * columns + 4 * D)
        need = 8e-9 * (batch * step + (prompts or 0) * stored)
        if not need <= memory:
            raise ValueError(
                f"expected steps that fit in {memory:g} GB; got {batch:,} prompts a step that need about {need:.3g} GB "
                "(lower --batch or --prompts, or raise --memory)"
            )

    def require_population(self, optimizer: str) -> None:
        """Refuse what has no exact population loss."""
        from markov_icl.models.population import POPULATION_OPTIMIZERS

        if self.model != "lsa" or self.layers != 1 or self.form not in ("dense", "sparse"):
            raise ValueError("expected one layer of linear attention beside --population; got another model")
        if optimizer not in (*POPULATION_OPTIMIZERS, "adam"):
            raise ValueError(f"expected --optimizer {' or '.join(POPULATION_OPTIMIZERS)} beside --population")


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="train")(with_task(with_fields(train, "model", ModelOptions)))


def train(
    source: Source,
    model: ModelOptions,
    optimizer: Optimizer = "adam",
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.01,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Of the optimizer.")] = 0.0,
    steps: Steps = 1000,
    batch: Annotated[int, typer.Option("--batch", min=1, max=1_000_000, help="Prompts a step.")] = 1000,
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
    device: TrainDevice = "auto",
    save: Save = None,
    save_every: Annotated[int, typer.Option("--save-every", min=1, help="Steps between two writes.")] = 1000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the file of --save.")] = False,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Train a model on sampled prompts, or one layer on the exact population loss, and say where it ends."""
    from markov_icl.interfaces import output

    output.check_target(plot)
    _check_save(save, resume)
    if population:
        model.require_population(optimizer)
        _population(source, model.heads, optimizer, steps, save, seed, json, plot)
        return
    from markov_icl.models.training import train as run

    model.require_memory(source.task, batch, prompts, memory)
    built = model.build(source.task, seed)
    options: dict[str, Any] = {"rate": rate, "weight_decay": weight_decay, "prompts": prompts, "held_out": held_out}
    options |= {"evaluate_every": evaluate_every, "checkpoint": save, "checkpoint_every": save_every, "resume": resume}
    plan = _curriculum(curriculum, source.task.context)
    with _training_line() as progress:
        result = run(built, source.task, optimizer, steps, batch, seed, device, plan, progress=progress, **options)
    _show_training(source, result, seed, json, plot)


def _check_save(save: Path | None, resume: bool) -> None:
    from markov_icl.interfaces import output

    output.check_target(save, (".safetensors",))
    if resume and save is None:
        raise ValueError("expected --save FILE beside --resume")
    if save is not None and save.exists() and not resume:
        raise ValueError(f"expected a new file, or --resume to go on from it; got {save}, which exists")


@contextmanager
def _training_line() -> Iterator[Callable[[float | None, str], None]]:
    from markov_icl.interfaces import output

    with output.status_line("train") as show:
        yield lambda _share, words: show(words)


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


def _show_training(source: Source, result: Any, seed: int, json: bool, plot: Path | None) -> None:
    from dataclasses import asdict

    from markov_icl.interfaces import output
    from markov_icl.tasks.spec import task_to_dict

    placed = _placed(result.model, source, seed)
    if plot is not None:
        from markov_icl.interfaces.plots.models import plot_training

        output.save_figure(plot_training(result, placed), plot)
    if json:
        output.print_json(
            {
                "task": task_to_dict(source.task),
                "model": {"kind": result.model.kind, **result.model.config},
                "recipe": asdict(result.recipe),
                **{k: v for k, v in asdict(result.final).items() if k != "step"},
                "losses": result.losses,
                "evaluations": [asdict(one) for one in result.evaluations],
                **_placed_json(placed),
                "seconds": result.seconds,
                "prompts_per_second": result.prompts_per_second,
                "environment": result.environment,
            }
        )
        return
    final = result.final
    rows: list[tuple[str, object]] = [
        ("held-out loss", f"{final.loss:.8g} ± {final.loss_se:.2g}"),
        *([("held-out accuracy", f"{final.accuracy:.4f} ± {final.accuracy_se:.2g}")] if final.accuracy else []),
        *_placed_rows(placed),
        ("steps, prompts a step", f"{result.recipe.steps:,}, {result.recipe.batch:,}"),
        ("prompts/s, seconds", f"{result.prompts_per_second:,.0f}, {result.seconds:.1f}"),
    ]
    output.print_table("Trained model", ("", ""), rows)


def _placed(model: Any, source: Source, seed: int) -> Any:
    from markov_icl.analysis.standing import place
    from markov_icl.interfaces import output

    with output.status_line("train") as show:
        show("local minima and Bayes")
        return place(model, source.task, seed=seed)


def _placed_json(placed: Any) -> dict[str, Any]:
    names = ("population", "floor", "minima", "nearest", "excess")
    scores = ("loss", "loss_se", "accuracy", "accuracy_se")
    bayes = None if placed.bayes is None else {name: getattr(placed.bayes, name) for name in scores}
    return {name: getattr(placed, name) for name in names} | {"bayes": bayes}


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


def _population(
    source: Source, heads: int, optimizer: str, steps: int, save: Path | None, seed: int, json: bool, plot: Path | None
) -> None:
    from markov_icl.interfaces import output
    from markov_icl.models.bridge import to_module
    from markov_icl.models.checkpoint import save_checkpoint
    from markov_icl.models.population import train_population

    with output.progress_bar("train") as progress:
        result = train_population(
            source.task, "lbfgs" if optimizer == "adam" else optimizer, heads, steps=steps, seed=seed, progress=progress
        )
    module = to_module(result.b, result.A)
    placed = _placed(module, source, seed)
    if save is not None:
        save_checkpoint(save, module, source.task)
    if plot is not None:
        from markov_icl.interfaces.plots.models import plot_population

        output.save_figure(plot_population(result, placed), plot)
    if json:
        own = ("loss", "b", "A", "losses", "finals", "gradient_norm", "converged", "optimizer", "seconds")
        output.print_json({name: getattr(result, name) for name in own} | _placed_json(placed))
        return
    rows: list[tuple[str, object]] = [
        ("population loss", result.loss),
        ("converged", f"{'yes' if result.converged else 'no'} (gradient norm {result.gradient_norm:.2g})"),
        *_placed_rows(placed),
        ("steps of the winning start", len(result.losses) - 1),
        ("seconds", f"{result.seconds:.2f}"),
    ]
    output.print_table("One layer trained on the population loss", ("", ""), rows)
    if not result.converged:
        sys.stdout.write("note: the steps ran out before the gradient was zero to rounding; allow more --steps\n")
