"""What the paper claims, and what we compute about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Claim", "Finding"]


@dataclass(frozen=True)
class Finding:
    """What we computed about one claim.

    Attributes:
        verdict: ``holds``, ``holds where ...`` or ``differs``, in words.
        computed: the numbers behind it.
        tolerance: ``exact``, or the largest error.
    """

    verdict: str
    computed: str
    tolerance: str


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        name: where the paper states it.
        says: what it says.
        check: computes the finding, in seconds.
        command: reproduces its main number.
    """

    name: str
    says: str
    check: Callable[[], Finding]
    command: str
