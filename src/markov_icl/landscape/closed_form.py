"""The minimizer of the loss in the enlarged space, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from markov_icl.features import block_labels
from markov_icl.landscape.convexity import Convexity
from markov_icl.landscape.operator.operator import ChainOperator
from markov_icl.landscape.symbolic import SymbolicForm
from markov_icl.moments.system import Moments
from markov_icl.rationals import Exact

__all__ = ["ClosedForm"]


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """The minimizer of ``f~`` and how far to trust it.

    Attributes:
        X: ``[N]``, coordinates of :mod:`markov_icl.features`; the minimum-norm point when ``H`` is singular.
        loss: ``f~* = E y^2 - h^T X*``, in squared states.
        residual: ``max |H X - h| / max |h|``; 0 means exact.
        condition: 2-norm condition number of ``H`` (Lanczos estimate beyond 1,500 unknowns), of the preconditioned
            ``H`` from Ritz values where ``method`` is ``operator``; inf if singular.
        method: ``dense``, ``operator``, ``rational`` or ``symbolic``.
        moments: what was solved, rounded to float64; for ``operator`` without a matrix.
        error: what is known about the error of ``loss``, in words.
        loss_error: one standard error, or the change under node doubling, or for ``operator`` what the residual can
            hide, or what rounding can do where that is over ``1e-12`` of the loss; None where exact up to rounding.
        X_error: the same for every coordinate, ``[N]``.
        free: orthonormal directions along which ``f~`` does not change, ``[nullity, N]``; proved when
            ``convexity`` is there, to working precision otherwise.
        convexity: exact verdict on uniqueness, where fractions were used.
        X_exact: fractions, ``[N]``, where fractions were used.
        loss_exact: the same for the loss.
        formula: expressions in the start probabilities and the context, where symbolic.
    """

    X: Float[np.ndarray, "N"]
    loss: float
    residual: float
    condition: float
    method: str
    moments: Moments | ChainOperator
    error: str
    loss_error: float | None = None
    X_error: Float[np.ndarray, "N"] | None = None
    free: Float[np.ndarray, "nullity N"] | None = None
    convexity: Convexity | None = None
    X_exact: Exact | None = None
    loss_exact: Fraction | None = None
    formula: SymbolicForm | None = None

    @property
    def unique(self) -> bool:
        """Return whether ``X`` is the only minimizer: the exact verdict where there is one."""
        if self.convexity is not None:
            return self.convexity.strict
        return self.free is None and bool(np.isfinite(self.condition))

    @property
    def labels(self) -> list[str]:
        """Return a name for every coordinate."""
        return block_labels(self.moments.blocks, self.moments.dimension)
