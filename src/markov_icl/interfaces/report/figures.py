"""The report's figures: those that take seconds are computed, the others come from finished runs or are left out."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from markov_icl.choices import SEEDS
from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.figures import fig02
from markov_icl.experiments.figures import gap as gap_figure
from markov_icl.experiments.registry import FIGURES, OWN_FIGURES, figure
from markov_icl.experiments.runs.devices import device_of
from markov_icl.experiments.runs.engine import run_all
from markov_icl.experiments.runs.finished import best_finished
from markov_icl.experiments.runs.points import FinishedRun
from markov_icl.experiments.runs.store import Store, default_store
from markov_icl.interfaces.plots.paper_figures import PLOTS
from markov_icl.interfaces.report.depth import layer_table
from markov_icl.interfaces.report.page import picture, table
from markov_icl.progress import Progress, shown

__all__ = ["MOST_SECONDS", "FigureRuns", "figure_section", "figures_for_report"]

MOST_SECONDS = 60
"""Figures that keep one core busy for longer at the quick scale are not computed for the report."""


@dataclass(frozen=True, eq=False)
class FigureRuns:
    """The runs behind a figure of the report.

    Attributes:
        name: of the figure.
        outcomes: None if there are none here.
        computed: whether any of them was computed for this report.
        missing: what the runs need that is not installed.
    """

    name: str
    outcomes: tuple[FinishedRun, ...] | None
    computed: bool = False
    missing: str | None = None


@contextmanager
def _writable(folder: Path | None) -> Iterator[Store]:
    """Open the store that new runs go to; a temporary one where the usual one cannot be written."""
    try:
        yield Store(default_store() if folder is None else folder)
        return
    except ValueError:
        if folder is not None:
            raise
    with tempfile.TemporaryDirectory() as temporary:
        yield Store(Path(temporary) / "store")


def figures_for_report(
    folder: Path | None = None, workers: int | None = None, progress: Progress = False
) -> dict[str, FigureRuns]:
    """Return the runs of every figure: finished ones at the largest scale, else short ones computed and kept.

    Args:
        folder: of the store; the usual one if None, without which nothing is kept.
        workers: runs at a time; None means one a core.
        progress: True for a bar, or who is told the finished share of the seconds.

    Raises:
        ValueError: if ``folder`` is given and is no store that can be written.
    """
    found: dict[str, FigureRuns] = {}
    costs = {name: figure(name).seconds for name in FIGURES}
    left = {name for name, cost in costs.items() if cost <= MOST_SECONDS}
    total = sum(costs[name] for name in left)
    with _writable(folder) as place, shown(progress, "figures") as tell:
        for name in FIGURES:
            found[name] = _runs(name, folder, place, workers)
            left.discard(name)
            tell(1 - sum(costs[one] for one in left) / total, name)
    return found


def _runs(name: str, folder: Path | None, place: Store, workers: int | None) -> FigureRuns:
    chosen, outcomes = figure(name), best_finished(name, folder)
    if outcomes is not None or (chosen.seconds or 0) > MOST_SECONDS:
        return FigureRuns(name, outcomes)
    try:
        if chosen.require is not None:
            chosen.require()
    except ValueError as error:
        return FigureRuns(name, None, missing=str(error))
    batch = run_all(chosen.specs("quick", SEEDS), place, workers)
    return FigureRuns(name, batch.outcomes, batch.computed > 0)


def figure_section(runs: FigureRuns, finding: Finding) -> str:
    """Return title, finding and picture as HTML, or the command that makes them."""
    chosen = figure(runs.name)
    number = "" if runs.name in OWN_FIGURES else f"Fig. {runs.name.removeprefix('fig')}: "
    title = f"<h2 id='{runs.name}'>{html.escape(number + chosen.title[0].upper() + chosen.title[1:])}</h2>"
    command = f"<code>markov-icl reproduce {runs.name}</code>"
    if runs.outcomes is None:
        why = (
            html.escape(runs.missing) if runs.missing else f"about {(chosen.seconds or 0) / 60:.0f} minutes of one core"
        )
        return f"{title}<p class='soft'>Not run here: {command} ({why}).</p>"
    more = ""
    if runs.name == "gap":
        more = _gap_table(runs.outcomes)
    elif runs.name == "fig2":
        more = layer_table(fig02.assemble(runs.outcomes))
    spec = runs.outcomes[0].spec
    seeds = len({outcome.spec.seed for outcome in runs.outcomes})
    came = "computed for this report" if runs.computed else "finished runs from the store"
    caption = (
        f"{len(runs.outcomes)} runs, {seeds} seed{'s' * (seeds > 1)}, {spec.scale} scale, "
        f"{device_of(runs.outcomes)}; {came}. {command}"
    )
    drawn = picture(PLOTS[runs.name](runs.outcomes), f"{number}{chosen.title}", caption)
    text = f"<p><span class='verdict'>{html.escape(finding.verdict)}.</span> {html.escape(finding.computed)}</p>"
    return title + text + more + drawn


def _gap_table(outcomes: Sequence[FinishedRun]) -> str:
    gap = gap_figure.assemble(outcomes)
    chosen = [k for k, n in enumerate(gap.contexts) if n in (1, 10, 100)]
    rows = [
        (
            str(length),
            *(
                f"{gap.lower[i, k]:.7f} to {gap.upper[i, k]:.7f}" + ("" if gap.certified[i, k] else " (open)")
                for k in chosen
            ),
        )
        for i, length in enumerate(gap.lengths)
    ]
    text = (
        "<p>Each entry holds the global minimum over transformer parameters: the upper end is attained, the lower "
        "end is proved by sums of squares and verified independently of the solver.</p>"
    )
    return text + table(("length", *(f"f*, n = {gap.contexts[k]}" for k in chosen)), rows, numeric=True)
