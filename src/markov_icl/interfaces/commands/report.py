"""The command report: every claim and figure on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from markov_icl.interfaces.commands.options import Folder, Workers, answering
from markov_icl.interfaces.output import Answer
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="report")(answering(report, picture=False))


def report(
    out: Annotated[Path, typer.Option("--out", help="Folder for index.html.")] = Path("report"),
    store: Folder = None,
    workers: Workers = None,
) -> Answer:
    """The paper's claims and figures as one self-contained HTML page: computed if short, else from finished runs."""
    from markov_icl.interfaces.report.report import write_report

    with bar("report") as tell:
        path = write_report(out, tell, store, workers)
    return Answer({"page": str(path)}, [str(path)])
