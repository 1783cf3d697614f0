"""Figures from finished runs: what the claims and the report take from the store instead of computing it again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from markov_icl.experiments import fig02
from markov_icl.experiments.engine import compute
from markov_icl.experiments.figures import EXPERIMENTS, figure
from markov_icl.experiments.points import Outcome
from markov_icl.experiments.spec import SCALES, code_of, run_key
from markov_icl.experiments.store import Store, default_store

__all__ = ["SEEDS", "figure_two", "finished"]

SEEDS = 5
"""Of every trained curve, unless somebody asks for more."""


def finished(name: str, scale: str, seeds: int = SEEDS, folder: Path | None = None) -> tuple[Outcome, ...] | None:
    """Return a figure's runs if the store has all of them, computed by this very code; None otherwise.

    Args:
        name: of the figure.
        scale: ``quick`` or ``paper``.
        seeds: of every trained curve.
        folder: of the store; the usual one if None.
    """
    try:
        store = Store(default_store() if folder is None else folder, read_only=True)
    except ValueError:
        return None
    chosen = figure(name)
    assert chosen.specs is not None
    code = code_of(EXPERIMENTS[name])
    keys = [run_key(spec, code) for spec in chosen.specs(scale, seeds)]
    return tuple(map(store.read, keys)) if all(map(store.finished, keys)) else None


def best_finished(name: str) -> tuple[Outcome, ...] | None:
    """Return a figure's runs at the largest scale that is finished."""
    return next((found for scale in reversed(SCALES) if (found := finished(name, scale)) is not None), None)


@lru_cache(maxsize=1)
def figure_two() -> fig02.FigureTwo:
    """Return Fig. 2 from the store, or else computed now at the quick scale, once a process."""
    found = best_finished("fig2")
    if found is None:
        found = tuple(Outcome(spec, compute(spec)) for spec in fig02.specs("quick", SEEDS))
    return fig02.assemble(found)
