"""Commands about depth: layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from markov_icl.choices import FRONTS
from markov_icl.interfaces.commands.options import (
    Batch,
    Model,
    Prompts,
    Rate,
    Seed,
    Source,
    Steps,
    answering,
    choice,
    with_fields,
    with_task,
)
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.progress import bar

__all__ = ["register"]


@dataclass(frozen=True)
class RestrictedOptions:
    """The options that say which model: one that was kept, or how to train a restricted one."""

    model: Model = None
    depth: Annotated[int, typer.Option("--depth", min=1, max=100, help="Layers to train without --model.")] = 10
    heads: Annotated[int, typer.Option("--heads", min=1, max=100, help="Heads a layer.")] = 1
    starts: Annotated[int, typer.Option("--starts", min=1, max=1000, help="Trainings; the best is kept.")] = 1
    steps: Steps = 600
    batch: Batch = 256
    rate: Rate = 0.01

    def built(self, task: Any, seed: int) -> tuple[Any, dict[str, Any] | None]:
        """Return the model, and how it was trained if it was trained here."""
        if self.model is not None:
            from markov_icl.models.checkpoint import load_model

            return load_model(self.model), None
        from markov_icl.depth.restricted import best_restricted

        sizes = (self.depth, self.heads, self.starts, self.steps, self.batch)
        with bar("training") as tell:
            fit = best_restricted(task, *sizes, self.rate, seed, progress=tell)
        how = {**pick(self, "steps", "batch", "rate"), "seed": seed}
        return fit.model, {**how, **pick(fit, "starts", "loss", "loss_se"), "losses": fit.training}


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="layers")(with_task(with_fields(answering(layers), "chosen", RestrictedOptions)))


def layers(
    source: Source,
    chosen: RestrictedOptions,
    prompts: Prompts = 2000,
    fronts: Annotated[
        int | None, typer.Option("--fronts", min=1, help="Prompts with a Pareto front; 24, or 4 with nsga2, if none.")
    ] = None,
    front: Annotated[str, choice("--front", *FRONTS, note=" (extra moo)")] = "sampled",
    box: Annotated[float, typer.Option("--box", help="Fronts are sought for every |w_k| up to this.")] = 2.0,
    seed: Seed = 0,
) -> Answer:
    """A restricted model layer by layer, as descent on several objectives (Theorem 4.1, Fig. 2)."""
    from markov_icl.depth.profile import profile
    from markov_icl.interfaces.plots.depth import plot_profile

    for name, value in (("rate", chosen.rate), ("box", box)):
        if not 0 < value < float("inf"):
            raise ValueError(f"expected --{name} to be a positive number; got {value}")
    model, training = chosen.built(source.task, seed)
    if (getattr(model, "kind", None), getattr(model, "form", None)) == ("lsa", "dense"):
        return _remainder(source, model, prompts, seed)
    with bar("fronts") as tell:
        result = profile(model, source.task, prompts, fronts, front, box, seed, tell)
    data = {
        "task": source.document,
        "model": {"kind": model.kind, **model.config},
        "training": training,
        **_profile_data(result),
    }
    return Answer(data, _profile_words(result), lambda: plot_profile(result))


def _profile_data(result: Any) -> dict[str, Any]:
    from markov_icl.depth.pareto import CONVENTIONS
    from markov_icl.depth.profile import FRONTS as OBJECTIVES

    rows = [
        {
            **pick(row, "layer", "loss", "loss_se", "accuracy", "accuracy_se", "outside"),
            "R1": row.first,
            "R2": row.second,
            "R1_share": row.shares[0],
            "R2_share": row.shares[1],
            "generational_distance": row.distance,
        }
        for row in result.layers
    ]
    return {
        "layers": rows,
        "equivalence_max_abs": result.equivalence.max_abs,
        "equivalence_largest": result.equivalence.largest,
        **pick(result, "bayes", "prompts"),
        "fronts": {
            "prompts": result.front_prompts,
            "method": result.front_method,
            "box": result.box,
            "of": OBJECTIVES,
            "unbounded_without_box": result.unbounded,
            "conventions": CONVENTIONS,
            "normalization": "each objective divided by its range over the front and w = 0",
        },
    }


def _profile_words(result: Any) -> list[Table | str]:
    from markov_icl.depth.profile import FRONTS as OBJECTIVES

    rows: list[tuple[object, ...]] = [
        (
            row.layer,
            f"{row.loss:.4f} ± {row.loss_se:.4f}",
            "" if row.accuracy != row.accuracy else f"{row.accuracy:.3f}",
            *(f"{row.distance[name].mean:.3f}" for name in OBJECTIVES),
        )
        for row in result.layers
    ]
    if result.bayes is not None:
        rows.append(("Bayes", f"{result.bayes.loss:.4f}", f"{result.bayes.accuracy:.3f}", *("" for _ in OBJECTIVES)))
    size = len(result.layers[0].first)
    objectives = [
        Table(
            f"Objectives {name}, mean over {result.prompts:,} prompts",
            [(row.layer, *(f"{v:.4f}" for v in getattr(row, field))) for row in result.layers],
            ("layer", *(f"{name}_{k}" for k in range(1, size + 1))),
        )
        for name, field in (("R1", "first"), ("R2", "second"))
    ]
    header = ("layer", "loss", "accuracy", *(f"GD {name}" for name in OBJECTIVES))
    return [
        Table("Read out after each layer", rows, header),
        *objectives,
        f"layers against recursion: largest difference {result.equivalence.max_abs:.1e}, "
        f"labels up to {result.equivalence.largest:.2g}",
        f"GD: mean distance to the {result.front_method} front of {result.front_prompts} prompts, "
        f"|w_k| <= {result.box:g}, each objective divided by its range over the front and w = 0",
        f"unbounded below without that box: {', '.join(result.unbounded) or 'none'}",
    ]


def _remainder(source: Source, model: Any, prompts: int, seed: int) -> Answer:
    """A dense model: how much of each layer is descent in the restricted form."""
    from markov_icl.depth.dense_layers import remainder
    from markov_icl.interfaces.plots.depth import plot_remainder
    from markov_icl.tasks.sampling import sample_prompts

    with bar("layers") as tell:
        tell(None, f"{prompts:,} prompts")
        drawn = sample_prompts(source.task, prompts, seed)
        result = remainder(model, drawn.gram, drawn.query)
    parts = pick(result, "restricted", "label", "features", "share", "effect")
    rows = [(layer, *map(float, row)) for layer, row in enumerate(zip(*parts.values(), strict=True), start=1)]
    data = {
        "task": source.document,
        "model": {"kind": model.kind, **model.config},
        "layers": [dict(zip(("layer", *parts), row, strict=True)) for row in rows],
        "effect_all": result.effect_all,
        "prompts": prompts,
    }
    shown = [(row[0], *(f"{v:.4g}" for v in row[1:])) for row in rows]
    header = ("layer", "restricted", "label by label", "features", "remainder", "effect")
    words: list[Table | str] = [
        Table("Dense layers: update by part (mean squares)", shown, header),
        "remainder: share of the update; effect: change of the prediction, over its size, without that remainder",
        f"with every remainder dropped the prediction changes by {result.effect_all:.3g} of its size",
    ]
    return Answer(data, words, lambda: plot_remainder(result))
