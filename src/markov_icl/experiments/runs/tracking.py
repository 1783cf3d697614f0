"""Finished runs and figures in an MLflow tracking store: one MLflow run each, never twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from markov_icl.experiments.runs.points import Point
from markov_icl.experiments.runs.spec import Spec, flat
from markov_icl.experiments.runs.store import Store
from markov_icl.progress import Progress, shown

__all__ = ["Exported", "export_to_mlflow", "metric_names", "require_mlflow"]

_KEY, _CONTENT = "markov_icl.key", "markov_icl.content"
"""Tags that name a run of ours, and the SHA-256 of what was exported of it."""
_BATCH = 900
"""MLflow takes at most 1,000 metrics and 100 parameters a request."""
_PARAMETERS = 90
_LONGEST = 5000


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        runs: MLflow runs made, of runs and of figures.
        known: those that were there already, whole and the same.
    """

    runs: int
    known: int


def require_mlflow() -> Any:
    """Return the package mlflow.

    Raises:
        ValueError: if it, or what it needs for databases, is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # an export talks to the tracking store and nobody else
    try:
        for name in ("sqlalchemy", "alembic"):
            import_module(name)
        return import_module("mlflow")
    except ImportError:
        raise ValueError(
            "expected the packages mlflow-skinny, sqlalchemy and alembic; install them with: "
            "pip install 'markov-icl[track]'"
        ) from None


def export_to_mlflow(
    store: Store,
    keys: Sequence[str],
    uri: str,
    progress: Progress = False,
) -> Exported:
    """Write runs, and the figures made of them, to MLflow.

    The MLflow experiment is ``markov-icl/`` and the name of ours, or ``figures``. Parameters are the spec's fields,
    metrics the rows without a second coordinate (step: ``x``; its index where an ``x`` of the curve is no whole
    number), artifacts the files of the run, exact rows included. What a killed export left half is removed and done
    again.

    Args:
        store: of the runs.
        keys: of the runs, and thereby the figures.
        uri: of the tracking store, such as ``sqlite:///mlflow.db`` or ``http://host:5000``.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: without the extra ``track``, or for a tracking store that refuses.
    """
    mlflow = require_mlflow()
    parts = {name: store.read_figure(name) for name in store.figures()}
    figures = {name: files for name, files in parts.items() if _made_of(files, set(keys))}
    runs = ((key, *_run_parts(store, key)) for key in keys)
    drawn = ((name, *_figure_parts(name, files)) for name, files in figures.items())
    made, total = 0, len(keys) + len(figures)
    with shown(progress, "export") as tell, _refusals(mlflow, uri):
        client = mlflow.MlflowClient(tracking_uri=uri)
        target = _Target(client, mlflow, _artifacts(uri))
        for done, parts_of_one in enumerate(chain(runs, drawn), start=1):
            made += target.put(*parts_of_one)
            tell(done / total, f"{done} of {total}")
    return Exported(made, total - made)


def _artifacts(uri: str) -> str | None:
    """Return where artifacts go beside an SQLite file: MLflow would put them below the folder one happens to be in."""
    start = "sqlite:///"
    if not uri.startswith(start) or uri == start:
        return None
    return (Path(uri.removeprefix(start)).absolute().parent / "mlartifacts").as_uri()


@contextmanager
def _refusals(mlflow: Any, uri: str) -> Iterator[None]:
    """Turn what MLflow raises into one line, and keep its talk about migrations off the terminal."""
    import logging

    loud = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [one.level for one in loud]
    for one in loud:
        one.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    except (mlflow.exceptions.MlflowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"expected a tracking store at {uri!r:.80}; got: {text}") from None
    finally:
        for one, level in zip(loud, levels, strict=True):
            one.setLevel(level)


class _Target:
    """An MLflow tracking store."""

    def __init__(self, client: Any, mlflow: Any, artifacts: str | None) -> None:
        self.client, self.mlflow, self.artifacts = client, mlflow, artifacts
        self.experiments: dict[str, str] = {}

    def put(
        self,
        key: str,
        experiment: str,
        parameters: Mapping[str, str],
        points: Sequence[Point],
        files: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> bool:
        """Write one run unless it is there; return whether it was written."""
        place = self._experiment(f"markov-icl/{experiment}")
        content = _digest(files)
        for run in self.client.search_runs([place], f"tags.`{_KEY}` = '{key}'"):
            if run.info.status == "FINISHED" and run.data.tags.get(_CONTENT) == content:
                return False
            self.client.delete_run(run.info.run_id)
        run_id = self.client.create_run(place, tags={_KEY: key, _CONTENT: content, **tags}).info.run_id
        self._log(run_id, parameters, points)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                Path(folder, name).write_bytes(data)
            self.client.log_artifacts(run_id, folder)
        self.client.set_terminated(run_id, "FINISHED")
        return True

    def _experiment(self, name: str) -> str:
        if name not in self.experiments:
            found = self.client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage != "active":
                raise ValueError(f"expected the MLflow experiment {name!r} to be active; got a deleted one")
            made = found or self.client.create_experiment(name, artifact_location=self._location(name))
            self.experiments[name] = made if isinstance(made, str) else made.experiment_id
        return self.experiments[name]

    def _location(self, experiment: str) -> str | None:
        return None if self.artifacts is None else f"{self.artifacts}/{experiment}"

    def _log(self, run_id: str, parameters: Mapping[str, str], points: Sequence[Point]) -> None:
        entities = self.mlflow.entities
        listed = [entities.Param(name, value[:_LONGEST]) for name, value in parameters.items()]
        for first in range(0, len(listed), _PARAMETERS):
            self.client.log_batch(run_id, params=listed[first : first + _PARAMETERS])
        metrics = [entities.Metric(name, value, 0, step) for name, value, step in _metrics(points)]
        for first in range(0, len(metrics), _BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + _BATCH])


def _metrics(points: Sequence[Point]) -> Iterator[tuple[str, float, int]]:
    drawn = [point for point in points if point.y is None]
    names = metric_names((point.curve, point.measure) for point in drawn)
    for pair, name in names.items():
        line = [point for point in drawn if (point.curve, point.measure) == pair]
        whole = all(float(point.x).is_integer() for point in line)
        for index, point in enumerate(line):
            yield name, point.value, int(point.x) if whole else index


def metric_names(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a name that MLflow accepts for each curve and measure, different ones for different pairs."""
    found: dict[tuple[str, str], str] = {}
    for curve, measure in dict.fromkeys(pairs):
        name = "/".join(re.sub(r"[^A-Za-z0-9_. -]+", "_", part).strip(" .") or "_" for part in (measure, curve))
        if name in found.values():
            name += "_" + hashlib.sha256(f"{curve}\n{measure}".encode()).hexdigest()[:6]
        found[curve, measure] = name[:240]
    return found


_Parts = tuple[str, dict[str, str], Sequence[Point], dict[str, bytes], dict[str, str]]


def _run_parts(store: Store, key: str) -> _Parts:
    outcome, details = store.read(key), store.details(key)
    spec = outcome.spec
    folder = store.folder / "runs" / key
    names = ("spec.json", "environment.json", "times.json", "rows.parquet")
    files = {name: (folder / name).read_bytes() for name in names}
    tags = {
        "mlflow.runName": f"{spec.part}, seed {spec.seed}",
        "markov_icl.spec": hashlib.sha256(spec.text.encode()).hexdigest(),
        "markov_icl.code": str(details["run"]["digest"]),
        "markov_icl.version": str(details["run"]["version"]),
        "markov_icl.scale": spec.scale,
    }
    return spec.experiment, _parameters(spec), outcome.points, files, tags


def _parameters(spec: Spec) -> dict[str, str]:
    """Return the fields of the spec under names that MLflow accepts."""
    return {re.sub(r"[^A-Za-z0-9_./ -]+", "_", name): value for name, value in flat(spec.to_dict()).items()}


def _figure_parts(name: str, files: dict[str, bytes]) -> _Parts:
    finding = json.loads(files["finding.json"])
    tags = {"mlflow.runName": name, "markov_icl.verdict": str(finding["verdict"])[:_LONGEST]}
    return "figures", {"runs": str(len(finding["runs"]))}, (), files, tags


def _made_of(files: Mapping[str, bytes], keys: set[str]) -> bool:
    """Say whether all runs of a figure are among the keys."""
    try:
        return set(json.loads(files["finding.json"])["runs"]) <= keys
    except (ValueError, KeyError, TypeError):
        return False


def _digest(files: Mapping[str, bytes]) -> str:
    parts = "\n".join(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(files.items()))
    return hashlib.sha256(parts.encode()).hexdigest()
