"""What real parameters cost: the certified gap ``f* - f~*`` against length, for several context sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.certify import certify
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["CertifiedGap", "certified_gap"]


@dataclass(frozen=True, eq=False)
class CertifiedGap:
    """Certified losses over transformer parameters beside the enlarged optimum; uniform prior and starts.

    Attributes:
        lengths: ``[L]``.
        contexts: ``[C]``.
        floor: ``f~*``, squared states, ``[L, C]``.
        lower: verified lower bound on ``f*``, ``[L, C]``.
        upper: loss attained, ``[L, C]``.
        certified: whether the interval is within the tolerance, ``[L, C]``.
    """

    lengths: tuple[int, ...]
    contexts: tuple[int, ...]
    floor: Float[np.ndarray, "L C"]
    lower: Float[np.ndarray, "L C"]
    upper: Float[np.ndarray, "L C"]
    certified: np.ndarray


def certified_gap(
    lengths: Sequence[int],
    contexts: Sequence[int],
    tolerance: float = 1e-6,
    progress: Callable[[float], None] | None = None,
) -> CertifiedGap:
    """Certify every point of the grid.

    Args:
        lengths: of the binary chains.
        contexts: context sizes.
        tolerance: gap of each certificate, in squared states.
        progress: called with the finished share, 0 to 1.
    """
    shape = len(lengths), len(contexts)
    floor, lower, upper = np.empty((3, *shape))
    certified = np.empty(shape, dtype=bool)
    for i, length in enumerate(lengths):
        for k, context in enumerate(contexts):
            task = MarkovTask(length=length, context=context)
            proof = certify(task, tolerance)
            floor[i, k] = minimizer(task, "dense").loss
            lower[i, k], upper[i, k] = proof.lower, proof.upper
            certified[i, k] = proof.status == "certified"
            if progress is not None:
                progress((i * shape[1] + k + 1) / (shape[0] * shape[1]))
    return CertifiedGap(tuple(lengths), tuple(contexts), floor, lower, upper, certified)
