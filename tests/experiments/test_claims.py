import numpy as np
import pytest

from markov_icl.experiments.claims import CLAIMS
from markov_icl.experiments.figure_claims import NOT_RUN
from markov_icl.experiments.gap import certified_gap
from markov_icl.experiments.realizability import realizability_map, theorem_parameters
from markov_icl.features import phi

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
    "Fig. 2": "holds for the approach; joint rise not seen",
    **{f"Fig. {k}": NOT_RUN for k in (3, 4, 5, 6, 7)},
    "Fig. 10": "holds",
    "Problem C.10": "holds, by a shorter argument",
    "Problem C.11": "holds",
    "Lemma C.12": "holds where the program attains its infimum",
    "Example C.13": "holds with the constraints on z₂ in column 1",
    "Theorem C.14": "holds for the general class, not for exact recovery",
}
TRAINS = {"Fig. 2"}


@pytest.fixture(autouse=True)
def no_store(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.parametrize(
    "claim", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name in TRAINS)) for c in CLAIMS]
)
def test_verdicts(claim):
    finding = claim.check()
    assert finding.verdict == VERDICTS[claim.name]
    assert finding.computed
    assert claim.command.startswith("markov-icl ")


def test_every_verdict_is_expected():
    assert {c.name for c in CLAIMS} == set(VERDICTS)


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
    gap = certified_gap([2, 3], [1, 100])
    np.testing.assert_allclose(gap.upper, [[0.4111289240, 0.3364292773], [0.3406091582, 0.2347244554]], atol=1e-9)
    assert gap.certified.all()
    assert (gap.upper - gap.lower <= 1e-6).all()
    assert (gap.floor <= gap.upper + 1e-12).all()
