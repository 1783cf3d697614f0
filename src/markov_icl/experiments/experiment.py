"""What an experiment is: which runs it has, how one is computed, what they say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from markov_icl.experiments.claim import Finding
from markov_icl.experiments.points import Outcome, Point
from markov_icl.experiments.spec import Spec

__all__ = ["EXPERIMENTS", "FIGURES", "Experiment", "experiment", "figure"]

EXPERIMENTS = {
    "train": "sweep",
    "fig3": "fig03",
    "fig4": "fig04",
    "fig5": "fig05",
    "fig10": "fig10",
}
"""Name of every experiment to its module in :mod:`markov_icl.experiments`, where it is the constant ``EXPERIMENT``."""

FIGURES = tuple(name for name in EXPERIMENTS if name.startswith("fig"))


@dataclass(frozen=True)
class Experiment:
    """An experiment with independent runs.

    Attributes:
        name: a key of :data:`EXPERIMENTS`.
        title: one line.
        compute: the rows of one run; a pure function of the spec, in one thread.
        specs: the runs of a figure at a scale with so many seeds; None for sweeps, whose file says it.
        read: what the finished runs say about the paper's claim; None for sweeps.
    """

    name: str
    title: str
    compute: Callable[[Spec], tuple[Point, ...]]
    specs: Callable[[str, int], tuple[Spec, ...]] | None = None
    read: Callable[[Sequence[Outcome]], Finding] | None = None


def experiment(name: str) -> Experiment:
    """Return the experiment of this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"expected an experiment, {', '.join(EXPERIMENTS)}; got {name!r:.40}")
    found = import_module(f"markov_icl.experiments.{EXPERIMENTS[name]}").EXPERIMENT
    assert isinstance(found, Experiment)
    return found


def figure(name: str) -> Experiment:
    """Return the experiment of a figure of the paper.

    Raises:
        ValueError: if there is no such figure.
    """
    if name not in FIGURES:
        raise ValueError(f"expected a figure, {', '.join(FIGURES)}; got {name!r:.40}")
    return experiment(name)
