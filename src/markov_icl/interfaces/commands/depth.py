"""Commands about depth: layers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Json, Plot, Seed, Source, choice, with_task

__all__ = ["register"]

Front = Annotated[str, choice("--front", "sampled", "nsga2", note=" (extra moo)")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="layers")(with_task(layers))


def layers(
    source: Source,
    model: Annotated[Path | None, typer.Option("--model", help="Trained model; none trains a restricted one.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, max=100, help="Layers to train.")] = 10,
    heads: Annotated[int, typer.Option("--heads", min=1, max=100, help="Heads a layer to train.")] = 1,
    starts: Annotated[int, typer.Option("--starts", min=1, max=1000, help="Trainings; the best is kept.")] = 1,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps of a training.")] = 600,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Fresh prompts a step.")] = 256,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.01,
    prompts: Annotated[int, typer.Option("--prompts", min=2, max=1_000_000, help="Fresh prompts to score on.")] = 2000,
    fronts: Annotated[
        int | None, typer.Option("--fronts", min=1, help="Prompts with a Pareto front; 24, or 4 with nsga2, if none.")
    ] = None,
    front: Front = "sampled",
    box: Annotated[float, typer.Option("--box", help="Fronts are sought for every |w_k| up to this.")] = 2.0,
    seed: Seed = 0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """A restricted model layer by layer, as descent on several objectives (Theorem 4.1, Fig. 2)."""
    from markov_icl.depth.profile import profile
    from markov_icl.interfaces import output

    output.check_target(plot)
    _require_numbers(rate, box)
    built, training = _model(source, model, depth, heads, starts, steps, batch, rate, seed)
    if (getattr(built, "kind", None), getattr(built, "form", None)) == ("lsa", "dense"):
        _show_remainder(source, built, prompts, seed, json, plot)
        return
    with output.progress_bar("fronts") as progress:
        result = profile(built, source.task, prompts, fronts, front, box, seed, progress)
    if plot is not None:
        from markov_icl.interfaces.plots.depth import plot_profile

        output.save_figure(plot_profile(result), plot)
    if json:
        output.print_json(_profile_json(source, built, result, training))
    else:
        _print_profile(result)


def _require_numbers(rate: float, box: float) -> None:
    for name, value in (("rate", rate), ("box", box)):
        if not 0 < value < float("inf"):
            raise ValueError(f"expected --{name} to be a positive number; got {value}")


def _model(
    source: Source,
    file: Path | None,
    depth: int,
    heads: int,
    starts: int,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> tuple[Any, dict[str, Any] | None]:
    """Return the model, and how it was trained if it was trained here."""
    from markov_icl.interfaces import output

    if file is not None:
        from markov_icl.models.checkpoint import load_model

        return load_model(file), None
    from markov_icl.depth.restricted import best_restricted

    with output.progress_bar("training") as progress:
        fit = best_restricted(source.task, depth, heads, starts, steps, batch, rate, seed, progress=progress)
    how = {"steps": steps, "batch": batch, "rate": rate, "seed": seed, "starts": fit.starts}
    return fit.model, {**how, "loss": fit.loss, "loss_se": fit.loss_se, "losses": fit.training}


def _profile_json(source: Source, model: Any, result: Any, training: dict[str, Any] | None) -> dict[str, Any]:
    from markov_icl.depth.pareto import CONVENTIONS
    from markov_icl.depth.profile import FRONTS
    from markov_icl.tasks.spec import task_to_dict

    rows = []
    for row in result.layers:
        scores = {k: getattr(row, k) for k in ("layer", "loss", "loss_se", "accuracy", "accuracy_se")}
        shares = {"R1_share": row.shares[0], "R2_share": row.shares[1]}
        far = {name: dict(one.__dict__) for name, one in row.distance.items()}
        rows.append(
            {
                **scores,
                "R1": row.first,
                "R2": row.second,
                **shares,
                "generational_distance": far,
                "outside": row.outside,
            }
        )
    return {
        "task": task_to_dict(source.task),
        "model": {"kind": model.kind, **model.config},
        "training": training,
        "layers": rows,
        "equivalence_max_abs": result.equivalence.max_abs,
        "equivalence_largest": result.equivalence.largest,
        "bayes": None if result.bayes is None else result.bayes.__dict__,
        "prompts": result.prompts,
        "fronts": {
            "prompts": result.front_prompts,
            "method": result.front_method,
            "box": result.box,
            "of": FRONTS,
            "unbounded_without_box": result.unbounded,
            "conventions": CONVENTIONS,
            "normalization": "each objective divided by its range over the front and w = 0",
        },
    }


def _print_profile(result: Any) -> None:
    from markov_icl.depth.profile import FRONTS
    from markov_icl.interfaces.output import print_table

    rows: list[tuple[object, ...]] = [
        (
            row.layer,
            f"{row.loss:.4f} ± {row.loss_se:.4f}",
            "" if row.accuracy != row.accuracy else f"{row.accuracy:.3f}",
            *(f"{row.distance[name].mean:.3f}" for name in FRONTS),
        )
        for row in result.layers
    ]
    if result.bayes is not None:
        bayes = result.bayes
        rows.append(("Bayes", f"{bayes.loss:.4f}", f"{bayes.accuracy:.3f}", *("" for _ in FRONTS)))
    print_table("Read out after each layer", ("layer", "loss", "accuracy", *(f"GD {name}" for name in FRONTS)), rows)
    size = len(result.layers[0].first)
    for name, field in (("R1", "first"), ("R2", "second")):
        values = [(row.layer, *(f"{v:.4f}" for v in getattr(row, field))) for row in result.layers]
        header = ("layer", *(f"{name}_{k + 1}" for k in range(size)))
        print_table(f"Objectives {name}, mean over {result.prompts:,} prompts", header, values)
    sys.stdout.write(
        f"layers against recursion: largest difference {result.equivalence.max_abs:.1e}, "
        f"labels up to {result.equivalence.largest:.2g}\n"
        f"GD: mean distance to the {result.front_method} front of {result.front_prompts} prompts, "
        f"|w_k| <= {result.box:g}, each objective divided by its range over the front and w = 0\n"
        f"unbounded below without that box: {', '.join(result.unbounded) or 'none'}\n"
    )


def _show_remainder(source: Source, model: Any, prompts: int, seed: int, json: bool, plot: Path | None) -> None:
    """A dense model: how much of each layer is descent in the restricted form."""
    from markov_icl.depth.dense_layers import remainder
    from markov_icl.interfaces import output
    from markov_icl.tasks.sampling import sample_prompts
    from markov_icl.tasks.spec import task_to_dict

    with output.status_line("layers") as show:
        show(f"{prompts:,} prompts")
        drawn = sample_prompts(source.task, prompts, seed)
        result = remainder(model, drawn.gram, drawn.query)
    if plot is not None:
        from markov_icl.interfaces.plots.depth import plot_remainder

        output.save_figure(plot_remainder(result), plot)
    names = ("restricted", "label", "features", "share", "effect")
    columns = [getattr(result, name) for name in names]
    rows = [(layer + 1, *(float(v) for v in row)) for layer, row in enumerate(zip(*columns, strict=True))]
    if json:
        found = [dict(zip(("layer", *names), row, strict=True)) for row in rows]
        output.print_json(
            {
                "task": task_to_dict(source.task),
                "model": {"kind": model.kind, **model.config},
                "layers": found,
                "effect_all": result.effect_all,
                "prompts": prompts,
            }
        )
        return
    header = ("layer", "restricted", "label by label", "features", "remainder", "effect")
    shown = [(row[0], *(f"{v:.4g}" for v in row[1:])) for row in rows]
    output.print_table("Dense layers: update by part (mean squares)", header, shown)
    sys.stdout.write(
        "remainder: share of the update; effect: change of the prediction, over its size, without that remainder\n"
        f"with every remainder dropped the prediction changes by {result.effect_all:.3g} of its size\n"
    )
