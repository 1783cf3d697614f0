"""Commands about predictors and trained models: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markov_icl.choices import PREDICTORS
from markov_icl.interfaces.commands.options import Memory, Seed, Source, answering, with_task
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.progress import Tell, bar, part

if TYPE_CHECKING:
    from markov_icl.analysis.evaluation import Evaluation, Row
    from markov_icl.models.protocol import Predictor

__all__ = ["register"]

_PROMPTS = 2000
_SEARCHED = 1500
"""Unknowns up to which the best real parameters are searched for without being named: ten seconds."""


def _complete_predictors(incomplete: str) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in PREDICTORS if name.startswith(last)]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="evaluate")(with_task(answering(evaluate)))


def evaluate(
    source: Source,
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts",
            min=2,
            help=f"Fresh prompts to score on. [dim]\\[default: {_PROMPTS}][/dim]",
            show_default=False,
        ),
    ] = None,
    predictors: Annotated[
        str | None,
        typer.Option(
            "--predictors",
            help=f"Some of {','.join(PREDICTORS)}; all if not given.",
            autocompletion=_complete_predictors,
        ),
    ] = None,
    model: Annotated[list[Path] | None, typer.Option("--model", help="A trained model to add; repeatable.")] = None,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """Every predictor's loss and accuracy on fresh prompts, or held-out real ones, beside the Bayes ceiling."""
    from markov_icl.interfaces.plots.optimum import plot_evaluation
    from markov_icl.tasks.sampling import prompt_gigabytes

    if source.data is not None and prompts is not None:
        raise ValueError("expected the data to decide --prompts; got it beside --sequences")
    count = _PROMPTS if prompts is None else prompts
    if source.data is None:
        need = prompt_gigabytes(source.task, count)
        require(need, memory, f"{count:,} prompts", "draw fewer with --prompts, or raise --memory")
    chosen = None if predictors is None else [name.strip() for name in predictors.split(",")]
    models = _models(model or [])
    with bar("evaluate") as tell:
        asked, notes = _predictors(source, chosen, models, memory, seed, part(tell, 0.0, 0.5))
        table = _scored(source, asked, count, seed, part(tell, 0.5, 1.0))
    notes += [*([] if source.data is None else source.data.notes), *table.notes]
    data = {"task": source.document, **pick(table, "prompts", "groups", "rows"), "seed": seed, "notes": notes}
    return Answer(data, _words(table, notes), lambda: plot_evaluation(table))


def _scored(source: Source, asked: list[Predictor], count: int, seed: int, tell: Tell) -> Evaluation:
    from markov_icl.analysis.evaluation import evaluate as score
    from markov_icl.analysis.evaluation import evaluate_held_out
    from markov_icl.tasks.sampling import sample_prompts

    if source.data is None:
        return score(source.task, asked, sample_prompts(source.task, count, seed), progress=tell)
    return evaluate_held_out(source.data, asked, tell)


def _models(files: list[Path]) -> list[Predictor]:
    if not files:
        return []
    from markov_icl.models.checkpoint import load_model
    from markov_icl.models.predictors import TorchModel

    stems = [file.stem for file in files]
    named = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    return [TorchModel(load_model(file), name) for file, name in zip(files, named, strict=True)]


def _predictors(
    source: Source,
    chosen: list[str] | None,
    models: list[Predictor],
    memory: float,
    seed: int,
    tell: Tell,
) -> tuple[list[Predictor], list[str]]:
    """Return the predictors and, for those found by optimization, what their loss is expected to be."""
    from markov_icl.analysis.evaluation import floor, standard_predictors
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.models.predictors import Constant
    from markov_icl.moments.system import Moments
    from markov_icl.progress import part
    from markov_icl.recovery.search.fit import best as search

    form = fit = None
    notes = []
    standard_predictors(source.task, chosen=[name for name in chosen or () if name not in ("optimum", "best")])
    if chosen is None or {"optimum", "best"} & set(chosen):
        try:
            form = minimizer(source.task, memory=memory, seed=seed, progress=part(tell, 0.0, 0.5))
        except ValueError as reason:
            if chosen is not None:
                raise
            notes.append(f"X* and best (b, A) left out: {reason}")
    if form is not None:
        notes.append(f"X*: expected loss {form.loss:.8g} ({form.error})")
        if chosen is None and form.moments.size > _SEARCHED:
            notes.append(
                f"best (b, A) left out: its search in {form.moments.size:,} unknowns takes long; name it to wait"
            )
        elif chosen is None or "best" in chosen:
            problem = form.moments if isinstance(form.moments, Moments) else source.task
            fit = search(problem, seed=seed, progress=part(tell, 0.5, 1.0))
            notes.append(f"best (b, A): expected loss {fit.loss:.8g}, an upper bound from a local search")
    constant = floor(source.task) if source.data is None else Constant(source.data.training_mean)
    return [*standard_predictors(source.task, form, fit, models, constant, chosen)], notes


def _words(table: Evaluation, notes: list[str]) -> list[Table | str]:
    states = any(row.accuracy is not None for row in table.rows)
    header = ["predictor", "loss", *(["accuracy"] if states else []), "loss over Bayes"]
    where = f"{table.prompts:,} prompts" + ("" if table.groups is None else f" from {table.groups} held-out groups")
    return [
        Table(f"Predictors on {where} (± one standard error)", [_cells(row, states) for row in table.rows], header),
        *(f"note: {row.predictor}: {row.note}" for row in table.rows if row.note),
        *(f"note: {note}" for note in notes),
    ]


def _cells(row: Row, states: bool) -> list[Any]:
    shown = [row.predictor, _pm(row.loss, row.loss_se)]
    if states:
        shown.append(_pm(row.accuracy, row.accuracy_se))
    return [*shown, _pm(row.excess, row.excess_se)]


def _pm(value: float | None, error: float | None) -> str:
    """Return ``value ± error`` with as many digits as the error makes meaningful."""
    if value is None or error is None:
        return "-"
    if value == 0 == error:
        return "0"
    return f"{value:.4f} ± {error:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g} ± {error:.2g}"
