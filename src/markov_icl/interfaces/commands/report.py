"""The command report: every claim and figure on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from markov_icl.interfaces.commands.experiment import Folder, Workers
from markov_icl.interfaces.commands.options import Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="report")(report)


def report(
    out: Annotated[Path, typer.Option("--out", help="Folder for index.html.")] = Path("report"),
    store: Folder = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """The paper's claims and figures as one self-contained HTML page: computed if short, else from finished runs."""
    from markov_icl.interfaces.output import print_json, progress_bar
    from markov_icl.interfaces.report.report import write_report

    with progress_bar("report") as progress:
        path = write_report(out, progress, store, workers)
    if json:
        print_json({"page": str(path)})
    else:
        sys.stdout.write(f"{path}\n")
