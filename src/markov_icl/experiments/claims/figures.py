"""The paper's figures as claims: read from finished runs, since computing them takes minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from markov_icl.experiments.claims.claim import AboveCeiling, Claim, Finding
from markov_icl.experiments.figures import fig03, fig05
from markov_icl.experiments.registry import figure
from markov_icl.experiments.runs.devices import device_of
from markov_icl.experiments.runs.engine import compute
from markov_icl.experiments.runs.points import FinishedRun

__all__ = ["FIGURE_CLAIMS", "NOT_RUN", "figure_finding"]

NOT_RUN = "not run here"

_MARKS: dict[str, Callable[[], tuple[AboveCeiling, ...]]] = {"fig3": fig03.above_ceiling, "fig5": fig05.above_ceiling}
"""What of the paper lies above the ceiling is known without the figure's trainings."""


def figure_finding(name: str, outcomes: Sequence[FinishedRun] | None = None) -> Finding:
    """Return what finished runs of a figure say; without runs, how to get them.

    Fig. 10 takes no time and is computed if need be.
    """
    chosen = figure(name)
    if outcomes is None and name == "fig10":
        outcomes = [FinishedRun(spec, compute(spec)) for spec in chosen.specs("quick", 1)]
    if outcomes is None:
        return Finding(
            NOT_RUN,
            f"The store has no complete set of runs of this code. `markov-icl reproduce {name}` computes and keeps "
            f"them, in about {chosen.seconds:,.0f} seconds of one core; the next report shows them here.",
            "-",
            _MARKS.get(name, tuple)(),
        )
    finding = chosen.read(outcomes)
    scale = outcomes[0].spec.scale + (" scale, trained by CUDA" if device_of(outcomes) == "cuda" else " scale")
    return Finding(finding.verdict, f"{finding.computed} ({scale})", finding.tolerance, finding.above)


def _claim(name: str, number: str, says: str) -> Claim:
    return Claim(number, says, partial(figure_finding, name), f"markov-icl reproduce {name}", name)


FIGURE_CLAIMS = (
    _claim(
        "fig2",
        "Fig. 2",
        "Ten trained layers: the first approach the Pareto front; beyond some depth all objectives rise together.",
    ),
    _claim(
        "fig3",
        "Fig. 3",
        "One layer is near guessing; with 3 states accuracy grows from 0.55 (1 layer) to 0.98 (3 layers).",
    ),
    _claim("fig4", "Fig. 4", "Sparse parameters (only b and A) and dense P, Q end at nearly the same loss."),
    _claim("fig5", "Fig. 5", "The enlarged model is more accurate than linear self-attention; the gap grows with d."),
    _claim(
        "fig6",
        "Fig. 6a, Fig. 6b",
        "GPT-2 small and standard match SVM and logistic regression and beat 3-NN, tiny is slightly worse: (a) with "
        "independent, (b) with correlated first states.",
    ),
    _claim("fig7", "Fig. 7", "Attention shows blocks that follow the kernels, clearer in deeper layers."),
    _claim("fig10", "Fig. 10", "The minimizer is the lowest point of every slice."),
)
