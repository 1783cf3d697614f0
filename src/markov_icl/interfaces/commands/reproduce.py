"""The command reproduce: a figure of the paper from its runs, computed or taken from the store."""

from __future__ import annotations

import io
import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.choices import SCALES, SEEDS
from markov_icl.interfaces.commands.experiment import RunOptions, open_store, show_notes, tidy_rows
from markov_icl.interfaces.commands.options import Json, Plot, choice, completion, with_fields
from markov_icl.interfaces.output import Answer, Table, check_target, pick, print_json, show

__all__ = ["register"]


def _names() -> tuple[str, ...]:
    from markov_icl.experiments.registry import FIGURES

    return (*FIGURES, "all")


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="reproduce")(with_fields(reproduce, "options", RunOptions))


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="fig2 to fig7, fig10, map, gap, heads, minima, hardness, or all.", autocompletion=completion(_names)
        ),
    ],
    options: RunOptions,
    scale: Annotated[str, choice("--scale", *SCALES)] = "quick",
    seeds: Annotated[int, typer.Option("--seeds", min=2, max=1000, help="Seeds of every trained curve.")] = SEEDS,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """A figure, the paper's or ours: its runs, its picture and what they say."""
    from markov_icl.experiments.registry import FIGURES, figure

    check_target(plot)
    if name == "all" and plot is not None:
        raise ValueError("expected --plot beside one figure; `reproduce all` keeps its pictures in the store")
    chosen = {one: figure(one) for one in (FIGURES if name == "all" else (name,))}
    device = options.settled_device() or "cpu"
    place = open_store(options.store)
    answers: list[dict[str, Any]] = []
    for one, experiment in chosen.items():
        try:
            if experiment.require is not None:
                experiment.require()
        except ValueError as error:
            if name != "all":
                raise
            answers.append({"figure": one, "left_out": str(error)})
            sys.stderr.write(f"markov-icl: note: {one} is left out: {error}\n")
            continue
        answer = _reproduced(one, scale, seeds, device, place, options)
        if name == "all" and json:
            answers.append(dict(answer.data))
        else:  # a figure is shown when it is ready, not when all are
            show(answer, json, plot)
    show_notes(place)
    if name == "all" and json:
        print_json({"figures": answers})


def _reproduced(name: str, scale: str, seeds: int, device: str, place: Any, options: RunOptions) -> Answer:
    """Compute what the store lacks, keep the picture, and answer with what the runs say."""
    from markov_icl.experiments.registry import figure
    from markov_icl.experiments.runs.devices import device_of, on_device

    chosen = figure(name)
    specs = on_device(chosen.specs(scale, seeds), device)
    used = device_of(specs)
    batch = options.compute(name, specs, place)
    finding = chosen.read(batch.outcomes)
    folder = "-".join([name, scale, str(seeds), *(["cuda"] if used == "cuda" else [])])
    kept = _publish(place, folder, name, batch, finding)
    data = {
        "figure": name,
        "scale": scale,
        "seeds": seeds,
        "device": used,
        "runs": len(specs),
        "runs_computed": batch.computed,
        "seconds": batch.seconds,
        "folder": str(kept),
        "finding": finding,
        "rows": tidy_rows(batch.outcomes),
    }
    words: list[Table | str] = [
        Table(f"{name}: {chosen.title}", list(pick(finding, "verdict", "computed", "tolerance").items())),
        f"{batch.computed} of {len(specs)} runs computed in {batch.seconds:.1f} s; pictures and rows: {kept}",
    ]
    return Answer(data, words, lambda: _draw(name, batch.outcomes))


def _draw(name: str, outcomes: Sequence[Any]) -> Any:
    from markov_icl.interfaces.plots.paper_figures import PLOTS

    return PLOTS[name](outcomes)


def _publish(place: Any, folder: str, name: str, batch: Any, finding: Any) -> Path:
    """Keep picture, rows and finding of a figure in the store; the same runs give the same bytes."""
    import matplotlib

    from markov_icl.experiments.runs.points import parquet

    files = {}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        drawn = _draw(name, batch.outcomes)
        for kind, metadata in (("png", {}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            drawn.savefig(buffer, format=kind, dpi=150, bbox_inches="tight", metadata=metadata)
            files[f"figure.{kind}"] = buffer.getvalue()
    files["rows.parquet"] = parquet(point for outcome in batch.outcomes for point in outcome.points)
    files["finding.json"] = (json_module.dumps({"runs": batch.keys, **asdict(finding)}, indent=1) + "\n").encode()
    found: Path = place.publish(folder, files)
    return found
