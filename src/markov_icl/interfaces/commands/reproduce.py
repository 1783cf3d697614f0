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

from markov_icl.interfaces.commands.experiment import (
    Address,
    EngineName,
    Folder,
    TrainedOn,
    Workers,
    open_store,
    run_progress,
    settled_device,
    show_notes,
    tidy_rows,
    workers_for,
)
from markov_icl.interfaces.commands.options import Json, Plot, choice, completion

__all__ = ["register"]

_SEEDS = 5


def _names() -> tuple[str, ...]:
    from markov_icl.experiments.registry import FIGURES

    return (*FIGURES, "all")


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="reproduce")(reproduce)


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="fig2 to fig7, fig10, map, gap, heads, minima, hardness, or all.", autocompletion=completion(_names)
        ),
    ],
    scale: Annotated[str, choice("--scale", "quick", "paper")] = "quick",
    seeds: Annotated[int, typer.Option("--seeds", min=2, max=1000, help="Seeds of every trained curve.")] = _SEEDS,
    store: Folder = None,
    workers: Workers = None,
    engine: EngineName = "loky",
    address: Address = None,
    device: TrainedOn = "cpu",
    json: Json = False,
    plot: Plot = None,
) -> None:
    """A figure, the paper's or ours: its runs, its picture and what they say."""
    from markov_icl.experiments.registry import FIGURES, figure
    from markov_icl.interfaces import output

    output.check_target(plot)
    if name == "all" and plot is not None:
        raise ValueError("expected --plot beside one figure; `reproduce all` keeps its pictures in the store")
    chosen = FIGURES if name == "all" else (name,)
    for one in chosen:
        figure(one)
    settled = settled_device(device or "cpu", engine)
    place = open_store(store)
    answers = []
    for one in chosen:
        try:
            _require(one)
        except ValueError as error:
            if name != "all":
                raise
            answers.append({"figure": one, "left_out": str(error)})
            sys.stderr.write(f"markov-icl: note: {one} is left out: {error}\n")
            continue
        batch, answer = _run(one, scale, seeds, settled, place, workers, engine, address)
        if plot is not None:
            output.save_figure(_draw(one, batch.outcomes), plot)
        answers.append(answer | ({"rows": tidy_rows(batch.outcomes)} if json else {}))
        if not json:
            _print(figure(one).title, answer)
    show_notes(place)
    if json:
        output.print_json(answers[0] if name != "all" else {"figures": answers})


def _require(name: str) -> None:
    from markov_icl.experiments.registry import figure

    require = figure(name).require
    if require is not None:
        require()


def _run(
    name: str,
    scale: str,
    seeds: int,
    device: str,
    place: Any,
    workers: int | None,
    engine: str,
    address: str | None,
) -> tuple[Any, dict[str, Any]]:
    """Compute what the store lacks, keep the picture; return the runs and what to print."""
    from markov_icl.experiments.registry import figure
    from markov_icl.experiments.runs.devices import device_of, on_device
    from markov_icl.experiments.runs.engine import run_all

    chosen = figure(name)
    specs = on_device(chosen.specs(scale, seeds), device)
    used = device_of(specs)
    with run_progress(name) as progress:
        batch = run_all(specs, place, workers_for(used, workers, engine), engine, address, progress)
    finding = chosen.read(batch.outcomes)
    folder = _publish(
        place, "-".join([name, scale, str(seeds), *(["cuda"] if used == "cuda" else [])]), name, batch, finding
    )
    return batch, {
        "figure": name,
        "scale": scale,
        "seeds": seeds,
        "device": used,
        "runs": len(specs),
        "runs_computed": batch.computed,
        "seconds": batch.seconds,
        "folder": str(folder),
        "finding": asdict(finding),
    }


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


def _print(title: str, answer: dict[str, Any]) -> None:
    from markov_icl.interfaces.output import print_table

    finding = answer["finding"]
    rows = [(part, finding[part]) for part in ("verdict", "computed", "tolerance")]
    print_table(f"{answer['figure']}: {title}", ("", ""), rows)
    sys.stdout.write(
        f"{answer['runs_computed']} of {answer['runs']} runs computed in {answer['seconds']:.1f} s; "
        f"pictures and rows: {answer['folder']}\n"
    )
