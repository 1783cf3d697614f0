"""The losses of one task, from knowing nothing down to Bayes: what one layer reaches, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markov_icl.analysis.evaluation import evaluate, floor
from markov_icl.landscape.direct import solve
from markov_icl.models.predictors import Bayes, Predictor
from markov_icl.moments.compute import DEFAULT_MEMORY_GB, cheapest_exact
from markov_icl.recovery.solver.certify import certify, require_memory
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import sample_prompts

__all__ = ["Ladder", "Rung", "ladder"]


@dataclass(frozen=True)
class Rung:
    """One loss.

    Attributes:
        name: of what has it.
        loss: mean squared error, in squared states.
        error: half-width of the interval it is known to lie in, or one standard error of an estimate.
        kind: ``exact``, ``certified``, ``bound`` (valid, but wider than the tolerance) or ``estimate``.
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
        price: lower end of ``f* - f~*``: what real parameters cost at least.
        notes: what was left out, and why.
    """

    rungs: tuple[Rung, ...]
    price: float
    notes: tuple[str, ...]


def ladder(
    task: Task,
    prompts: int = 20_000,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    seed: int = 0,
    memory: float = DEFAULT_MEMORY_GB,
    progress: Callable[[str], None] | None = None,
) -> Ladder:
    """Return ``E y^2``, the best constant, the certified ``f*`` of one layer, ``f~*``, and Bayes.

    Args:
        task: what is predicted.
        prompts: fresh ones, on which Bayes and the constant are estimated.
        tolerance: of the certificate, in squared states.
        time_limit: of the certificate, in seconds; its bound stays valid.
        seed: of the prompts and of the certificate's starts.
        memory: refuse a system or a proof above this many gigabytes.
        progress: called with a word on what is being done.

    Raises:
        ValueError: if the task is too large for the moments or the proof.

    Source: Lemma 3.1 for ``f~*``.
    """
    say = progress or (lambda _: None)
    require_memory(task.blocks * task.dimension**2, memory)
    say("moments")
    system = cheapest_exact(task, memory=memory)
    form = solve(system)
    exact = "estimate" if system.is_estimate else "exact"
    how = "in fractions" if form.error == "exact" else form.error
    say("certificate")
    proof = certify(system, tolerance, time_limit, seed=seed, memory=memory)
    say("Bayes")
    asked: list[Predictor] = [Bayes(task), floor(task, seed)]
    table = evaluate(task, asked, sample_prompts(task, prompts, seed))
    scores = {row.predictor: row for row in table.rows}
    sampled = f"mean of {prompts:,} fresh prompts"
    lower = min(max(proof.lower, form.loss), proof.upper)  # a layer is a point of the enlarged space
    middle, half = (proof.upper + lower) / 2, (proof.upper - lower) / 2
    proved = "certified" if proof.status == "certified" else "bound"
    rungs = [
        Rung("always 0 (E y^2)", float(form.moments.y2), 0.0, exact, how),
        Rung("one layer, f*", middle, half, proved, f"all real (b, A); verified: {proof.verified}"),
        Rung("enlarged space, f~*", form.loss, form.loss_error or 0.0, exact, how),
    ]
    for name, shown in (("constant", "best constant"), ("Bayes", "Bayes")):
        if name in scores:
            rungs.append(Rung(shown, scores[name].loss, scores[name].loss_se, "estimate", sampled))
    rungs.sort(key=lambda rung: -rung.loss)
    return Ladder(tuple(rungs), max(proof.lower - form.loss, 0.0), tuple(table.notes))
