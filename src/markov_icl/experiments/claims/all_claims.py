"""Every claim of the paper in one table: what it says, what we compute, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markov_icl.experiments.claims.claim import AboveCeiling, Claim, Finding
from markov_icl.experiments.claims.depth import DEPTH_CLAIMS
from markov_icl.experiments.claims.figures import FIGURE_CLAIMS
from markov_icl.experiments.claims.hardness import HARDNESS_CLAIMS
from markov_icl.experiments.claims.optimum import OPTIMUM_CLAIMS
from markov_icl.experiments.claims.recovery import RECOVERY_CLAIMS
from markov_icl.experiments.runs.points import FinishedRun
from markov_icl.progress import Progress, shown

__all__ = ["CLAIMS", "AboveCeiling", "Checked", "Claim", "Finding", "check_claims", "chosen_claims"]

CLAIMS: tuple[Claim, ...] = (*OPTIMUM_CLAIMS, *RECOVERY_CLAIMS, *HARDNESS_CLAIMS, *DEPTH_CLAIMS, *FIGURE_CLAIMS)


@dataclass(frozen=True)
class Checked:
    """A claim and what we found."""

    claim: Claim
    finding: Finding


def chosen_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Return the claims of these names, or all; ``fig5`` stands for ``Fig. 5``, without regard to spaces and case.

    Raises:
        ValueError: if a name is no statement of the paper that the table knows.
    """
    if not names:
        return CLAIMS
    known = {_plain(place): claim for claim in CLAIMS for place in claim.places}
    known |= {claim.figure: claim for claim in CLAIMS if claim.figure is not None}
    unknown = [name for name in names if _plain(name) not in known]
    if unknown:
        raise ValueError(
            f"expected statements of the paper, such as Lemma 3.1, Theorem C.14 or fig5; got {unknown[0]!r:.40}"
        )
    wanted = {known[_plain(name)].name for name in names}
    return tuple(claim for claim in CLAIMS if claim.name in wanted)


def _plain(name: str) -> str:
    return "".join(name.lower().replace(". ", " ").split())


def check_claims(
    figures: Mapping[str, Sequence[FinishedRun] | None],
    claims: Sequence[Claim] = CLAIMS,
    progress: Progress = False,
) -> tuple[Checked, ...]:
    """Compute the findings.

    Args:
        figures: finished runs by name of the figure; a figure that is missing, or None, is said not to have run.
        claims: which ones.
        progress: whether to draw a bar, or who wants to know.
    """
    found: list[Checked] = []
    with shown(progress, "claims") as tell:
        for claim in claims:
            tell(len(found) / len(claims), claim.name)
            finding = claim.check() if claim.figure is None else claim.check(figures.get(claim.figure))
            found.append(Checked(claim, finding))
    return tuple(found)
