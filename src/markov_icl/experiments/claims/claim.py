"""What a claim of the paper is, and what we found about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AboveCeiling", "Claim", "Finding"]


@dataclass(frozen=True)
class AboveCeiling:
    """A score that no predictor can have on fresh prompts.

    Attributes:
        what: is scored, and how.
        reported: the paper's number, or ours computed as the paper does, as ``source`` says.
        ceiling: Bayes on fresh prompts.
        source: ``paper``, or ``recomputed`` where the paper shows it only in a plot.
    """

    what: str
    reported: float
    ceiling: float
    source: str = "paper"

    @property
    def text(self) -> str:
        """Return both numbers in one line."""
        whose = "paper" if self.source == "paper" else "recomputed as published"
        return f"above the Bayes ceiling: {self.what}: {self.reported:.3g} ({whose}), ceiling {self.ceiling:.3f}"


@dataclass(frozen=True)
class Finding:
    """What we computed about one claim.

    Attributes:
        verdict: ``holds``, ``holds where ...`` or ``differs``, in words.
        computed: the numbers behind it.
        tolerance: ``exact``, or the largest error.
        above: numbers of the paper that lie above the Bayes ceiling.
    """

    verdict: str
    computed: str
    tolerance: str
    above: tuple[AboveCeiling, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        name: where the paper states it; several places are separated by commas.
        says: what it says.
        check: computes the finding, in seconds; a figure's takes its finished runs, or None.
        command: reproduces its main number.
        figure: whose runs ``check`` reads; None for a statement that is computed on the spot.
    """

    name: str
    says: str
    check: Callable[..., Finding]
    command: str
    figure: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Return the names of the statements it covers."""
        return tuple(self.name.split(", "))
