"""The command claims: every statement of the paper, what it says, what we computed, the verdict."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.experiment import Folder
from markov_icl.interfaces.commands.options import Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="claims")(claims)


def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Such as 'Lemma 3.1' or fig5; all if none.")] = None,
    store: Folder = None,
    json: Json = False,
) -> None:
    """The paper's statements: what each says, what we computed, verdict, tolerance; figures from the store's runs."""
    from markov_icl.experiments.claims.all_claims import check_claims, chosen_claims
    from markov_icl.experiments.runs.finished import best_finished
    from markov_icl.interfaces import output

    chosen = chosen_claims(names or [])
    figures = {c.figure: best_finished(c.figure, store) for c in chosen if c.figure is not None}
    with output.progress_bar("claims") as progress:
        found = check_claims(figures, chosen, progress)
    if json:
        output.print_json({"claims": [_plain(one) for one in found]})
        return
    rows = []
    for one in found:
        above = "".join(f"\n! {mark.text}" for mark in one.finding.above)
        rows.append((one.claim.name, one.claim.says, f"{one.finding.verdict} ({one.finding.tolerance}){above}"))
    output.print_table("The paper's statements", ("statement", "the paper says", "verdict (tolerance)"), rows)
    marks = sum(len(one.finding.above) for one in found)
    sys.stdout.write(f"{len(found)} entries, {marks} numbers above the Bayes ceiling (!); --json has the numbers\n")


def _plain(checked: Any) -> dict[str, Any]:
    claim, finding = checked.claim, checked.finding
    return {
        "claim": claim.name,
        "says": claim.says,
        "command": claim.command,
        "verdict": finding.verdict,
        "computed": finding.computed,
        "tolerance": finding.tolerance,
        "above_ceiling": [asdict(mark) for mark in finding.above],
    }
