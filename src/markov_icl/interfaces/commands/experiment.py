"""Commands that run experiments and look at what they left: sweep, runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Address, Engine, Folder, TrainedOn, Workers, answering, with_fields
from markov_icl.interfaces.output import Answer, Table, check_target, pick
from markov_icl.progress import bar

__all__ = ["RunOptions", "open_store", "register", "show_notes", "tidy_rows"]

Key = Annotated[str, typer.Argument(help="Name of a run, its first characters, or first | last.")]
OfExperiment = Annotated[str | None, typer.Option("--experiment", help="Only of this experiment.")]

_SHORT = 10
"""Characters of a run's name in tables; commands take any that are unique."""
_MOST_ROWS = 60
"""Rows of a run that are printed."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="sweep")(with_fields(answering(sweep, picture=False), "options", RunOptions))
    group = typer.Typer(help="Finished runs: list, show, compare, export.", no_args_is_help=True)
    for name, command in (("list", list_runs), ("show", show_run), ("compare", compare), ("export", export)):
        group.command(name=name)(answering(command, picture=False))
    app.add_typer(group, name="runs")


def open_store(folder: Path | None, read_only: bool = False) -> Any:
    """Open the store that ``--store`` names."""
    from markov_icl.experiments.runs.store import Store, default_store

    return Store(default_store() if folder is None else folder, read_only)


@dataclass(frozen=True)
class RunOptions:
    """The options that say where runs are kept and what computes them."""

    store: Folder = None
    workers: Workers = None
    engine: Engine = "loky"
    address: Address = None
    device: TrainedOn = None

    def settled_device(self) -> str | None:
        """Return the device that specs will name; None leaves them as they are.

        Raises:
            ValueError: for an unknown device, ``cuda`` where there is none, or beside Ray.
        """
        from markov_icl.experiments.runs.devices import chosen_device

        if self.device is None:
            return None
        found = "cpu" if (self.device, self.engine) == ("auto", "ray") else chosen_device(self.device)
        self._at_a_time(found)
        return found

    def _at_a_time(self, device: str) -> int | None:
        """Return how many runs go on together: on a GPU one, unless the user says more."""
        if device == "cuda" and self.engine == "ray":
            raise ValueError("expected engine loky beside device cuda; Ray's workers are given no GPU here")
        return 1 if device == "cuda" and self.workers is None else self.workers

    def compute(self, label: str, specs: Sequence[Any], place: Any) -> Any:
        """Compute what the store lacks; return the runs as a ``Batch``."""
        from markov_icl.experiments.runs.devices import device_of
        from markov_icl.experiments.runs.engine import run_all

        workers = self._at_a_time(device_of(specs))
        with bar(label) as tell:
            return run_all(specs, place, workers, self.engine, self.address, tell)


def show_notes(store: Any) -> None:
    """Say on stderr what the store found damaged."""
    for note in store.notes:
        sys.stderr.write(f"markov-icl: note: {note}\n")


def sweep(
    file: Annotated[Path, typer.Argument(help="Grid of trainings, YAML or JSON.")], options: RunOptions
) -> Answer:
    """Train on every point of a grid with every seed; finished runs are taken from the store."""
    from markov_icl.experiments.runs.sweep import sweep_from_file

    specs = sweep_from_file(file, options.settled_device())
    place = open_store(options.store)
    batch = options.compute("sweep", specs, place)
    show_notes(place)
    rows = [
        (key[:_SHORT], outcome.spec.part, outcome.spec.seed, _last(outcome, "loss"), _last(outcome, "accuracy"))
        for key, outcome in zip(batch.keys, batch.outcomes, strict=True)
    ]
    return Answer(
        {"runs": len(specs), "computed": batch.computed, "rows": tidy_rows(batch.outcomes)},
        [
            Table("Sweep", rows, ("run", "point", "seed", "loss", "accuracy")),
            f"{batch.computed} of {len(specs)} runs computed in {batch.seconds:.1f} s; store {place.folder}",
        ],
    )


def _last(outcome: Any, measure: str) -> str:
    found = {p.curve: p for p in outcome.points if p.measure == measure}
    shown = [f"{found[name].value:.4f} ({name})" for name in ("model", "Bayes") if name in found]
    return ", ".join(shown)


def tidy_rows(outcomes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of all runs with what names the run, as plain data."""
    return [{**pick(o.spec, "experiment", "part", "scale", "seed"), **vars(p)} for o in outcomes for p in o.points]


def list_runs(experiment: OfExperiment = None, store: Folder = None) -> Answer:
    """The finished runs, oldest first."""
    place, records = _records(store, experiment)
    rows = [
        (r.key[:_SHORT], r.experiment, r.part, r.scale, r.seed, f"{r.seconds:.1f}", _readable(r.finished), r.digest[:6])
        for r in records
    ]
    header = ("run", "of", "point", "scale", "seed", "seconds", "finished", "code")
    table = Table(f"{len(records)} runs in {place.folder}", rows, header)
    return Answer({"store": str(place.folder), "runs": records}, [table])


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


def show_run(run: Key, store: Folder = None) -> Answer:
    """One run: its spec, environment, times and rows."""
    place, key = _find(store, run)
    details, outcome = place.details(key), place.read(key)
    lines = [(name, value) for part in ("spec", "environment", "times") for name, value in details[part].items()]
    shown = [(p.curve, p.measure, p.x, p.value, "" if p.error is None else f"{p.error:.2g}") for p in outcome.points]
    words: list[Table | str] = [
        Table(f"Run {key}", lines),
        Table("Rows", shown[:_MOST_ROWS], ("curve", "measure", "x", "value", "error")),
        *([f"... {len(shown) - _MOST_ROWS} more; --json prints all"] if len(shown) > _MOST_ROWS else []),
    ]
    return Answer({"key": key, **details, "rows": outcome.points}, words)


def compare(first: Key, second: Key, store: Folder = None) -> Answer:
    """Two runs side by side: where their specs differ, and the rows they share."""
    from markov_icl.experiments.runs.spec import flat

    place, one = _find(store, first)
    _, other = _find(store, second)
    left, right = (flat(place.details(key)["spec"]) for key in (one, other))
    changes = [(n, left.get(n), right.get(n)) for n in sorted(set(left) | set(right)) if left.get(n) != right.get(n)]
    tables = [{(p.curve, p.measure, p.x, p.y): p.value for p in place.read(key).points} for key in (one, other)]
    shared = [(*where, tables[0][where], tables[1][where]) for where in tables[0] if where in tables[1]]
    fields = ("curve", "measure", "x", "y", "first", "second")
    rows = [(curve, measure, x, a, b, b - a) for curve, measure, x, _, a, b in shared[:_MOST_ROWS]]
    return Answer(
        {
            "first": one,
            "second": other,
            "changes": {name: [a, b] for name, a, b in changes},
            "rows": [dict(zip(fields, row, strict=True)) for row in shared],
        },
        [
            Table("Where the specs differ", changes, ("field", one[:_SHORT], other[:_SHORT])),
            Table("Rows of both", rows, ("curve", "measure", "x", "first", "second", "difference")),
        ],
    )


def export(
    out: Annotated[Path | None, typer.Option("--out", help="Write a .csv or .parquet file.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="mlflow (extra track), instead of --out.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="Of MLflow, such as sqlite:///mlflow.db or http://host:5000.")
    ] = None,
    experiment: OfExperiment = None,
    store: Folder = None,
) -> Answer:
    """The rows of all finished runs as one table, or the runs and figures in MLflow."""
    if (out is None) == (to is None):
        raise ValueError("expected --out FILE or --to mlflow; got " + ("none of them" if out is None else "both"))
    if to not in (None, "mlflow"):
        raise ValueError(f"expected --to mlflow; got {to!r:.40}")
    if (to is None) != (tracking_uri is None):
        raise ValueError("expected --tracking-uri beside --to mlflow, and only there")
    check_target(out, (".csv", ".parquet"))
    place, records = _records(store, experiment)
    if not records:
        raise ValueError(f"expected finished runs to export; got none in {place.folder}")
    if out is not None:
        rows = _export_table(out, place, records)
        text = f"{rows} rows of {len(records)} runs: {out}"
        return Answer({"rows": rows, "runs": len(records), "file": str(out)}, [text])
    from markov_icl.experiments.runs.tracking import export_to_mlflow

    assert tracking_uri is not None
    with bar("export") as tell:
        sent = export_to_mlflow(place, [r.key for r in records], tracking_uri, tell)
    text = f"{sent.runs} runs and figures written, {sent.known} already there: {tracking_uri}"
    return Answer({**pick(sent, "runs", "known"), "tracking_uri": tracking_uri}, [text])


def _export_table(out: Path, place: Any, records: Sequence[Any]) -> int:
    """Write the rows of all runs and return how many they are."""
    import polars

    from markov_icl.files import atomic

    rows = [{"run": r.key, **row} for r in records for row in tidy_rows([place.read(r.key)])]
    table = polars.DataFrame(rows, infer_schema_length=None)
    with atomic(out) as temporary:
        table.write_csv(temporary) if out.suffix == ".csv" else table.write_parquet(temporary)
    return len(table)
