"""Commands that run experiments and look at what they left: sweep, runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Json, choice

__all__ = ["register"]

Folder = Annotated[
    Path | None, typer.Option("--store", help="Folder of the store; $XDG_DATA_HOME/markov-icl/store if none.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, max=4096, help="Runs at a time; a core each if none.")]
EngineName = Annotated[str, choice("--engine", "loky", "ray", note=" (extra dist)")]
TrainedOn = Annotated[str | None, choice("--device", "cpu", "cuda", "auto", note=", where models are trained")]
Address = Annotated[str | None, typer.Option("--address", help="Of a Ray cluster, such as auto or 10.0.0.1:6379.")]
Key = Annotated[str, typer.Argument(help="Name of a run, its first characters, or first | last.")]

_SHORT = 10
"""Characters of a run's name in tables; commands take any that are unique."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="sweep")(sweep)
    group = typer.Typer(help="Finished runs: list, show, compare, export.", no_args_is_help=True)
    for command in (list_runs, show, compare, export):
        group.command(name=command.__name__.removesuffix("_runs"))(command)
    app.add_typer(group, name="runs")


def open_store(folder: Path | None, read_only: bool = False) -> Any:
    """Open the store that ``--store`` names."""
    from markov_icl.experiments.runs.store import Store, default_store

    return Store(default_store() if folder is None else folder, read_only)


def settled_device(device: str, engine: str) -> str:
    """Return the device that specs will name.

    Raises:
        ValueError: for an unknown device, ``cuda`` where there is none, or beside Ray.
    """
    from markov_icl.experiments.runs.devices import chosen_device

    found = "cpu" if (device, engine) == ("auto", "ray") else chosen_device(device)
    workers_for(found, None, engine)
    return found


def workers_for(device: str, workers: int | None, engine: str) -> int | None:
    """Return how many runs go on at a time: on a GPU one, unless the user says more."""
    if device == "cuda" and engine == "ray":
        raise ValueError("expected engine loky beside device cuda; Ray's workers are given no GPU here")
    return 1 if device == "cuda" and workers is None else workers


@contextmanager
def run_progress(label: str) -> Iterator[Callable[[float | None, str], None]]:
    """Yield a callback for the share of finished runs; on a terminal it shows them with the time left."""
    import time

    from markov_icl.interfaces import output

    began = time.monotonic()
    first: list[float] = []
    with output.status_line(label) as show_line:

        def progress(share: float | None, words: str) -> None:
            done = share or 0.0
            first[:] = first or [done]
            new = done - first[0]
            left = f", {_duration((time.monotonic() - began) / new * (1 - done))} left" if new else ""
            show_line(words + left)

        yield progress


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def show_notes(store: Any) -> None:
    """Say on stderr what the store found damaged."""
    for note in store.notes:
        sys.stderr.write(f"markov-icl: note: {note}\n")


def sweep(
    file: Annotated[Path, typer.Argument(help="Grid of trainings, YAML or JSON.")],
    store: Folder = None,
    workers: Workers = None,
    engine: EngineName = "loky",
    address: Address = None,
    device: TrainedOn = None,
    json: Json = False,
) -> None:
    """Train on every point of a grid with every seed; finished runs are taken from the store."""
    from markov_icl.experiments.runs.devices import device_of
    from markov_icl.experiments.runs.engine import run_all
    from markov_icl.experiments.runs.sweep import sweep_from_file
    from markov_icl.interfaces import output

    specs = sweep_from_file(file, settled_device(device, engine) if device is not None else None)
    workers = workers_for(device_of(specs), workers, engine)
    place = open_store(store)
    with run_progress("sweep") as progress:
        batch = run_all(specs, place, workers, engine, address, progress)
    show_notes(place)
    if json:
        output.print_json({"runs": len(specs), "computed": batch.computed, "rows": tidy_rows(batch.outcomes)})
        return
    table = [
        (
            key[:_SHORT],
            outcome.spec.part,
            outcome.spec.seed,
            *(_last(outcome, measure) for measure in ("loss", "accuracy")),
        )
        for key, outcome in zip(batch.keys, batch.outcomes, strict=True)
    ]
    output.print_table("Sweep", ("run", "point", "seed", "loss", "accuracy"), table)
    sys.stdout.write(f"{batch.computed} of {len(specs)} runs computed in {batch.seconds:.1f} s; store {place.folder}\n")


def _last(outcome: Any, measure: str) -> str:
    found = {p.curve: p for p in outcome.points if p.measure == measure}
    shown = [f"{found[name].value:.4f} ({name})" for name in ("model", "Bayes") if name in found]
    return ", ".join(shown)


def tidy_rows(outcomes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of all runs with what names the run, as plain data."""
    return [
        {"experiment": o.spec.experiment, "part": o.spec.part, "scale": o.spec.scale, "seed": o.spec.seed, **vars(p)}
        for o in outcomes
        for p in o.points
    ]


def list_runs(
    experiment: Annotated[str | None, typer.Option("--experiment", help="Only of this experiment.")] = None,
    store: Folder = None,
    json: Json = False,
) -> None:
    """The finished runs, oldest first."""
    from markov_icl.interfaces import output

    place, records = _records(store, experiment)
    if json:
        output.print_json({"store": str(place.folder), "runs": [vars(record) for record in records]})
        return
    rows = [
        (r.key[:_SHORT], r.experiment, r.part, r.scale, r.seed, f"{r.seconds:.1f}", _readable(r.finished), r.digest[:6])
        for r in records
    ]
    header = ("run", "of", "point", "scale", "seed", "seconds", "finished", "code")
    output.print_table(f"{len(records)} runs in {place.folder}", header, rows)


def _readable(moment: str) -> str:
    """Return date and time to the second; the store keeps microseconds, to tell runs apart."""
    return moment[:19].replace("T", " ")


def _records(folder: Path | None, experiment: str | None = None) -> tuple[Any, list[Any]]:
    """Return the store, for writing if that is possible, and its runs."""
    from markov_icl.experiments.runs.finished import outdated

    place = open_store(folder, read_only=True)
    try:
        place = open_store(folder)
    except ValueError:
        sys.stderr.write("markov-icl: note: the store cannot be written; its index is left as it is\n")
    records = [r for r in place.records() if experiment in (None, r.experiment)]
    place.notes += [why] if (why := outdated(records)) else []
    show_notes(place)
    return place, records


def _find(folder: Path | None, start: str) -> tuple[Any, str]:
    place, records = _records(folder)
    ends = {"first": records[:1], "last": records[-1:]}
    found = [r.key for r in ends.get(start, records) if start in ends or (start and r.key.startswith(start))]
    if len(found) != 1:
        raise ValueError(f"expected the start of one run's name; got {start!r:.40}, which fits {len(found)}")
    return place, found[0]


def show(run: Key, store: Folder = None, json: Json = False) -> None:
    """One run: its spec, environment, times and rows."""
    from markov_icl.interfaces import output

    place, key = _find(store, run)
    details, outcome = place.details(key), place.read(key)
    if json:
        output.print_json({"key": key, **details, "rows": [vars(point) for point in outcome.points]})
        return
    lines = [(name, value) for part in ("spec", "environment", "times") for name, value in details[part].items()]
    output.print_table(f"Run {key}", ("", ""), lines)
    header = ("curve", "measure", "x", "value", "error")
    shown = [(p.curve, p.measure, p.x, p.value, "" if p.error is None else f"{p.error:.2g}") for p in outcome.points]
    output.print_table("Rows", header, shown[:60])
    if len(shown) > 60:
        sys.stdout.write(f"... {len(shown) - 60} more; --json prints all\n")


def compare(first: Key, second: Key, store: Folder = None, json: Json = False) -> None:
    """Two runs side by side: where their specs differ, and the rows they share."""
    from markov_icl.experiments.runs.spec import flat
    from markov_icl.interfaces import output

    place, one = _find(store, first)
    _, other = _find(store, second)
    specs = [flat(place.details(key)["spec"]) for key in (one, other)]
    names = sorted(set(specs[0]) | set(specs[1]))
    changes = [(n, specs[0].get(n), specs[1].get(n)) for n in names if specs[0].get(n) != specs[1].get(n)]
    tables = [{(p.curve, p.measure, p.x, p.y): p.value for p in place.read(key).points} for key in (one, other)]
    shared = [(*where, tables[0][where], tables[1][where]) for where in tables[0] if where in tables[1]]
    if json:
        fields = ("curve", "measure", "x", "y", "first", "second")
        output.print_json(
            {
                "first": one,
                "second": other,
                "changes": {name: [a, b] for name, a, b in changes},
                "rows": [dict(zip(fields, row, strict=True)) for row in shared],
            }
        )
        return
    output.print_table("Where the specs differ", ("field", one[:_SHORT], other[:_SHORT]), changes)
    rows = [(curve, measure, x, a, b, b - a) for curve, measure, x, _, a, b in shared]
    output.print_table("Rows of both", ("curve", "measure", "x", "first", "second", "difference"), rows[:60])


def export(
    out: Annotated[Path | None, typer.Option("--out", help="Write a .csv or .parquet file.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="mlflow (extra track), instead of --out.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="Of MLflow, such as sqlite:///mlflow.db or http://host:5000.")
    ] = None,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Only of this experiment.")] = None,
    store: Folder = None,
    json: Json = False,
) -> None:
    """The rows of all finished runs as one table, or the runs and figures in MLflow."""
    from markov_icl.interfaces import output

    if (out is None) == (to is None):
        raise ValueError("expected --out FILE or --to mlflow; got " + ("none of them" if out is None else "both"))
    if to not in (None, "mlflow"):
        raise ValueError(f"expected --to mlflow; got {to!r:.40}")
    if (to is None) != (tracking_uri is None):
        raise ValueError("expected --tracking-uri beside --to mlflow, and only there")
    output.check_target(out, (".csv", ".parquet"))
    place, records = _records(store, experiment)
    if not records:
        raise ValueError(f"expected finished runs to export; got none in {place.folder}")
    if out is not None:
        rows = _export_table(out, place, records)
        done: dict[str, object] = {"rows": rows, "runs": len(records), "file": str(out)}
        text = f"{rows} rows of {len(records)} runs: {out}"
    else:
        from markov_icl.experiments.runs.tracking import export_to_mlflow

        assert tracking_uri is not None
        with output.progress_bar("export") as progress:
            sent = export_to_mlflow(place, [r.key for r in records], tracking_uri, progress)
        done = {"runs": sent.runs, "known": sent.known, "tracking_uri": tracking_uri}
        text = f"{sent.runs} runs and figures written, {sent.known} already there: {tracking_uri}"
    if json:
        output.print_json(done)
    else:
        sys.stdout.write(text + "\n")


def _export_table(out: Path, place: Any, records: Sequence[Any]) -> int:
    """Write the rows of all runs and return how many they are."""
    import polars

    from markov_icl.files import atomic

    rows = [{"run": r.key, **row} for r in records for row in tidy_rows([place.read(r.key)])]
    table = polars.DataFrame(rows, infer_schema_length=None)
    with atomic(out) as temporary:
        table.write_csv(temporary) if out.suffix == ".csv" else table.write_parquet(temporary)
    return len(table)
