"""Fig. 2: a trained ten-layer model, layer by layer, over several seeds; does it do what the figure is said to show?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from markov_icl.depth.profile import FRONTS, Profile, profile
from markov_icl.depth.restricted import RestrictedFit, best_restricted
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["SCALES", "FigureTwo", "Scale", "figure_two", "rises"]


@dataclass(frozen=True)
class Scale:
    """How much is spent.

    Attributes:
        steps: of Adam.
        batch: fresh prompts a step.
        rate: learning rate.
        prompts: scores and objectives are means over so many.
        fronts: prompts with Pareto fronts.
        seeds: independent trainings.
    """

    steps: int
    batch: int
    rate: float
    prompts: int
    fronts: int
    seeds: int


SCALES = {
    "quick": Scale(steps=500, batch=256, rate=0.01, prompts=2000, fronts=12, seeds=3),
    "paper": Scale(steps=10_000, batch=1000, rate=0.003, prompts=20_000, fronts=100, seeds=5),
}
"""The paper gives the task (100 chains of length 5, Bernoulli(1/2) starts, 10 layers); the training is our choice."""


@dataclass(frozen=True, eq=False)
class FigureTwo:
    """The figure over several seeds.

    Attributes:
        task: the prompts' law.
        fits: one trained model a seed.
        profiles: one a seed.
    """

    task: MarkovTask
    fits: tuple[RestrictedFit, ...]
    profiles: tuple[Profile, ...]

    def distance(self, front: str) -> Float[np.ndarray, "seeds L1"]:
        """Return Generational Distance (mean convention) to a front of ``FRONTS``, layer by layer."""
        return np.array([[row.distance[front].mean for row in p.layers] for p in self.profiles])

    def closest(self, front: str) -> tuple[int, ...]:
        """Return the layer nearest to the front, for each seed."""
        return tuple(int(k) for k in self.distance(front).argmin(1))

    @property
    def losses(self) -> Float[np.ndarray, "seeds L1"]:
        """Return the mean squared error of every layer."""
        return np.array([[row.loss for row in p.layers] for p in self.profiles])

    def rises(self, group: str) -> tuple[int | None, ...]:
        """Return the layer from which all objectives of ``R1``, ``R2`` or ``both`` rise to the end, for each seed."""
        return tuple(rises(_objectives(p, group)) for p in self.profiles)

    @property
    def trades(self) -> tuple[bool, ...]:
        """Return, for each seed, whether after the least sum of R1's linear objectives they rise and the loss falls."""
        found = []
        for one in self.profiles:
            values = _objectives(one, "R1")
            lowest = int(values[:, :-1].sum(1).argmin())
            found.append(bool(lowest < len(values) - 1 and values[-1, -1] < values[lowest, -1]))
        return tuple(found)


def _objectives(one: Profile, group: str) -> Float[np.ndarray, "L1 K"]:
    parts = {"R1": ("first",), "R2": ("second",), "both": ("first", "second")}[group]
    return np.array([np.concatenate([getattr(row, part) for part in parts]) for row in one.layers])


def rises(values: Float[np.ndarray, "L1 K"]) -> int | None:
    """Return the first layer after which every objective rises in every layer to the end; None if the last does not."""
    up = np.all(values[1:] > values[:-1], axis=1)
    if not up[-1]:
        return None
    down = np.flatnonzero(np.logical_not(up))
    return int(down[-1]) + 1 if len(down) else 0


@lru_cache(maxsize=4)
def figure_two(
    scale: str = "quick", depth: int = 10, seed: int = 0, progress: Callable[[float], None] | None = None
) -> FigureTwo:
    """Train restricted models on the figure's task and profile them; the same arguments are computed once.

    Raises:
        ValueError: for an unknown scale.

    Source: Fig. 2.
    """
    if scale not in SCALES:
        raise ValueError(f"expected a scale, {' or '.join(SCALES)}; got {scale!r}")
    chosen = SCALES[scale]
    task = MarkovTask(length=5, context=100)
    fits, profiles = [], []
    for k in range(seed, seed + chosen.seeds):
        fit = best_restricted(task, depth, steps=chosen.steps, batch=chosen.batch, rate=chosen.rate, seed=k)
        fits.append(fit)
        profiles.append(profile(fit.model, task, chosen.prompts, chosen.fronts, seed=k))
        if progress is not None:
            progress((k + 1 - seed) / chosen.seeds)
    assert set(FRONTS) == set(profiles[0].layers[0].distance)
    return FigureTwo(task, tuple(fits), tuple(profiles))
