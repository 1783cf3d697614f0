"""The paper's figures as claims: read from finished runs, since computing them takes minutes."""

from __future__ import annotations

from functools import partial

from markov_icl.experiments.claim import Claim, Finding
from markov_icl.experiments.engine import compute
from markov_icl.experiments.figures import figure
from markov_icl.experiments.finished import best_finished
from markov_icl.experiments.points import Outcome

__all__ = ["FIGURE_CLAIMS", "NOT_RUN", "figure_finding"]

NOT_RUN = "not run on this machine"


def figure_finding(name: str) -> Finding:
    """Return what the store's runs of a figure say, at the largest finished scale."""
    chosen, found = figure(name), best_finished(name)
    assert chosen.read is not None
    if found is None:
        return Finding(
            NOT_RUN,
            f"The store has no complete set of runs of this code. `markov-icl reproduce {name}` computes and keeps "
            "them; the next report shows them here.",
            "-",
        )
    finding = chosen.read(found)
    scale = found[0].spec.scale
    return Finding(finding.verdict, f"{finding.computed} ({scale} scale)", finding.tolerance)


def slices_finding() -> Finding:
    """Fig. 10, which takes no time: computed here."""
    chosen = figure("fig10")
    assert chosen.specs is not None
    assert chosen.read is not None
    return chosen.read([Outcome(spec, compute(spec)) for spec in chosen.specs("quick", 1)])


def _claim(number: int, says: str) -> Claim:
    name = f"fig{number}"
    return Claim(f"Fig. {number}", says, partial(figure_finding, name), f"markov-icl reproduce {name}")


FIGURE_CLAIMS = (
    _claim(3, "One layer is near guessing; with 3 states accuracy grows from 0.55 (1 layer) to 0.98 (3 layers)."),
    _claim(4, "Sparse parameters (only b and A) and dense P, Q end at nearly the same loss."),
    _claim(5, "The enlarged model is more accurate than linear self-attention, and the gap grows with d."),
    _claim(6, "GPT-2 small and standard match SVM and logistic regression and beat 3-NN; tiny is slightly worse."),
    _claim(7, "Attention shows blocks that follow the kernels, clearer in deeper layers."),
    Claim("Fig. 10", "The minimizer is the lowest point of every slice.", slices_finding, "markov-icl reproduce fig10"),
)
