"""The losses of one task, from knowing nothing down to Bayes: what one layer reaches, and what it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markov_icl.features import phi
from markov_icl.landscape.closed_form import ClosedForm
from markov_icl.landscape.direct import solve
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.models.bayes import posterior_variance
from markov_icl.models.protocol import NotApplicable
from markov_icl.moments.compute import cheapest_exact
from markov_icl.moments.label import label_law
from markov_icl.moments.problem import Posed, pose
from markov_icl.progress import Progress, Tell, part, shown
from markov_icl.rationals import exact_array
from markov_icl.recovery.certificate.attained import enlarged
from markov_icl.recovery.certificate.certificate import Certificate
from markov_icl.recovery.factor import recover
from markov_icl.recovery.search.fit import search
from markov_icl.recovery.search.projection import forms, frame, project
from markov_icl.recovery.search.starts import balance, informed_starts
from markov_icl.recovery.solver.certify import certify, require_memory
from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.tasks.sampling import sample_prompts

__all__ = ["LONGEST_SEARCH", "QUICK_LENGTH", "Ladder", "Rung", "ladder"]

LONGEST_SEARCH = 12
"""Without a proof longer chains get no best loss of a layer: the search takes minutes there."""
QUICK_LENGTH, _FOLLOWED = 6, 8
"""Up to this length so many guesses are followed down: on 100 tasks one of them led to the best of all the guesses."""
_RANDOM_STARTS = 48
_LAYER = "one layer, f*"


@dataclass(frozen=True)
class Rung:
    """One loss.

    Attributes:
        name: of what has it.
        loss: mean squared error, in squared states.
        error: half-width of the interval it is known to lie in, or one standard error of an estimate.
        kind: ``exact``, ``certified``, ``bound`` (valid, but wider than the tolerance), ``upper bound`` (from a local
            search) or ``estimate``.
        note: how the number was found.
    """

    name: str
    loss: float
    error: float
    kind: str
    note: str


@dataclass(frozen=True)
class Ladder:
    """The rungs of a task.

    Attributes:
        rungs: from the largest loss, that of always answering 0, down. A layer without intercept may stand above the
            best constant. Bayes is missing where it has no closed form.
        price: proved ends of ``f* - f~*``, what real parameters cost, in squared states; None without a proof.
        notes: what was left out, and why.
    """

    rungs: tuple[Rung, ...]
    price: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def layer(self) -> Rung | None:
        """Return the rung of one layer; None where it was not searched for."""
        return next((rung for rung in self.rungs if rung.name == _LAYER), None)


def ladder(
    task: Task,
    prompts: int = 20_000,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    seed: int = 0,
    memory: float = DEFAULT_MEMORY_GB,
    progress: Progress = False,
    *,
    prove: bool = True,
    form: ClosedForm | None = None,
) -> Ladder:
    """Return ``E y^2``, the best constant, ``f*`` of one layer, ``f~*``, and Bayes.

    Args:
        task: what is predicted.
        prompts: fresh ones, on which Bayes is estimated.
        tolerance: of the certificate, as a share of ``E y^2``.
        time_limit: of the certificate, in seconds; its bound stays valid.
        seed: of the prompts and of the certificate's starts.
        memory: refuse a system or a proof above this many gigabytes.
        progress: whether to draw a bar, or who wants to know.
        prove: certify ``f*``; otherwise a local search gives an upper bound, and none beyond length 12.
        form: the task's minimizer, where it is at hand.

    Raises:
        ValueError: if the task is too large for the moments or the proof.

    Source: Lemma 3.1 for ``f~*``.
    """
    if prove:
        require_memory(task.blocks * task.dimension**2, memory)
    with shown(progress, "ladder") as tell:
        tell(0.0, "moments")
        form = solve(cheapest_exact(task, memory=memory)) if form is None else form
        how = "in fractions" if form.error == "exact" else form.error.removeprefix("estimate: ")
        kind = "estimate" if form.error.startswith("estimate") else "exact"
        # What needs no layer is known exactly, or up to the rule's error.
        rungs = [*_constants(task), Rung("enlarged space, f~*", form.loss, form.loss_error or 0.0, kind, how)]
        notes: list[str] = []
        price: tuple[float, float] | None = None
        # f* is the one hard number: the certificate says what it is, a search only what it is not above.
        if prove:
            tell(0.1, "certificate")
            told, posed = part(tell, 0.1, 0.9), pose(task, memory)
            proof = certify(posed, tolerance, time_limit, progress=told, seed=seed, memory=memory)
            low, high = enlarged(posed)
            left_out = _left_out(posed, proof)
            rungs.append(_proved(proof, low, left_out))
            unsure = left_out + (form.loss_error or 0.0) if left_out else 0.0
            price = max(proof.lower - high - unsure, 0.0), max(proof.upper - low, 0.0) + unsure
        elif (found := _searched(form, part(tell, 0.1, 0.9))) is not None:
            rungs.append(found)
        else:
            notes.append(f"{_LAYER} left out: beyond length {LONGEST_SEARCH} a search takes minutes")
        tell(0.9, "Bayes")
        try:
            rungs.append(_bayes(task, prompts, seed))
        except NotApplicable as reason:
            notes.append(f"Bayes left out: {reason}")
    return Ladder(tuple(sorted(rungs, key=lambda rung: -rung.loss)), price, tuple(notes))


def _constants(task: Task) -> tuple[Rung, Rung]:
    """Return the losses of the answer 0 and of the best constant, ``E y^2`` and ``E y^2 - (E y)^2``."""
    names = "always 0 (E y^2)", "best constant"
    if not isinstance(task, MarkovTask):  # y = w.x with w ~ N(0, I): E y = 0, E y^2 is the trace
        trace = float(sum(task.covariance[j][j] for j in range(task.dim)))
        return Rung(names[0], trace, 0.0, "exact", "in fractions"), Rung(names[1], trace, 0.0, "exact", "E y = 0")
    law = label_law(task)
    kind = "exact" if law.exact else "estimate"
    losses = zip(names, (law.square, law.variance), law.errors, strict=True)
    first, second = (Rung(name, float(loss), error, kind, law.words) for name, loss, error in losses)
    return first, second


def _proved(proof: Certificate, least: float, left_out: float) -> Rung:
    """Return the middle of the interval in which ``f*`` is proved to lie, which is nowhere below ``f~*``."""
    lower = min(max(proof.lower, least), proof.upper)
    note = f"all real (b, A); verified: {proof.verified}"
    return Rung(_LAYER, (proof.upper + lower) / 2, (proof.upper - lower) / 2 + left_out, proof.status, note)


def _left_out(posed: Posed, proof: Certificate) -> float:
    """Return what is known about the error of estimated moments, by the loss at ``(b, A)``; 0 where they are proved."""
    moments = posed.moments
    X = phi(*posed.units.to_whole(exact_array(proof.b), exact_array(proof.A))).astype(float)
    if moments.coarse is not None:
        return abs(moments.coarse.loss(X) - moments.loss(X)) * float(posed.scale)
    if moments.replicates is None:
        return 0.0
    H, h, y2 = moments.replicates
    losses = y2 + (H @ X - 2 * h) @ X
    return float(losses.std(ddof=1) / np.sqrt(len(losses))) * float(posed.scale)


def _searched(form: ClosedForm, tell: Tell) -> Rung | None:
    """Return ``f~*`` where real parameters reach it, else the best loss of a local search; None for long chains."""
    recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    if recovery.recoverable:
        kind = "estimate" if form.error.startswith("estimate") else "exact"
        how = "real parameters reach f~*" + ("" if recovery.exact else " to rounding")
        return Rung(_LAYER, form.loss, form.loss_error or 0.0, kind, how)
    length = form.moments.dimension
    if length > LONGEST_SEARCH:
        return None
    quadratic = form.moments
    quick = length <= QUICK_LENGTH
    starts, guesses = (0, _lowest_guesses(form)) if quick else (_RANDOM_STARTS, [])
    fit = search(quadratic, 1, starts, 0, guesses, informed=None if quick else form.X, progress=tell)
    count = fit.random_starts + fit.informed_starts
    return Rung(_LAYER, fit.loss, 0.0, "upper bound", f"best found from {count} starts")


def _lowest_guesses(form: ClosedForm) -> list[NDArray[np.float64]]:
    """Return the guesses for ``b`` taken from ``X*`` that have the least loss, each ``[1, D]``."""
    quadratic, E = form.moments, forms(form.moments.dimension)
    guesses = informed_starts(form.X, quadratic.blocks, balance(quadratic, E), 1)
    return [one.T for one in sorted(guesses, key=lambda one: project(quadratic, E, frame(one), 1).loss)[:_FOLLOWED]]


def _bayes(task: Task, prompts: int, seed: int) -> Rung:
    """Average the posterior variance of the answer over prompts: the same mean as the loss, less noise."""
    variance = posterior_variance(task, sample_prompts(task, prompts, seed))
    error = float(variance.std(ddof=1) / np.sqrt(prompts))
    return Rung("Bayes", float(variance.mean()), error, "estimate", f"mean of {prompts:,} fresh prompts")
