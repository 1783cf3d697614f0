"""The best loss that real parameters reach, by local search from many starts.

``inf f~(sum_s phi(b_s, A_s))`` has local minima that are not global from length 3 on. Every one found is
reported. A :class:`Fit` is an upper bound, never a proof that nothing better exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import Array, phi
from markov_icl.landscape.minimizer import minimizer
from markov_icl.landscape.operator.operator import ChainOperator
from markov_icl.landscape.realizable import in_gauge
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.moments.problem import Problem, float_moments
from markov_icl.progress import Progress, Tell, part, shown
from markov_icl.recovery.search.matrix_free import (
    approach,
    is_beyond_dense,
    reduced_loss,
    require_search_gigabytes,
)
from markov_icl.recovery.search.projection import Projection, forms
from markov_icl.recovery.search.quadratic import Normal, Quadratic
from markov_icl.recovery.search.starts import balance, informed_starts, random_starts
from markov_icl.recovery.search.trust_region import End, Signature, minimize_from
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.threads import blas_threads

__all__ = ["Fit", "Minimum", "best", "realize", "search"]

_FOLLOWED = 3
"""Starts followed down on long chains, where an evaluation takes a tenth of a second or more."""
_OPERATOR_SHARE = 0.3
"""Share of a bar that ``X*`` gets on a long chain; it depends on the number of starts."""
_SAME = 1e-6
"""Two minima are one when their points differ by at most this, relative to the larger norm: a gradient of 1e-12
leaves a point uncertain by that over the curvature, which is above 1e-6 where it counts as positive."""
_ROUNDING = 1e-13
"""A start's end that is lower by no more than this, relative, is the best converged minimum."""
_SAME_LOSS = 1e-10
"""Two minima with flat directions are one when their losses differ by at most this times ``h^T X``."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """One local minimum, or a sample of a continuum of them where ``signature.zero`` is positive.

    Attributes:
        loss: in squared states (of :func:`~markov_icl.recovery.search.nearest.nearest`: the squared distance).
        b: last rows of the projections, orthonormal, ``[heads, D]``.
        A: first columns of the key-query matrices, ``[heads, D, J]``.
        X: ``sum_s phi(b_s, A_s)``, ``[N]``: the same for all scalings of ``(b, A)``.
        random_starts: how many random starts led here.
        informed_starts: how many starts guessed from ``X*``, or given, led here.
        signature: signs of the Hessian's eigenvalues.
        relative_gradient: gradient norm, squared states a radian of ``b``, over ``h^T X``.
    """

    loss: float
    b: Float[np.ndarray, "heads D"]
    A: Float[np.ndarray, "heads D J"]
    X: Float[np.ndarray, " N"]
    random_starts: int
    informed_starts: int
    signature: Signature
    relative_gradient: float


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of a local search: an upper bound on the best loss.

    Attributes:
        loss: least loss at any start's end, in squared states, evaluated at ``X``.
        b: ``[heads, D]``, orthonormal rows.
        A: ``[heads, D, J]``.
        X: ``sum_s phi(b_s, A_s)``, ``[N]``.
        minima: every distinct local minimum found, least loss first. Empty if no start converged.
        heads: ``r``.
        random_starts: number of random starts.
        informed_starts: number of starts guessed from ``X*`` or given by the caller.
        saddles: starts that ended on a saddle point.
        unconverged: starts that did not reach a stationary point.
        screened: starts whose loss was evaluated but that were not followed down, on long chains.
    """

    loss: float
    b: Float[np.ndarray, "heads D"]
    A: Float[np.ndarray, "heads D J"]
    X: Float[np.ndarray, " N"]
    minima: tuple[Minimum, ...]
    heads: int
    random_starts: int
    informed_starts: int
    saddles: int
    unconverged: int
    screened: int = 0


def best(
    problem: Problem,
    heads: int = 1,
    starts: int = 64,
    seed: int | np.random.Generator = 0,
    initial: Sequence[NDArray[np.float64]] = (),
    informed: bool = True,
    progress: Progress = False,
) -> Fit:
    """Search for ``inf_{b, A} f~(sum_s phi(b_s, A_s))``.

    ``A`` is eliminated exactly, ``f(b) = y2 - h_b^T H_b^{-1} h_b``, and the rest minimized by a
    trust-region Newton method on subspaces until the gradient is at most ``1e-12 h^T X``. Where ``H`` is
    singular the minimum-norm ``A`` is taken.

    Args:
        problem: a task, or its moments.
        heads: ``1 <= r <= D``; ``r = D`` realizes every ``X``.
        starts: number of random starts.
        seed: of the random starts.
        initial: further starts, each ``[heads, D]``.
        informed: also start from guesses taken from ``X*``.
        progress: see :mod:`markov_icl.progress`; tells the least loss after each start.

    Raises:
        ValueError: if an argument is out of range or no start is left.

    Source: Remark C.15; variable projection after Golub & Pereyra (1973).
    """
    with shown(progress, "best") as tell:
        if isinstance(problem, MarkovTask) and is_beyond_dense(problem):
            require_search_gigabytes(problem, DEFAULT_MEMORY_GB)
            form = minimizer(problem, "operator", progress=part(tell, 0.0, _OPERATOR_SHARE))
            X, tell = form.X, part(tell, _OPERATOR_SHARE, 1.0)
            quadratic: Quadratic = form.moments
        else:
            moments = float_moments(problem)
            quadratic, X = moments, Normal.of(moments.H).solve(moments.h)
        return search(quadratic, heads, starts, seed, initial, X if informed else None, tell)


def search(
    quadratic: Quadratic,
    heads: int,
    starts: int,
    seed: int | np.random.Generator,
    initial: Sequence[NDArray[np.float64]] = (),
    informed: Array | None = None,
    progress: Progress = False,
) -> Fit:
    """Run :func:`best` on any quadratic.

    Args:
        quadratic: the loss over the enlarged space.
        heads: as for :func:`best`, like ``starts``, ``seed``, ``initial`` and ``progress``.
        starts: see ``heads``.
        seed: see ``heads``.
        initial: see ``heads``.
        informed: the unrestricted minimizer ``X*``, to guess further starts from; None for no guesses.
        progress: see ``heads``.
    """
    _validate(quadratic, heads, starts, initial)
    E = forms(quadratic.dimension)
    W = balance(quadratic, E)
    guesses = [np.asarray(one, dtype=float).T for one in initial]
    if heads == quadratic.dimension:
        starts, guesses = 0, [np.eye(heads)]
    elif informed is not None:
        guesses += informed_starts(informed, quadratic.blocks, W, heads)
    queue = guesses + random_starts(W, heads, starts, np.random.default_rng(seed))
    if not queue:
        raise ValueError("expected starts >= 1, informed starts or initial points; got none of them")
    with shown(progress, "search") as tell:
        if isinstance(quadratic, ChainOperator):
            return _search_long(quadratic, E, W, queue, len(guesses), tell)
        ends, least = [], np.inf
        with blas_threads(quadratic.h.size):
            for done, start in enumerate(queue, 1):
                ends.append(minimize_from(quadratic, E, start))
                least = min(least, ends[-1].point.loss)
                tell(done / len(queue), f"start {done} of {len(queue)}, loss {least:.10g}")
            return _collect(quadratic, ends, len(guesses))


def _search_long(quadratic: ChainOperator, E: Array, W: Array, queue: list[Array], informed: int, tell: Tell) -> Fit:
    """Evaluate every start, follow the lowest few: by L-BFGS, whose steps are cheap, then by Newton to the end."""
    losses: list[float] = []
    ends: list[End] = []
    with blas_threads(quadratic.blocks * quadratic.dimension):
        for done, start in enumerate(queue, 1):
            losses.append(reduced_loss(quadratic, E, start)[0])
            tell(done / (len(queue) + _FOLLOWED), f"start {done} of {len(queue)}, loss {min(losses):.10g}")
        chosen = np.argsort(losses, kind="stable")[:_FOLLOWED].tolist()
        for done, index in enumerate(chosen, 1):
            ends.append(minimize_from(quadratic, E, approach(quadratic, E, queue[index], W)))
            least = min(end.point.loss for end in ends)
            tell((len(queue) + done) / (len(queue) + _FOLLOWED), f"{done} followed down, loss {least:.10g}")
    informed_first = sorted(range(len(chosen)), key=lambda place: chosen[place] >= informed)
    fit = _collect(quadratic, [ends[place] for place in informed_first], sum(index < informed for index in chosen))
    return replace(fit, screened=len(queue) - len(chosen))


def _validate(quadratic: Quadratic, heads: int, starts: int, initial: Sequence[NDArray[np.float64]]) -> None:
    D = quadratic.dimension
    if not 1 <= heads <= D:
        raise ValueError(f"expected 1 <= heads <= {D}; got {heads}")
    if starts < 0:
        raise ValueError(f"expected starts >= 0; got {starts}")
    for one in initial:
        if np.shape(one) != (heads, D) or np.linalg.matrix_rank(one) < heads:
            raise ValueError(f"expected {heads} independent rows of length {D}; got shape {np.shape(one)}")
    if not (np.isfinite(quadratic.h).all() and np.isfinite(quadratic.mean_block()).all()):
        raise ValueError("expected finite moments; got infinite or missing entries")


def _collect(quadratic: Quadratic, ends: list[End], informed: int) -> Fit:
    """Group the ends into distinct minima; the first ``informed`` of them were not random."""
    # Ends are one minimum if their X are: (b, A) has the freedom of signs, scales and rotations.
    groups: list[list[int]] = []
    for index in sorted(range(len(ends)), key=lambda i: ends[i].point.loss):
        if ends[index].status != "minimum":
            continue
        home = next((g for g in groups if _same(ends[g[0]], ends[index])), None)
        if home is None:
            groups.append([index])
        else:
            home.append(index)
    minima = [_minimum(quadratic, [ends[i] for i in g], sum(i < informed for i in g)) for g in groups]
    minima.sort(key=lambda one: one.loss)
    # The least loss may belong to an end that did not converge; a converged one as good is the better witness.
    winner = min(ends, key=lambda end: end.point.loss).point
    b, A, X = _parameters(winner)
    loss = quadratic.loss(X)
    if minima and minima[0].loss <= loss + _ROUNDING * abs(loss):
        loss, b, A, X = minima[0].loss, minima[0].b, minima[0].A, minima[0].X
    return Fit(
        loss=loss,
        b=b,
        A=A,
        X=X,
        minima=tuple(minima),
        heads=winner.heads,
        random_starts=len(ends) - informed,
        informed_starts=informed,
        saddles=sum(end.status == "saddle" for end in ends),
        unconverged=sum(end.status == "unconverged" for end in ends),
    )


def _same(one: End, other: End) -> bool:
    """Return whether two ends are one point, or two of a continuum: flat, at the same loss."""
    X, Y = one.point.X, other.point.X
    if np.linalg.norm(X - Y) <= _SAME * max(np.linalg.norm(X), np.linalg.norm(Y)):
        return True
    flat = one.signature.zero > 0 and one.signature == other.signature
    return flat and abs(one.point.loss - other.point.loss) <= _SAME_LOSS * abs(one.point.explained)


def _minimum(quadratic: Quadratic, ends: list[End], informed: int) -> Minimum:
    """Describe a group by its best converged member."""
    chosen = min(ends, key=lambda end: end.relative_gradient)
    b, A, X = _parameters(chosen.point)
    return Minimum(
        loss=quadratic.loss(X),
        b=b,
        A=A,
        X=X,
        random_starts=len(ends) - informed,
        informed_starts=informed,
        signature=chosen.signature,
        relative_gradient=chosen.relative_gradient,
    )


def _parameters(point: Projection) -> tuple[Array, Array, Array]:
    """Return ``b``, ``A``, ``X``, the parameters in their gauge."""
    b, A = in_gauge(point.frame[:, : point.heads].T, point.A)
    return b, A, realize(b, A)


def realize(b: NDArray[np.float64], A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``sum_s phi(b_s, A_s)`` ``[J m]`` for ``b`` ``[heads, D]`` and ``A`` ``[heads, D, J]``."""
    points = [phi(row, columns) for row, columns in zip(b, A, strict=True)]
    return np.asarray(np.sum(points, axis=0), dtype=float)
