"""The store's index: a list of finished runs in SQLite, derived from the run folders and never trusted beyond them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

__all__ = ["Index", "Record"]

_MARK = 0x6D69636C  # "micl", SQLite's application_id: another program's database is not ours
_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        key: name of its folder.
        experiment: such as ``fig5``.
        part: which curve or point.
        scale: ``quick`` or ``paper``.
        seed: of the run.
        points: number of rows.
        seconds: wall time of the computation.
        finished: when it was written, ISO 8601, UTC.
        version: of the package that computed it.
        digest: of the code that computed it.
    """

    key: str
    experiment: str
    part: str
    scale: str
    seed: int
    points: int
    seconds: float
    finished: str
    version: str
    digest: str


_COLUMNS = tuple(f.name for f in fields(Record))
_KINDS = {"int": "INTEGER", "float": "REAL"}
_TABLE = ", ".join(
    f"{f.name} {_KINDS.get(str(f.type), 'TEXT')}{' PRIMARY KEY' if f.name == 'key' else ''}" for f in fields(Record)
)


class Index:
    """A table of :class:`Record`, one transaction an operation, write-ahead log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, record: Record) -> None:
        """Insert or replace one run."""
        with self._open() as database:
            self._insert(database, record)

    def synchronize(self, keys: Iterable[str], read: Callable[[str], Record | None]) -> tuple[Record, ...]:
        """Make the table hold exactly the runs of ``keys`` and return them, oldest first.

        Args:
            keys: names of the run folders there are.
            read: reads the record of a folder that the table lacks; None for a broken one.
        """
        wanted = set(keys)
        with self._open() as database:
            known = {key for (key,) in database.execute("SELECT key FROM runs")}
            for key in sorted(wanted - known):
                record = read(key)
                if record is not None:
                    self._insert(database, record)
            database.executemany("DELETE FROM runs WHERE key = ?", [(key,) for key in known - wanted])
            rows = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM runs ORDER BY finished, key").fetchall()
        return tuple(Record(*row) for row in rows)

    def _insert(self, database: sqlite3.Connection, record: Record) -> None:
        places = ", ".join("?" for _ in _COLUMNS)
        database.execute(f"INSERT OR REPLACE INTO runs ({', '.join(_COLUMNS)}) VALUES ({places})", astuple(record))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS)) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                database.execute(f"PRAGMA application_id = {_MARK}")
                database.execute(f"CREATE TABLE IF NOT EXISTS runs ({_TABLE})")
            elif database.execute("PRAGMA application_id").fetchone()[0] != _MARK:
                raise sqlite3.DatabaseError("not an index of markov-icl")
            yield database
