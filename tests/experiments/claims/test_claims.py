"""Every statement of the paper has an entry, with the verdict that we stand by and a command that exists."""

import shlex

import numpy as np
import pytest
import typer

from markov_icl.analysis.realizability import realizability_map, theorem_parameters
from markov_icl.experiments.claims.all_claims import CLAIMS, check_claims, chosen_claims
from markov_icl.experiments.claims.figures import NOT_RUN
from markov_icl.experiments.figures import gap as gap_figure
from markov_icl.experiments.figures.fig03 import PAPER
from markov_icl.experiments.runs.points import FinishedRun
from markov_icl.features import phi
from markov_icl.interfaces.cli import app

STATEMENTS = {
    "Lemma 3.1": "Lemma 3.1",
    "Lemma 3.2": "Lemma 3.2",
    "Theorem 3.3": "Theorem 3.3",
    "Theorem 3.4": "Theorem 3.4, Example C.5",
    "Example C.5": "Theorem 3.4, Example C.5",
    "Lemma C.8": "Lemma C.8",
    "Theorem 3.5": "Theorem 3.5, Problem C.9",
    "Problem C.9": "Theorem 3.5, Problem C.9",
    "Problem C.10": "Problem C.10",
    "Problem C.11": "Problem C.11",
    "Lemma C.12": "Lemma C.12",
    "Example C.13": "Example C.13",
    "Theorem C.14": "Theorem C.14",
    "Remark C.15": "Remark C.15",
    "Example C.16": "Example C.16",
    "Theorem 4.1": "Theorem 4.1",
    **{f"Fig. {k}": f"Fig. {k}" for k in (2, 3, 4, 5, 7, 10)},
    "Fig. 6a": "Fig. 6a, Fig. 6b",
    "Fig. 6b": "Fig. 6a, Fig. 6b",
}
"""Every lemma, theorem, problem, remark, example and figure of the paper that makes a claim, and its entry."""
VERDICTS = {
    "Lemma 3.1": "holds where 0 < p < 1",
    "Lemma 3.2": "holds, with corrections",
    "Theorem 3.3": "holds where X₂² ≥ 4X₁X₃ (p = 1/2: n ≥ 6)",
    "Theorem 3.4, Example C.5": "holds",
    "Lemma C.8": "holds unless all chains start in state 0",
    "Theorem 3.5, Problem C.9": "differs: exact recovery is polynomial",
    "Remark C.15": "holds, but the upper end is loose",
    "Example C.16": "holds",
    "Theorem 4.1": "holds, with the sign of the readout corrected",
    **{f"Fig. {k}": NOT_RUN for k in (2, 3, 4, 5, 7)},
    "Fig. 6a, Fig. 6b": NOT_RUN,
    "Fig. 10": "holds",
    "Problem C.10": "holds, by a shorter argument",
    "Problem C.11": "holds",
    "Lemma C.12": "holds where the program attains its infimum",
    "Example C.13": "holds with the constraints on z₂ in column 1",
    "Theorem C.14": "holds for the general class, not for exact recovery",
}


@pytest.mark.parametrize("claim", [pytest.param(c, id=c.name) for c in CLAIMS])
def test_verdicts(claim):
    (checked,) = check_claims({}, [claim])
    finding = checked.finding
    assert finding.verdict == VERDICTS[claim.name]
    assert finding.computed
    assert finding.tolerance
    assert claim.says
    for mark in finding.above:
        assert mark.reported > mark.ceiling
        assert f"{mark.reported:.3g}" in mark.text
        assert f"{mark.ceiling:.3f}" in mark.text


def test_every_statement_has_an_entry():
    entries = {place: claim.name for claim in CLAIMS for place in claim.places}
    assert entries == STATEMENTS
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.name for claim in CLAIMS} == set(VERDICTS)


def test_claims_are_found_by_name():
    assert chosen_claims([]) == CLAIMS
    assert [c.name for c in chosen_claims(["fig6", "lemma3.1", "Fig. 6b"])] == ["Lemma 3.1", "Fig. 6a, Fig. 6b"]
    with pytest.raises(ValueError, match=r"such as Lemma 3\.1, .*; got 'Lemma 9'"):
        chosen_claims(["Lemma 9"])


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_commands_exist(claim):
    program, *arguments = shlex.split(claim.command)
    assert program == "markov-icl"
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    command.make_context(command.name, arguments)  # parses, and runs nothing


def test_the_papers_numbers_above_the_ceiling_are_marked():
    marks = {c.claim.name: c.finding.above for c in check_claims({}, chosen_claims(["fig3", "fig5"]))}
    (three,) = marks["Fig. 3"]
    assert (three.reported, three.source) == (PAPER[3], "paper")
    assert abs(three.ceiling - 0.60) < 0.02  # four standard errors of 10,000 prompts
    (five,) = marks["Fig. 5"]
    assert five.source == "recomputed"
    assert five.reported > 0.95
    assert abs(five.ceiling - 0.763) < 0.018


def test_map_has_the_known_discriminants():
    chart = realizability_map(["1/2"], [1, 2, 10, 100])
    np.testing.assert_allclose(chart.discriminant[0].astype(float), [-0.639, -0.622, 0.714, 3.256], atol=5e-4)
    np.testing.assert_array_equal(chart.realizable[0], [False, False, True, True])
    for bad in ([], ["0"], ["1"]):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            realizability_map(bad, [1])


def test_theorem_parameters_reproduce_x_where_they_are_real():
    for X in ([2.0, 5.0, 3.0], [-1.0, 0.5, 2.0], [1.0, 0.0, 0.0]):
        np.testing.assert_allclose(phi(*theorem_parameters(X)), X, atol=1e-14)
    assert theorem_parameters([1.0, 0.0, 1.0]) is None


def test_certified_gap_brackets_the_known_values():
    specs = [s for s in gap_figure.specs("quick", 1) if s.task.length in (2, 3) and s.task.context in (1, 100)]
    gap = gap_figure.assemble([FinishedRun(spec, gap_figure.compute(spec)) for spec in specs])
    np.testing.assert_allclose(gap.upper, [[0.4111289240, 0.3364292773], [0.3406091582, 0.2347244554]], atol=1e-9)
    assert gap.certified.all()
    assert (gap.upper - gap.lower <= 1e-6).all()
    assert (gap.floor <= gap.upper + 1e-12).all()
