"""Quasi-Monte-Carlo average over kernels, where the exact grid has too many nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.features import Numbers
from markov_icl.moments.assembly import accumulate
from markov_icl.moments.system import Moments
from markov_icl.progress import Progress, part, shown
from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["SobolRule", "sampled_moments", "sobol_rules"]


@dataclass(frozen=True, eq=False)
class SobolRule:
    """Kernels at scrambled Sobol points, equal weights.

    Attributes:
        alpha: Dirichlet parameters, ``[R, S]``.
        points: in the unit cube, ``[K, R (S - 1)]``.
    """

    alpha: Float[np.ndarray, "R S"]
    points: Float[np.ndarray, "K V"]

    @property
    def size(self) -> int:
        """Return the number of kernels."""
        return int(self.points.shape[0])

    def chunk(self, start: int, stop: int) -> tuple[Numbers, Numbers]:
        """Return kernels ``[K, R, S]`` and weights ``[K]`` of nodes ``start .. stop``."""
        from scipy.special import betaincinv

        rows, states = self.alpha.shape
        later = np.cumsum(self.alpha[:, ::-1], axis=1)[:, ::-1]
        u = self.points[start:stop].reshape(-1, rows, states - 1)
        v = betaincinv(self.alpha[:, :-1], later[:, 1:], u)
        rest = np.cumprod(1 - v, axis=2)
        kernels = np.concatenate([v, np.ones((*v.shape[:2], 1))], axis=2)
        kernels[:, :, 1:] *= rest
        return kernels, np.full(len(u), 1 / self.size)


def sampled_moments(
    task: MarkovTask,
    points: int = 4096,
    replicates: int = 8,
    seed: int = 0,
    progress: Progress = False,
) -> Moments:
    """Estimate the moments from ``replicates`` independent scramblings of a Sobol sequence.

    The mean is unbiased; the spread over scramblings gives every entry its standard error.
    Source: Owen (1997), randomly scrambled nets.

    Args:
        task: with a Dirichlet prior.
        points: kernels in each replicate, a power of two.
        replicates: at least 2.
        seed: of the scramblings.
        progress: see :mod:`markov_icl.progress`.

    Raises:
        ValueError: for another kind of prior or malformed sizes.
    """
    size = task.blocks * task.dimension * (task.dimension + 1) // 2
    H, h, y2 = np.empty((replicates, size, size)), np.empty((replicates, size)), np.empty(replicates)
    with shown(progress, "moments") as tell:
        for r, rule in enumerate(sobol_rules(task, points, replicates, seed)):
            one = part(tell, r / replicates, (r + 1) / replicates)
            H[r], h[r], y2[r] = accumulate(task, rule, tell=one).dense(task)
    return Moments(
        H.mean(0),
        h.mean(0),
        float(y2.mean()),
        task.blocks,
        task.dimension,
        "sampled",
        points * replicates,
        f"estimate: {replicates} scrambled Sobol sequences of {points} kernels, standard errors attached",
        replicates=(H, h, y2),
    )


def sobol_rules(task: MarkovTask, points: int, replicates: int, seed: int) -> Iterator[SobolRule]:
    """Yield ``replicates`` independent scramblings of ``points`` kernels; the arguments of :func:`sampled_moments`.

    Raises:
        ValueError: for another kind of prior or malformed sizes.
    """
    if not isinstance(task.prior, DirichletPrior):
        raise ValueError("expected a Dirichlet prior to sample from; got a finite one, which needs no sampling")
    if replicates < 2 or points < 2 or points & (points - 1):
        raise ValueError(f"expected points a power of two and replicates >= 2; got {points}, {replicates}")
    from scipy.stats.qmc import Sobol

    alpha = np.array(task.prior.alpha, dtype=float)
    if alpha.shape[0] * (alpha.shape[1] - 1) > Sobol.MAXDIM:
        raise ValueError(
            f"expected a kernel with at most {Sobol.MAXDIM:,} free entries to sample; got {task.rows:,} rows of "
            f"{task.states} states"
        )
    for child in np.random.SeedSequence(seed).spawn(replicates):
        engine = Sobol(alpha.shape[0] * (alpha.shape[1] - 1), rng=np.random.default_rng(child))
        yield SobolRule(alpha, np.clip(engine.random(points), 1e-300, 1 - 2**-53))
