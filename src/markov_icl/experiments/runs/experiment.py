"""What an experiment is: which runs it has, how one is computed, what they say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.points import FinishedRun, Point
from markov_icl.experiments.runs.spec import Spec

__all__ = ["Figure", "Sweep"]


@dataclass(frozen=True)
class Sweep:
    """An experiment whose runs a file lists.

    Attributes:
        name: a key of :data:`markov_icl.experiments.registry.EXPERIMENTS`.
        title: one line.
        compute: the rows of one run; a pure function of the spec, in one thread.
    """

    name: str
    title: str
    compute: Callable[[Spec], tuple[Point, ...]]


@dataclass(frozen=True)
class Figure:
    """A figure, the paper's or ours, and what its runs say.

    Attributes:
        name: a key of :data:`markov_icl.experiments.registry.EXPERIMENTS`.
        title: one line.
        compute: the rows of one run; a pure function of the spec, in one thread.
        specs: its runs at a scale with so many seeds.
        read: what the finished runs say about the paper's claim, or what we found.
        seconds: of one core for everything at the quick scale with five seeds, as measured.
        require: raises ValueError, naming the extra, where a package is missing that the runs need.
    """

    name: str
    title: str
    compute: Callable[[Spec], tuple[Point, ...]]
    specs: Callable[[str, int], tuple[Spec, ...]]
    read: Callable[[Sequence[FinishedRun]], Finding]
    seconds: int
    require: Callable[[], object] | None = None
