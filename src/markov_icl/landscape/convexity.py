"""Is the optimum unique? Decided exactly in rationals, with the free directions where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.moments.system import RationalMoments
from markov_icl.rationals import fraction, ldl, null_space

__all__ = ["Convexity", "convexity"]


@dataclass(frozen=True, eq=False)
class Convexity:
    """Verdict on Lemma 3.1 for one task.

    Attributes:
        strict: whether ``H`` is positive definite, so that the minimizer is unique.
        free: basis of the null space of ``H``: moving along a row changes no prediction, ``[nullity, N]``.
        smallest_pivot: least pivot of ``H = L D L^T``, a float for display; 0 when singular.
        proof: how it was decided.
    """

    strict: bool
    free: Float[np.ndarray, "nullity N"]
    smallest_pivot: float
    proof: str


def convexity(moments: RationalMoments) -> Convexity:
    """Decide strict convexity of the loss (Lemma 3.1) by an exact ``L D L^T`` of ``H``."""
    try:
        pivots, _ = ldl(moments.H.tolist(), [], "H")
    except ValueError:
        pivots = []
    if pivots:
        least = float(fraction(min(pivots)))
        return Convexity(True, np.empty((0, moments.size)), least, "rational LDL^T: every pivot positive")
    basis = null_space(moments.H)
    free = np.array([[float(fraction(v)) for v in row] for row in basis], dtype=float)
    return Convexity(False, free.reshape(-1, moments.size), 0.0, "rational null space")
