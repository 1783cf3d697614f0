"""What an experiment is: which runs it has, how one is computed, what they say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markov_icl.experiments.claims.claim import Finding
from markov_icl.experiments.runs.points import Outcome, Point
from markov_icl.experiments.runs.spec import Spec

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """An experiment with independent runs.

    Attributes:
        name: a key of :data:`markov_icl.experiments.registry.EXPERIMENTS`.
        title: one line.
        compute: the rows of one run; a pure function of the spec, in one thread.
        specs: the runs of a figure at a scale with so many seeds; None for sweeps, whose file says it.
        read: what the finished runs say about the paper's claim, or what we found; None for sweeps.
        seconds: of one core for everything at the quick scale with five seeds, as measured; None for sweeps.
        require: raises ValueError, naming the extra, where a package is missing that the runs need.
    """

    name: str
    title: str
    compute: Callable[[Spec], tuple[Point, ...]]
    specs: Callable[[str, int], tuple[Spec, ...]] | None = None
    read: Callable[[Sequence[Outcome]], Finding] | None = None
    seconds: int | None = None
    require: Callable[[], object] | None = None
