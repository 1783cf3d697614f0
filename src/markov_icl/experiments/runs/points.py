"""The rows of a run: one tidy table for every experiment."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from markov_icl.analysis.evaluation import evaluate
from markov_icl.experiments.runs.spec import Spec
from markov_icl.models.protocol import Predictor
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import Prompts

if TYPE_CHECKING:
    import polars

__all__ = [
    "FinishedRun",
    "Point",
    "Series",
    "curves",
    "frame",
    "measures",
    "parquet",
    "points_of",
    "score_points",
    "select",
    "series",
]


@dataclass(frozen=True)
class Point:
    """One number of a run; wall times are not among them, so that equal runs have equal rows.

    Attributes:
        curve: which curve of the figure.
        measure: what ``value`` is, such as ``loss`` (squared states) or ``accuracy`` (share right).
        x: where on the horizontal axis.
        value: the number.
        error: one standard error over prompts; None where ``value`` is exact or has none.
        y: second coordinate, for pictures; None otherwise.
    """

    curve: str
    measure: str
    x: float
    value: float
    error: float | None = None
    y: float | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run: its spec and its rows."""

    spec: Spec
    points: tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """One curve over the seeds that have it.

    Attributes:
        x: ascending, ``[X]``.
        values: one row a seed, ``[seeds, X]``; nan where a seed lacks the point.
        errors: standard errors over prompts, nan where there is none, ``[seeds, X]``.
    """

    x: Float[np.ndarray, " X"]
    values: Float[np.ndarray, "seeds X"]
    errors: Float[np.ndarray, "seeds X"]

    @property
    def mean(self) -> Float[np.ndarray, " X"]:
        """Return the mean over seeds."""
        return np.asarray(np.nanmean(self.values, axis=0))

    @property
    def deviation(self) -> Float[np.ndarray, " X"]:
        """Return the standard deviation over seeds, 0 for a single one."""
        if len(self.values) < 2:
            return np.zeros(len(self.x))
        return np.asarray(np.nanstd(self.values, axis=0, ddof=1))

    def at(self, x: float) -> Float[np.ndarray, " seeds"]:
        """Return the values at one ``x``, a seed each.

        Raises:
            ValueError: if the curve has no such point.
        """
        found = np.flatnonzero(self.x == x)
        if len(found) != 1:
            raise ValueError(f"expected x to be one of {', '.join(f'{v:g}' for v in self.x)}; got {x:g}")
        return np.asarray(self.values[:, found[0]])


_TYPES = {
    "curve": "String",
    "measure": "String",
    "x": "Float64",
    "value": "Float64",
    "error": "Float64",
    "y": "Float64",
}


def frame(points: Iterable[Point]) -> polars.DataFrame:
    """Return the rows as a data frame, columns as in :class:`Point`."""
    import polars

    schema = {name: getattr(polars, kind) for name, kind in _TYPES.items()}
    return polars.DataFrame([astuple(point) for point in points], schema=schema, orient="row")


def parquet(points: Iterable[Point]) -> bytes:
    """Return the rows as the bytes of a Parquet file: equal rows, equal bytes."""
    buffer = io.BytesIO()
    frame(points).write_parquet(buffer, compression="zstd", compression_level=3, statistics=False)
    return buffer.getvalue()


def points_of(data: bytes) -> tuple[Point, ...]:
    """Return the rows of a Parquet file that :func:`parquet` wrote.

    Raises:
        ValueError: if the file is damaged or has other columns.
    """
    import polars

    try:
        table = polars.read_parquet(io.BytesIO(data))
    except (polars.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"expected rows in Parquet; got {' '.join(str(error).split())[:80]}") from None
    if table.columns != list(_TYPES):
        raise ValueError(f"expected columns {', '.join(_TYPES)}; got {', '.join(table.columns)[:80]}")
    return tuple(Point(*row) for row in table.iter_rows())


def select(outcomes: Iterable[FinishedRun], curve: str, measure: str) -> list[tuple[int, Point]]:
    """Return seed and point of every row of one curve and measure."""
    return [(o.spec.seed, p) for o in outcomes for p in o.points if (p.curve, p.measure) == (curve, measure)]


def series(outcomes: Iterable[FinishedRun], curve: str, measure: str) -> Series:
    """Return one curve over seeds.

    Raises:
        ValueError: if no run has it.
    """
    rows = select(outcomes, curve, measure)
    if not rows:
        raise ValueError(f"expected runs with {measure} of {curve!r}; got none")
    x = sorted({point.x for _, point in rows})
    seeds = sorted({seed for seed, _ in rows})
    values, errors = np.full((2, len(seeds), len(x)), np.nan)
    for seed, point in rows:
        place = seeds.index(seed), x.index(point.x)
        values[place] = point.value
        errors[place] = np.nan if point.error is None else point.error
    return Series(np.array(x), values, errors)


def curves(outcomes: Sequence[FinishedRun], measure: str) -> tuple[str, ...]:
    """Return the names of the curves with this measure, in the order of their first rows."""
    return tuple(dict.fromkeys(p.curve for o in outcomes for p in o.points if p.measure == measure))


def measures(outcomes: Sequence[FinishedRun], curve: str) -> tuple[str, ...]:
    """Return the measures of a curve, in the order of their first rows."""
    return tuple(dict.fromkeys(p.measure for o in outcomes for p in o.points if p.curve == curve))


def score_points(task: Task, predictors: Sequence[Predictor], prompts: Prompts, x: float) -> list[Point]:
    """Return loss and accuracy of every predictor on the same prompts; curves carry the predictors' names."""
    points = []
    for row in evaluate(task, predictors, prompts).rows:
        points.append(Point(row.predictor, "loss", x, row.loss, row.loss_se))
        if row.accuracy is not None:
            points.append(Point(row.predictor, "accuracy", x, row.accuracy, row.accuracy_se))
    return points
