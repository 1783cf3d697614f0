"""Which device trains a model: a part of the spec, so that rows of a CPU and a GPU are never taken for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from markov_icl.experiments.runs.points import FinishedRun
from markov_icl.experiments.runs.spec import Spec

__all__ = ["chosen_device", "device_of", "on_device"]


def chosen_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ValueError: for another name, or ``cuda`` where there is none.
    """
    from markov_icl.models.training import choose_device

    return str(choose_device(name).type)


def on_device(specs: Sequence[Spec], device: str) -> tuple[Spec, ...]:
    """Return the specs with this device in those that let one be chosen; the others stay, and run on the CPU."""
    return tuple(
        replace(spec, training={**spec.training, "device": device}) if "device" in spec.training else spec
        for spec in specs
    )


def device_of(runs: Iterable[Spec | FinishedRun]) -> str:
    """Return ``cuda`` if any run trains there, else ``cpu``."""
    specs = (run.spec if isinstance(run, FinishedRun) else run for run in runs)
    return "cuda" if any(spec.training.get("device") == "cuda" for spec in specs) else "cpu"
