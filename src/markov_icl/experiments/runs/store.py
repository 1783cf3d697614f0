"""Where results live: a folder a run, whole or not there at all, and an index that can always be rebuilt.

``runs/KEY/`` holds ``spec.json``, ``environment.json``, ``times.json``, ``rows.parquet`` and, with the checksums of
those, ``run.json``; ``figures/NAME/`` the pictures. Folders are written under a temporary name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markov_icl.environment import data_folder, environment
from markov_icl.experiments.runs.devices import device_of
from markov_icl.experiments.runs.index import Index, Record
from markov_icl.experiments.runs.points import FinishedRun, Point, parquet, points_of
from markov_icl.experiments.runs.spec import Code, Spec, run_key, spec_from_dict
from markov_icl.files import locked

__all__ = ["Record", "Store", "default_store"]

_MARKER = "markov-icl-store.json"
_VERSION = 1
_FINDING = "finding.json"
_OLD_SECONDS = 3600.0  # a folder is written in milliseconds: an older temporary one belongs to a killed process


def default_store() -> Path:
    """Return ``$XDG_DATA_HOME/markov-icl/store``, by default below ``~/.local/share``."""
    return data_folder() / "store"


class Store:
    """Finished runs in a folder that several processes may share.

    Args:
        folder: of the store; made if it is not there, unless ``read_only``.
        read_only: write nothing, not even the index.

    Attributes:
        notes: what was found damaged and set aside, in words.

    Raises:
        ValueError: if the folder holds something else, is of another version, or cannot be written.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder, self.read_only = folder, read_only
        self.notes: list[str] = []
        marker = folder / _MARKER
        try:
            if marker.is_file():
                self._check_version(marker)
            elif folder.exists() and not folder.is_dir():
                raise ValueError(f"expected a folder for the store; got {folder}, which is a file")
            elif folder.is_dir() and (foreign := sorted(p.name for p in folder.iterdir() if p.name[0] != ".")):
                raise ValueError(f"expected an empty folder or a store; got {folder}, which holds {foreign[0]!r:.60}")
            elif read_only:
                raise ValueError(f"expected a store; got {folder}, which has none yet")
        except OSError as error:
            raise ValueError(f"expected a readable store at {folder}; got: {error.strerror}") from None
        if not read_only:
            with self._writing():
                for name in ("runs", "figures", "claims"):
                    (folder / name).mkdir(parents=True, exist_ok=True)
                if not marker.is_file():
                    _write(marker, json.dumps({"version": _VERSION}).encode())
                self._sweep()

    def _check_version(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["version"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"expected a store; got {self.folder}, whose {_MARKER} is damaged") from None
        if found != _VERSION:
            raise ValueError(f"expected a store of version {_VERSION}; got {self.folder} of version {found!r:.20}")

    def _sweep(self) -> None:
        """Remove what killed processes were writing."""
        for path in [*self.folder.glob("runs/.new-*"), *self.folder.glob("figures/.new-*")]:
            if time.time() - path.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self.read_only:
            raise ValueError(f"expected a store opened for writing; got {self.folder}, opened read-only")
        try:
            yield
        except OSError as error:
            raise ValueError(
                f"expected a writable store with room on the disk at {self.folder}; got: {error.strerror or error} "
                "(finished runs are kept)"
            ) from None

    def finished(self, key: str) -> bool:
        """Say whether a whole run of this name is there; a broken one is not."""
        return self._manifest(key) is not None

    def _manifest(self, key: str) -> dict[str, Any] | None:
        """Return ``run.json`` if every file it names has the checksum it says."""
        folder = self.folder / "runs" / key
        if not key.isalnum():
            return None
        try:
            manifest = json.loads((folder / "run.json").read_bytes())
            sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return manifest if manifest.get("key") == key and sums == manifest["files"] else None

    def write(self, spec: Spec, code: Code, points: tuple[Point, ...], seconds: float) -> str:
        """Keep a run and return its key; a whole run of the same name stays, a broken one is set aside.

        Raises:
            ValueError: if the store cannot be written; then nothing has changed.
        """
        key = run_key(spec, code)
        finished = datetime.now(UTC).isoformat(timespec="microseconds")  # the order of runs within a second
        files = {
            "spec.json": _json(spec.to_dict()),
            "environment.json": _json(environment(device_of([spec])) | {"code": code.digest}),
            "times.json": _json({"seconds": seconds, "finished": finished}),
            "rows.parquet": parquet(points),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        record = {"version": code.version, "digest": code.digest, "points": len(points)}
        files["run.json"] = _json({"key": key, "files": sums, **record})
        with self._writing():
            self._keep(self.folder / "runs" / key, files, lambda: self.finished(key))
        self._index(Record(key, spec.experiment, spec.part, spec.scale, spec.seed, len(points), seconds, finished,
                           code.version, code.digest))  # fmt: skip
        return key

    def _keep(self, target: Path, files: Mapping[str, bytes], stays: Callable[[], bool]) -> None:
        """Write a folder under a temporary name and rename it, unless one is there by then that ``stays``."""
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            for name, content in files.items():
                _write(new / name, content)
            with locked(self.folder / ".lock"):
                if not (target.exists() and stays()):
                    if target.exists():
                        self._note(target, self._set_aside(target))
                    new.chmod(0o755)
                    new.rename(target)
                    _flush(target.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _set_aside(self, path: Path) -> Path:
        """Move what is damaged or outdated out of the way; nothing is deleted."""
        aside = self.folder / "aside"
        aside.mkdir(exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=aside))
        path.rename(place / path.name)
        return place

    def _index(self, record: Record) -> None:
        with suppress(sqlite3.Error):  # the run is safe; the next look at the index mends it
            self.index.add(record)

    @property
    def index(self) -> Index:
        """Return the index, which need not exist yet."""
        return Index(self.folder / "index.sqlite")

    def read(self, key: str) -> FinishedRun:
        """Return a finished run.

        Raises:
            ValueError: if there is none of this name, or it is broken.
        """
        if self._manifest(key) is None:
            raise ValueError(f"expected a finished run; got {key!r:.60}, which is missing or damaged")
        folder = self.folder / "runs" / key
        spec = spec_from_dict(json.loads((folder / "spec.json").read_bytes()))
        return FinishedRun(spec, points_of((folder / "rows.parquet").read_bytes()))

    def details(self, key: str) -> dict[str, Any]:
        """Return spec, environment, times and checksums of a finished run, as plain data."""
        self.read(key)
        folder = self.folder / "runs" / key
        names = ("spec", "environment", "times", "run")
        return {name: json.loads((folder / f"{name}.json").read_bytes()) for name in names}

    def records(self) -> tuple[Record, ...]:
        """Return all finished runs, oldest first, from the index; a missing or damaged index is rebuilt."""
        keys = [p.name for p in (self.folder / "runs").glob("[!.]*") if (p / "run.json").is_file()]
        if not self.read_only:
            try:
                return self.index.synchronize(keys, self._record)
            except sqlite3.OperationalError:
                pass  # busy, or on a disk that became read-only: the folders say it all
            except sqlite3.DatabaseError:
                with self._writing(), locked(self.folder / ".lock"):
                    for path in sorted(self.folder.glob("index.sqlite*")):
                        self._note(path, self._set_aside(path))
                return self.index.synchronize(keys, self._record)
        found = [record for record in map(self._record, keys) if record is not None]
        return tuple(sorted(found, key=lambda record: (record.finished, record.key)))

    def _record(self, key: str) -> Record | None:
        manifest = self._manifest(key)
        if manifest is None:
            return None
        folder = self.folder / "runs" / key
        spec, times = (json.loads((folder / f"{name}.json").read_bytes()) for name in ("spec", "times"))
        own = {name: spec[name] for name in ("experiment", "part", "scale", "seed")}
        code = {name: manifest[name] for name in ("points", "version", "digest")}
        return Record(key, **own, **code, seconds=times["seconds"], finished=times["finished"])

    def _note(self, path: Path, place: Path) -> None:
        self.notes.append(f"{path.name} was damaged or outdated; it is kept in {place}")

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Yield whether this process may compute a run: no other one that shares the store is at it.

        The claim ends with the block or with the process, however that ends.
        """
        held = ExitStack()
        with self._writing():
            mine = held.enter_context(locked(self.folder / "claims" / key, wait=False))
        with held:
            yield mine

    def publish(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Keep the pictures and tables of a figure in ``figures/NAME``; others of that name are set aside."""
        target = self.folder / "figures" / name

        def same() -> bool:
            found = {path.name: path.read_bytes() for path in target.iterdir()}
            return found == dict(files)

        with self._writing():
            self._keep(target, files, same)
        return target

    def figures(self) -> tuple[str, ...]:
        """Return the names of the figures that are kept, sorted."""
        found = (self.folder / "figures").glob("[!.]*")
        return tuple(sorted(path.name for path in found if (path / _FINDING).is_file()))

    def read_figure(self, name: str) -> dict[str, bytes]:
        """Return the files of a figure that is kept, such as ``figure.png``, by name.

        Raises:
            ValueError: if there is none of this name, or it cannot be read.
        """
        if name not in self.figures():
            raise ValueError(f"expected a figure of the store; got {name!r:.60}, which is not there")
        try:
            paths = sorted((self.folder / "figures" / name).glob("[!.]*"))
            return {path.name: path.read_bytes() for path in paths if path.is_file()}
        except OSError as error:
            raise ValueError(f"expected a readable figure {name}; got: {error.strerror}") from None


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
