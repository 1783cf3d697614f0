"""How much more heads help: the best loss with ``r = 1..D`` heads, and the fewest that leave no gap.

With ``r`` heads block ``j`` is ``sum_s sym(b_s a_sj^T)``. Then all forms ``M_j`` vanish on the complement
of the span of the ``b_s``; conversely a subspace of dimension ``D - r`` on which they all vanish gives
``r`` heads. With ``r = D`` every ``X`` is realized.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import flint
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import Array, to_symmetric
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.landscape.direct import solve
from markov_icl.moments.problem import Problem, moments_of
from markov_icl.progress import Progress, part, shown
from markov_icl.rationals import rational
from markov_icl.recovery.factor import recover
from markov_icl.recovery.heads.common_zero import common_zero_exists
from markov_icl.recovery.heads.inertia import indefinite_combination
from markov_icl.recovery.search.fit import Fit, search
from markov_icl.recovery.search.projection import frame

__all__ = ["HeadsBound", "HeadsCurve", "Split", "fewest_heads", "heads", "split_heads"]

_WARM = 3
"""Minima with one head fewer from which each search sets out again."""
_DENOMINATORS = (1, 12, 1000)
"""A subspace found numerically is rounded to fractions with at most these below; a simple one is likelier the true."""


@dataclass(frozen=True, eq=False)
class Split:
    """Parameters with ``sum_s phi(b_s, A_s) = X``: ``b`` ``[D, D]`` and ``A`` ``[D, D, J]``, ``D`` heads."""

    b: NDArray[np.generic]
    A: NDArray[np.generic]


@dataclass(frozen=True)
class HeadsBound:
    """A bound on the number of heads that leave no gap.

    Attributes:
        heads: the bound.
        kind: ``exact`` if proved in exact arithmetic or true of every ``X``, ``numerical`` if it holds at
            a tolerance.
        reason: why, in words.
    """

    heads: int
    kind: Literal["exact", "numerical"]
    reason: str


@dataclass(frozen=True, eq=False)
class HeadsCurve:
    """The best losses found with ``r = 1..R`` heads.

    Attributes:
        losses: nonincreasing upper bounds, in squared states, ``[R]``.
        floor: ``f~*``, which no number of heads can beat.
        gaps: ``losses - floor``, not below 0, ``[R]``.
        fits: the searches.
        tolerance: a gap up to this, in squared states, counts as none.
        at_least: lower bound on the number of heads with no gap.
        at_most: upper bound on it.
    """

    losses: Float[np.ndarray, " R"]
    floor: float
    gaps: Float[np.ndarray, " R"]
    fits: tuple[Fit, ...]
    tolerance: float
    at_least: HeadsBound
    at_most: HeadsBound

    @property
    def smallest(self) -> int | None:
        """Return the fewest heads with no gap where the bounds meet, else None."""
        return self.at_most.heads if self.at_most.heads == self.at_least.heads else None


def split_heads(X: NDArray[np.generic], blocks: int | None = None) -> Split:
    """Write any ``X`` as ``D`` heads: ``b_s = e_s``, ``a_sj`` column ``s`` of ``M_j``.

    Exact for fractions, and for floats as far as halving is.

    Args:
        X: ``[J m]`` or ``[J, m]``, floats or fractions.
        blocks: ``J``, where ``X`` is flat and not a plain task's.

    Source: Theory, section 5, heads.
    """
    M = to_symmetric(X, blocks)
    one, zero = (Fraction(1), Fraction(0)) if M.dtype == object else (1.0, 0.0)
    b = np.full((M.shape[1], M.shape[1]), zero, dtype=M.dtype)
    np.fill_diagonal(b, one)
    return Split(b, M.transpose(2, 1, 0))


def heads(
    problem: Problem,
    max_heads: int | None = None,
    starts: int = 16,
    seed: int | np.random.Generator = 0,
    minimizer: NDArray[np.object_] | None = None,
    tolerance: float = 1e-10,
    progress: Progress = False,
) -> HeadsCurve:
    """Search for the best loss with ``r = 1, 2, ..`` heads, each time from the best with one head fewer.

    Args:
        problem: a task, or its moments; a task small enough for fractions brings its ``minimizer`` along.
        max_heads: the largest ``r`` tried; None means ``D``, where the gap is zero.
        starts: random starts for each ``r``.
        seed: of the searches.
        minimizer: ``X*`` as fractions, ``[N]``. With it bounds on the number of heads come from exact
            arithmetic; that ``X*`` is the only minimizer is then known to working precision.
        tolerance: a gap up to this, in squared states, counts as none.
        progress: see :mod:`markov_icl.progress`; tells each search's number of heads and its starts.

    Raises:
        ValueError: if ``max_heads`` or ``minimizer`` does not fit the task.
    """
    system = moments_of(problem)
    form, moments = solve(system), system.to_float()
    minimizer = form.X_exact if minimizer is None else minimizer
    D = moments.dimension
    largest = D if max_heads is None else max_heads
    if not 1 <= largest <= D:
        raise ValueError(f"expected 1 <= max_heads <= {D}; got {max_heads}")
    if minimizer is not None and minimizer.shape != (moments.size,):
        raise ValueError(f"expected a minimizer of shape ({moments.size},); got {minimizer.shape}")
    rng = np.random.default_rng(seed)
    fits: list[Fit] = []
    with shown(progress, "heads") as tell:
        for r in range(1, largest + 1):
            warm = _warm_starts(fits[-1], form.X, moments.blocks) if fits else []
            fits.append(search(moments, r, starts, rng, warm, form.X, part(tell, (r - 1) / largest, r / largest)))
    losses = np.minimum.accumulate([fit.loss for fit in fits])
    gaps = np.maximum(losses - form.loss, 0.0)
    at_least, at_most = _bounds(form, minimizer, fits, gaps, tolerance, rng)
    return HeadsCurve(losses, form.loss, gaps, tuple(fits), tolerance, at_least, at_most)


def _warm_starts(fit: Fit, X: Array, blocks: int) -> list[Array]:
    """Return the best subspaces so far, each widened by the directions in which ``X`` still differs most."""
    M = np.asarray(to_symmetric(X, blocks), dtype=float)
    found = []
    for b in [fit.b, *(one.b for one in fit.minima[1:_WARM])]:
        V = frame(b.T)
        N = V[:, b.shape[0] :]
        left = np.linalg.svd((N.T @ M @ N).transpose(1, 0, 2).reshape(N.shape[1], -1))[0]
        found += [np.vstack([b, N @ direction]) for direction in left.T]
    return found


def _bounds(
    form: ClosedForm,
    minimizer: NDArray[np.object_] | None,
    fits: list[Fit],
    gaps: Array,
    tolerance: float,
    rng: np.random.Generator,
) -> tuple[HeadsBound, HeadsBound]:
    """Return the bounds below and above; those for ``X*`` itself need it to be the only minimizer."""
    D, blocks = form.moments.dimension, form.moments.blocks
    at_least = HeadsBound(1, "exact", "no prediction is made without a head")
    if form.unique:
        at_least = fewest_heads(form.X if minimizer is None else minimizer, blocks, rng)
    at_most = HeadsBound(D, "exact", f"{D} heads realize every X")
    closed = np.flatnonzero(gaps <= tolerance)
    if closed.size and closed[0] + 1 < D:
        r = int(closed[0]) + 1
        at_most = HeadsBound(r, "numerical", f"a fit with {r} heads leaves a gap of {gaps[r - 1]:.1e}")
    if minimizer is not None:
        proved = _exact_upper(minimizer, blocks, fits)
        if proved.heads <= at_most.heads:
            at_most = proved
    if at_least.kind == "numerical" and at_least.heads > at_most.heads:
        at_least = HeadsBound(1, "exact", "no prediction is made without a head")
    return at_least, at_most


def fewest_heads(X: NDArray[np.generic], blocks: int | None = None, seed: int | np.random.Generator = 0) -> HeadsBound:
    """Return a lower bound on the number of heads that realize ``X``.

    One head is decided exactly (:func:`~markov_icl.recovery.factor.recover`); beyond, a combination of
    blocks with ``k`` eigenvalues of one sign needs ``k`` heads.

    Args:
        X: ``[J m]`` or ``[J, m]``. Fractions give an exact bound, floats a numerical one.
        blocks: ``J``, where ``X`` is flat and not a plain task's.
        seed: of the search for a combination.
    """
    kind: Literal["exact", "numerical"] = "exact" if X.dtype == object else "numerical"
    recovery = recover(X, blocks)
    if recovery.recoverable:
        return HeadsBound(1, kind, "one head realizes X*")
    chosen = indefinite_combination(to_symmetric(X, blocks), seed)
    signs = chosen.inertia
    if signs.heads < 2:
        text = "no single head realizes X*" if recovery.witness is None else recovery.witness.text
        return HeadsBound(2, kind, text)
    weights = ", ".join(str(w) for w in chosen.weights)
    return HeadsBound(
        signs.heads,
        kind,
        f"the blocks combined with weights ({weights}) have {signs.positive} positive and "
        f"{signs.negative} negative eigenvalues",
    )


def _exact_upper(X: NDArray[np.object_], blocks: int, fits: list[Fit]) -> HeadsBound:
    """Return the best upper bound that rational arithmetic proves for ``X``."""
    M = to_symmetric(X, blocks)
    D = M.shape[1]
    if recover(X, blocks).recoverable:
        return HeadsBound(1, "exact", "one head realizes X*")
    stacked = flint.fmpq_mat(D, D * len(M), [rational(Fraction(v)) for v in M.transpose(1, 0, 2).ravel()])
    bound = HeadsBound(D, "exact", f"{D} heads realize every X")
    if stacked.rank() < D:
        bound = HeadsBound(stacked.rank(), "exact", "the blocks share a kernel")
    for fit in fits[: bound.heads - 1]:
        if any(_vanishes(M, N) for N in _rational_complements(fit.b)):
            return HeadsBound(fit.heads, "exact", "all blocks vanish on a rational subspace")
    if bound.heads == D and len(fits) >= D - 1 and common_zero_exists(M, frame(fits[D - 2].b.T)[:, -1]):
        return HeadsBound(D - 1, "exact", "all blocks share a real zero (contraction, in fractions)")
    return bound


def _vanishes(M: NDArray[np.generic], N: NDArray[np.object_]) -> bool:
    return all(not np.any(N.T @ block @ N != 0) for block in M)


def _rational_complements(b: Array) -> list[NDArray[np.object_]]:
    """Round the complement of ``b``'s rows to fractions, in coordinates where it has an identity block."""
    complement = frame(b.T)[:, b.shape[0] :]
    remaining, pivots = complement.copy(), []
    for _ in range(complement.shape[1]):
        pivots.append(int(np.linalg.norm(remaining, axis=1).argmax()))
        row = remaining[pivots[-1]] / np.linalg.norm(remaining[pivots[-1]])
        remaining = remaining - np.outer(remaining @ row, row)
    reduced = np.linalg.solve(complement[pivots].T, complement.T).T
    rounded = []
    for denominator in _DENOMINATORS:
        entries = [Fraction(float(v)).limit_denominator(denominator) for v in reduced.ravel()]
        N = np.empty(reduced.size, dtype=object)
        N[:] = entries
        rounded.append(N.reshape(reduced.shape))
    return rounded
