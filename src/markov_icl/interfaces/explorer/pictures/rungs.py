"""The ladder of a page: the losses of :mod:`markov_icl.analysis.ladder`, within the time a reader waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.analysis.ladder import Rung
from markov_icl.interfaces.explorer.pictures.colours import INK, QUIET
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS
from markov_icl.interfaces.explorer.view import Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from markov_icl.landscape.closed_form import ClosedForm
    from markov_icl.recovery.factor import Recovery
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["LONGEST_SEARCH", "QUICK_LENGTH", "draw_ladder", "ladder_alt", "rungs_of"]

LONGEST_SEARCH = 12
"""Longer chains get no best loss found: a search there takes minutes."""
QUICK_LENGTH, _FOLLOWED = 6, 8
"""Up to this length so many guesses are followed down: on 100 tasks one of them led to the best of all the guesses."""
_RANDOM_STARTS = 48
_BAYES_PROMPTS = 4096
_TOLERANCE = 1e-6
_PROOF_SECONDS = 120.0


def rungs_of(
    task: MarkovTask, form: ClosedForm, recovery: Recovery, prove: bool, report: Report = lambda _share, _words: None
) -> tuple[Rung, ...]:
    """Return the losses of the task from the largest to the Bayes loss: ``E y^2 >= f* >= f~* >= Bayes``.

    Args:
        task: what is predicted.
        form: its minimizer in the enlarged space.
        recovery: whether real parameters reach it; then ``f* = f~*`` needs no search.
        prove: find ``f*`` with a certificate rather than by a local search.
        report: called with the share done.
    """
    known, error = ("estimate" if form.error.startswith("estimate") else "exact"), form.loss_error or 0.0
    floor = Rung("f~* enlarged", form.loss, error, known, form.error)
    rungs = [Rung("E y²", float(form.moments.y2), 0.0, known, "moment of the task")]
    if recovery.recoverable:
        how = "real parameters reach f~*" + ("" if recovery.exact else " to rounding")
        rungs.append(Rung("f* real", form.loss, error, known, how))
    elif task.length <= LONGEST_SEARCH:
        rungs.append(_best(task, form, prove, report))
    report(0.9, "Bayes")
    return (*rungs, floor, _bayes(task))


def _best(task: MarkovTask, form: ClosedForm, prove: bool, report: Report) -> Rung:
    from markov_icl.moments.compute import cheapest_exact
    from markov_icl.recovery.search.fit import search
    from markov_icl.recovery.solver.certify import certify

    def tell(share: float | None, words: str) -> None:
        report(0.35 + 0.5 * (share or 0.0), words)

    if prove:
        report(0.35, "certificate")
        proof = certify(cheapest_exact(task), _TOLERANCE, _PROOF_SECONDS, tell)
        note = f"at least {proof.lower:.8g}, verified ({proof.verified})"
        return Rung("f* real", proof.upper, proof.upper - proof.lower, proof.status, note)
    quick = task.length <= QUICK_LENGTH
    fit = search(
        form.moments,
        1,
        0 if quick else _RANDOM_STARTS,
        0,
        _lowest_guesses(form) if quick else (),
        None if quick else form.X,
        tell,
    )
    count = fit.random_starts + fit.informed_starts
    return Rung("f* real", fit.loss, 0.0, "upper bound", f"best found from {count} starts")


def _lowest_guesses(form: ClosedForm) -> list[NDArray[np.float64]]:
    """Return the guesses for ``b`` taken from ``X*`` that have the least loss, each ``[1, D]``."""
    from markov_icl.recovery.search.projection import forms, frame, project
    from markov_icl.recovery.search.starts import balance, informed_starts

    quadratic = form.moments
    E = forms(quadratic.dimension)
    guesses = informed_starts(form.X, quadratic.blocks, balance(quadratic, E), 1)
    return [one.T for one in sorted(guesses, key=lambda one: project(quadratic, E, frame(one), 1).loss)[:_FOLLOWED]]


def _bayes(task: MarkovTask) -> Rung:
    """Average the posterior variance of the answer over drawn prompts: the same mean as the loss, less noise."""
    from markov_icl.models.bayes import posterior_predictive
    from markov_icl.tasks.sampling import sample_prompts

    posterior = posterior_predictive(task, sample_prompts(task, _BAYES_PROMPTS, 0, threads=1))
    values = np.array(task.values, dtype=float)
    variance = posterior @ values**2 - (posterior @ values) ** 2
    error = float(variance.std(ddof=1)) / np.sqrt(_BAYES_PROMPTS)
    return Rung("Bayes", float(variance.mean()), error, "estimate", f"mean of {_BAYES_PROMPTS:,} drawn prompts")


def draw_ladder(rungs: tuple[Rung, ...]) -> dict[str, Any]:
    """Return a figure of the losses as bars from 0, the largest on top, each with its number."""
    names = [rung.name for rung in rungs]
    losses = [rung.loss for rung in rungs]
    colours = [COLOURS[1] if name.startswith("f*") else COLOURS[0] for name in names]
    colours[0], colours[-1] = QUIET, COLOURS[2]
    bars = {
        "type": "bar",
        "x": losses,
        "y": names,
        "orientation": "h",
        "width": 0.5,
        "marker": {"color": colours},
        "customdata": [f"{rung.kind}: {rung.note}" for rung in rungs],
        "hovertemplate": "%{y}<br>%{x:.8g}<br>%{customdata}<extra></extra>",
    }
    unsure = [rung for rung in rungs if rung.error]
    errors = {
        "type": "scatter",
        "x": [rung.loss for rung in unsure],
        "y": [rung.name for rung in unsure],
        "mode": "markers",
        "marker": {"size": 1, "color": INK},
        "error_x": {"array": [2 * rung.error for rung in unsure], "color": INK, "thickness": 1.5, "width": 5},
        "hoverinfo": "skip",
    }
    numbers = [
        {
            "x": rung.loss + 2 * rung.error,
            "y": rung.name,
            "text": f"{rung.loss:.5f}",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 6,
        }
        for rung in rungs
    ]
    layout = {
        "height": 60 * len(rungs) + 110,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 48},
        "xaxis": {"title": {"text": "loss, squared states"}, "range": [0, 1.25 * max(losses)], "nticks": 5},
        "yaxis": {"autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6},
        "annotations": numbers,
    }
    return {"data": [bars, errors], "layout": layout}


def ladder_alt(rungs: tuple[Rung, ...]) -> str:
    """Return the picture in words."""
    return "Bars of losses: " + "; ".join(f"{rung.name} {rung.loss:.5f}" for rung in rungs)
