"""The claims and figures as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from markov_icl.analysis.evaluation import evaluate_held_out, standard_predictors
from markov_icl.experiments.claims.all_claims import Checked, Finding, check_claims
from markov_icl.experiments.claims.figures import NOT_RUN
from markov_icl.experiments.registry import OWN_FIGURES, figure
from markov_icl.experiments.runs.store import Store
from markov_icl.files import atomic
from markov_icl.interfaces.plots.optimum import plot_blocks
from markov_icl.interfaces.report.figures import FigureRuns, figure_section, figures_for_report
from markov_icl.interfaces.report.hardness import hardness_section
from markov_icl.interfaces.report.page import picture, table
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models.predictors import Constant
from markov_icl.progress import Progress, part, shown
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.data import from_sequences
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["weather_file", "write_report"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2530;--soft:#5a6675;--paper:#fdfdfb;--line:#d9dee4;--card:#fff;
--good:#1d6b3a;--part:#8a5a00;--bad:#a3291b}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebef;--soft:#a7b2be;--paper:#14181d;--line:#333c46;--card:#1b2127;
--good:#7bd39a;--part:#f0bd5b;--bad:#ff9a8a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.2rem;font:16px/1.55 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.7rem;line-height:1.2;margin:.4em 0}h2{font-size:1.2rem;margin:2em 0 .4em}
p{max-width:46rem}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;vertical-align:top;padding:.55rem .6rem;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft)}
td.num{font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}
.verdict{font-weight:600}.holds{color:var(--good)}.where{color:var(--part)}.differs{color:var(--bad)}
figure{margin:1rem 0}figure img{max-width:100%;background:#fff;border:1px solid var(--line);border-radius:.5rem;
padding:.4rem}
figcaption{color:var(--soft);font-size:.9rem;max-width:46rem}
@media(max-width:44rem){thead{display:none}tr{display:block;border:1px solid var(--line);border-radius:.5rem;
background:var(--card);margin:.8rem 0}td{display:block;border:0;padding:.35rem .7rem}
td::before{content:attr(data-label);display:block;color:var(--soft);font-size:.78rem}td.num{white-space:normal}}
"""


def weather_file() -> Path:
    """Return the shipped weather table, installed or in a checkout."""
    package = Path(__file__).parents[2]
    places = (package / "examples", package.parents[1] / "examples")
    found = next((p / "seattle_weather.csv" for p in places if (p / "seattle_weather.csv").is_file()), None)
    if found is None:
        raise ValueError("expected examples/seattle_weather.csv beside the package; it is missing")
    return found


def write_report(
    folder: Path,
    progress: Progress = False,
    store: Path | None = None,
    workers: int | None = None,
) -> Path:
    """Compute the short figures, take the rest from finished runs, write ``folder/index.html``, return its path.

    Args:
        folder: of the page.
        progress: True for a bar, or who is told.
        store: of the runs; the usual one if None.
        workers: runs at a time; None means one a core.

    Raises:
        ValueError: if ``folder`` cannot be a folder, or ``store`` no store.
    """
    if store is not None:
        Store(store)  # a wrong one is refused before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"expected a folder to write to; got {folder} ({error.strerror})") from None
    with shown(progress, "report") as tell:
        runs = figures_for_report(store, workers, part(tell, 0.0, 0.7))
        outcomes = {name: one.outcomes for name, one in runs.items()}
        checked = check_claims(outcomes, progress=part(tell, 0.7, 0.9))
        findings = {one.claim.figure: one.finding for one in checked}
        findings |= {name: _own_finding(runs[name]) for name in OWN_FIGURES}
        drawn = {name: figure_section(one, findings[name]) for name, one in runs.items()}
        parts = [
            _claims(checked),
            _table_of_lengths(),
            *(drawn.pop(name) for name in ("gap", "minima", "heads", "map")),
            hardness_section(),
            drawn.pop("hardness"),
            *drawn.values(),
            _weather(),
        ]
        tell(1.0, "")
    page = _page("".join(parts))
    target = folder / "index.html"
    with atomic(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _page(body: str) -> str:
    made = f"markov-icl {version('markov-icl')}, Python {platform.python_version()}, NumPy {version('numpy')}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>markov-icl report</title><style>{_STYLE}</style></head><body>"
        "<h1>In-context learning of Markov chains by one layer of linear self-attention</h1>"
        "<p>What <em>Optimality and NP-Hardness of Transformers in Learning Markovian Dynamical Functions</em> "
        "(NeurIPS 2025, arXiv 2510.18638) says about the one-layer optimum, recomputed on this machine. Losses are "
        f"mean squared errors, in squared states.</p>{body}<p class='soft'>{html.escape(made)}</p></body></html>\n"
    )


def _own_finding(runs: FigureRuns) -> Finding:
    read = figure(runs.name).read
    return Finding(NOT_RUN, "", "-") if runs.outcomes is None else read(runs.outcomes)


def _claims(checked: Sequence[Checked]) -> str:
    rows = []
    for one in checked:
        claim, finding = one.claim, one.finding
        first = finding.verdict.partition(" ")[0].rstrip(":,")
        kind = {"differs": "differs", "holds": "holds" if finding.verdict == "holds" else "where"}.get(first, "soft")
        marks = "".join(f"<br><span class='differs'>▲ {html.escape(mark.text)}</span>" for mark in finding.above)
        command = f"<code>{html.escape(claim.command)}</code>"
        more = f" <a href='#{claim.figure}'>figure</a>" if claim.figure else ""
        rows.append(
            (
                html.escape(claim.name),
                html.escape(claim.says),
                html.escape(finding.computed) + marks,
                f"<span class='verdict {kind}'>{html.escape(finding.verdict)}</span><br>"
                f"<span class='soft'>{html.escape(finding.tolerance)}</span>",
                command + more,
            )
        )
    header = ("Claim", "The paper says", "What we computed", "Verdict, tolerance", "Command")
    note = "<p class='soft'>▲ a number above what any predictor can reach on fresh prompts, beside that ceiling.</p>"
    return "<h2>The paper's claims</h2>" + note + table(header, rows)


def _table_of_lengths() -> str:
    rows = []
    for length in (2, 3, 4, 5, 6, 7, 11):
        losses = [minimizer(MarkovTask(length=length, context=n), "dense") for n in (1, 10, 100)]
        rows.append((str(length), *(f"{form.loss:.8f}" for form in losses), f"{losses[-1].condition:.2g}"))
    rows_html = table(("length", "n = 1", "n = 10", "n = 100", "condition of H, n = 100"), rows, numeric=True)
    form = minimizer(MarkovTask(length=5, context=100))
    drawn = picture(
        plot_blocks(form),
        "Heat maps of the four blocks of the minimizer at length 5",
        "The minimizer at length 5, n = 100: block j multiplies the query's state j; entry (i, k) multiplies the "
        "Gram matrix's entry. <code>markov-icl optimum --length 5 --context 100 --plot blocks.png</code>",
    )
    intro = "<p>The least loss f̃* of the enlarged space, uniform prior, first states Bernoulli(1/2).</p>"
    return f"<h2>The exact optimum</h2>{intro}{rows_html}{drawn}"


def _weather() -> str:
    lengths = (2, 3, 5)
    tables, notes = [], []
    for length in lengths:
        data = from_sequences(weather_file(), "month", "date", "wet", length)
        form = minimizer(data.task)
        constant = Constant(data.training_mean, "constant, the training mean")
        predictors = standard_predictors(data.task, form, best(data.task), constant=constant)
        tables.append(evaluate_held_out(data, predictors))
        notes.append(
            f"length {length}: {data.task.context} context chains, {tables[-1].prompts} prompts from "
            f"{tables[-1].groups} months, X* expects {form.loss:.4f}"
        )
    prior = data.task.prior
    assert isinstance(prior, DirichletPrior)
    alpha = ", ".join(f"({', '.join(f'{float(a):.3g}' for a in row)})" for row in prior.alpha)
    header = ("predictor", *(f"{what}, length {length}" for length in lengths for what in ("loss", "accuracy")))
    rows = []
    for one in tables[0].rows:
        same = [table.row(one.predictor) for table in tables]
        scores = ((row.loss, row.loss_se, row.accuracy, row.accuracy_se) for row in same)
        cells = [f"{loss:.3f} ± {se:.3f}|{right:.3f} ± {right_se:.3f}" for loss, se, right, right_se in scores]
        rows.append((html.escape(one.predictor), *"|".join(cells).split("|")))
    command = (
        "markov-icl evaluate --sequences examples/seattle_weather.csv --group month --time date --state wet --length 5"
    )
    return (
        "<h2>Real sequences: wet and dry days in Seattle</h2><p>Days of one calendar month follow one kernel. A "
        f"Dirichlet prior fitted to three quarters of the months, rows {alpha} for dry and wet days, gives the task; "
        "the other months test it. Squared errors and shares of right days, ± one standard error over months; no "
        "predictor is expected to beat the Bayes row if the fitted prior is right.</p>"
        + table(header, rows, numeric=True)
        + f"<p class='soft'>{html.escape('; '.join(notes))}. Nobody knows the true kernel here, so that row is "
        f"missing.</p><p><code>{html.escape(command)}</code></p>"
    )
