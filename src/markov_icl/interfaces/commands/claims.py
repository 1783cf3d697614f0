"""The command claims: every statement of the paper, what it says, what we computed, the verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from markov_icl.interfaces.commands.options import Folder, answering
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.progress import bar

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="claims")(answering(claims, picture=False))


def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Such as 'Lemma 3.1' or fig5; all if none.")] = None,
    store: Folder = None,
) -> Answer:
    """The paper's statements: what each says, what we computed, verdict, tolerance; figures from the store's runs."""
    from markov_icl.experiments.claims.all_claims import check_claims, chosen_claims
    from markov_icl.experiments.runs.finished import best_finished

    chosen = chosen_claims(names or [])
    figures = {c.figure: best_finished(c.figure, store) for c in chosen if c.figure is not None}
    with bar("claims") as tell:
        found = check_claims(figures, chosen, tell)
    rows, entries = [], []
    for one in found:
        claim, finding = one.claim, one.finding
        above = "".join(f"\n! {mark.text}" for mark in finding.above)
        rows.append((claim.name, claim.says, f"{finding.verdict} ({finding.tolerance}){above}"))
        entries.append(
            {
                "claim": claim.name,
                **pick(claim, "says", "command"),
                **pick(finding, "verdict", "computed", "tolerance"),
                "above_ceiling": finding.above,
            }
        )
    marks = sum(len(one.finding.above) for one in found)
    note = f"{len(found)} entries, {marks} numbers above the Bayes ceiling (!); --json has the numbers"
    table = Table("The paper's statements", rows, ("statement", "the paper says", "verdict (tolerance)"))
    return Answer({"claims": entries}, [table, note])
