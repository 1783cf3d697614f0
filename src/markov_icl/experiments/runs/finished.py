"""Figures from finished runs: what the claims and the report take from the store instead of computing it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from markov_icl.choices import DEVICES, SCALES, SEEDS
from markov_icl.experiments.registry import EXPERIMENTS, figure
from markov_icl.experiments.runs.devices import on_device
from markov_icl.experiments.runs.index import Record
from markov_icl.experiments.runs.points import FinishedRun
from markov_icl.experiments.runs.spec import code_of, run_key
from markov_icl.experiments.runs.store import Store, default_store

__all__ = ["best_finished", "finished", "outdated"]


def finished(
    name: str, scale: str, seeds: int = SEEDS, folder: Path | None = None, device: str = "cpu"
) -> tuple[FinishedRun, ...] | None:
    """Return a figure's runs if the store has all of them, computed by this very code; None otherwise.

    Args:
        name: of the figure.
        scale: ``quick`` or ``paper``.
        seeds: of every trained curve.
        folder: of the store; the usual one if None.
        device: that trained the models.
    """
    try:
        store = Store(default_store() if folder is None else folder, read_only=True)
    except ValueError:
        return None
    chosen = figure(name)
    code = code_of(EXPERIMENTS[name])
    keys = [run_key(spec, code) for spec in on_device(chosen.specs(scale, seeds), device)]
    return tuple(map(store.read, keys)) if all(map(store.finished, keys)) else None


def outdated(records: Iterable[Record]) -> str:
    """Say how many runs another version of the code computed, which are never taken for runs of this one.

    Returns:
        One line; empty if there are none.
    """
    old = 0
    for one in records:
        code = code_of(EXPERIMENTS[one.experiment]) if one.experiment in EXPERIMENTS else None
        old += code is None or (one.version, one.digest) != (code.version, code.digest)
    runs = f"{old} run{'s' * (old > 1)}"
    return f"{runs} of another version of the code: reproduce and sweep compute them again" if old else ""


def best_finished(name: str, folder: Path | None = None) -> tuple[FinishedRun, ...] | None:
    """Return a figure's runs at the largest scale that is finished, those of a CPU first; None if there are none."""
    for scale in reversed(SCALES):
        for device in DEVICES:
            found = finished(name, scale, folder=folder, device=device)
            if found is not None:
                return found
    return None
