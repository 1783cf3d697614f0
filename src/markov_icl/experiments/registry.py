"""Every experiment by name.

Apart from the experiments themselves, so that a new figure leaves the finished runs of the others valid.
"""

from __future__ import annotations

from importlib import import_module

from markov_icl.choices import unknown
from markov_icl.experiments.runs.experiment import Figure, Sweep

__all__ = ["EXPERIMENTS", "FIGURES", "OWN_FIGURES", "PAPER_FIGURES", "experiment", "figure"]

EXPERIMENTS = {
    "train": "runs.sweep",
    "fig2": "figures.fig02",
    "fig3": "figures.fig03",
    "fig4": "figures.fig04",
    "fig5": "figures.fig05",
    "fig6": "figures.fig06",
    "fig7": "figures.fig07",
    "fig10": "figures.fig10",
    "map": "figures.map",
    "gap": "figures.gap",
    "heads": "figures.heads",
    "minima": "figures.minima",
    "hardness": "figures.hardness",
}
"""Name of every experiment to its module in ``markov_icl.experiments``, where it is the constant ``EXPERIMENT``."""

PAPER_FIGURES = tuple(name for name in EXPERIMENTS if name.startswith("fig"))
OWN_FIGURES = tuple(name for name, module in EXPERIMENTS.items() if name not in PAPER_FIGURES and "figures." in module)
"""What the paper does not draw."""
FIGURES = (*PAPER_FIGURES, *OWN_FIGURES)


def experiment(name: str) -> Figure | Sweep:
    """Return the experiment of this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in EXPERIMENTS:
        raise unknown("an experiment,", name, EXPERIMENTS)
    found = import_module(f"markov_icl.experiments.{EXPERIMENTS[name]}").EXPERIMENT
    assert isinstance(found, Figure | Sweep)
    return found


def figure(name: str) -> Figure:
    """Return the experiment of a figure, the paper's or ours.

    Raises:
        ValueError: if there is no such figure.
    """
    if name not in FIGURES:
        raise unknown("a figure,", name, FIGURES)
    found = experiment(name)
    assert isinstance(found, Figure)
    return found
