"""Every experiment by name.

Apart from the experiments themselves, so that a new figure leaves the finished runs of the others valid.
"""

from __future__ import annotations

from importlib import import_module

from markov_icl.choices import unknown
from markov_icl.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "FIGURES", "OWN_FIGURES", "PAPER_FIGURES", "experiment", "figure"]

EXPERIMENTS = {
    "train": "sweep",
    "fig2": "fig02",
    "fig3": "fig03",
    "fig4": "fig04",
    "fig5": "fig05",
    "fig6": "fig06",
    "fig7": "fig07",
    "fig10": "fig10",
    "map": "map_figure",
    "gap": "gap_figure",
    "heads": "heads_figure",
    "minima": "minima_figure",
    "hardness": "hardness_figure",
}
"""Name of every experiment to its module in ``markov_icl.experiments``, where it is the constant ``EXPERIMENT``."""

PAPER_FIGURES = tuple(name for name in EXPERIMENTS if name.startswith("fig"))
OWN_FIGURES = ("map", "gap", "heads", "minima", "hardness")
"""What the paper does not draw."""
FIGURES = (*PAPER_FIGURES, *OWN_FIGURES)


def experiment(name: str) -> Experiment:
    """Return the experiment of this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in EXPERIMENTS:
        raise unknown("an experiment,", name, EXPERIMENTS)
    found = import_module(f"markov_icl.experiments.{EXPERIMENTS[name]}").EXPERIMENT
    assert isinstance(found, Experiment)
    return found


def figure(name: str) -> Experiment:
    """Return the experiment of a figure, the paper's or ours.

    Raises:
        ValueError: if there is no such figure.
    """
    if name not in FIGURES:
        raise unknown("a figure,", name, FIGURES)
    return experiment(name)
