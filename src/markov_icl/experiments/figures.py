"""Every experiment by name.

Apart from the experiments themselves, so that a new figure leaves the finished runs of the others valid.
"""

from __future__ import annotations

from importlib import import_module

from markov_icl.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "FIGURES", "experiment", "figure"]

EXPERIMENTS = {
    "train": "sweep",
    "fig2": "fig02",
    "fig3": "fig03",
    "fig4": "fig04",
    "fig5": "fig05",
    "fig6": "fig06",
    "fig7": "fig07",
    "fig10": "fig10",
}
"""Name of every experiment to its module in ``markov_icl.experiments``, where it is the constant ``EXPERIMENT``."""

FIGURES = tuple(name for name in EXPERIMENTS if name.startswith("fig"))


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
