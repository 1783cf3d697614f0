"""The law of the label, beside the enumeration of every prompt and the moments of the loss."""

from fractions import Fraction

import numpy as np
import pytest

from markov_icl.moments.compute import compute_moments, rational_moments
from markov_icl.moments.label import label_law
from markov_icl.rationals import fraction
from markov_icl.tasks.kernels import beta_prior, fixed_kernel, symmetric_dirichlet
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, StationaryStart, independent_start
from markov_icl.tasks.sampling import sample_chains

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
EXACT = {
    "uniform": MarkovTask(length=4),
    "sparse rows": MarkovTask(length=3, prior=beta_prior(("1/100", 2, 1, 3))),
    "correlated": MarkovTask(length=3, initial=CorrelatedStart(THIRD, (Fraction(1, 4), Fraction(2, 3)))),
    "order 2": MarkovTask(order=2, length=5, prior=symmetric_dirichlet(2, 2, "1/2")),
    "three states": MarkovTask(states=3, length=3, initial=independent_start(["1/2", "1/3", "1/6"], 3, 1)),
    "one kernel, stationary": MarkovTask(
        length=4, prior=fixed_kernel([["7/10", "3/10"], ["2/5", "3/5"]]), initial=StationaryStart()
    ),
    "values far from 0": MarkovTask(length=3, values=(10**9, 10**9 - 1), context=1),
}


@pytest.mark.parametrize("task", EXACT.values(), ids=EXACT)
def test_in_fractions_where_the_moments_are(task):
    law = label_law(task)
    values = np.array(task.values, dtype=object)
    assert (law.exact, law.errors, sum(law.shares)) == (True, (0.0, 0.0), 1)
    assert law.square == fraction(rational_moments(task).y2) == values**2 @ law.shares
    assert law.variance == law.square - law.mean**2


@pytest.mark.parametrize("task", [*EXACT.values(), MarkovTask(length=4, prior=beta_prior((2, 1, 1, 3)))])
def test_the_shares_are_those_of_drawn_chains(task):
    last = sample_chains(task, 20_000, 0)[:, -1, -1]
    shares = label_law(task).shares.astype(float)
    for s, share in enumerate(shares):
        assert abs((last == s).mean() - share) < 6 * np.sqrt(share * (1 - share) / len(last)), s


def test_stationary_starts_carry_the_error_of_their_rule():
    binary = MarkovTask(length=4, initial=StationaryStart(), prior=beta_prior((2, 1, 1, 3)))
    for task, limit in ((binary, 1e-11), (MarkovTask(states=3, length=2, initial=StationaryStart()), 1e-3)):
        law = label_law(task)
        assert law.exact == (task is binary)
        assert 0 < law.errors[0] < limit
        assert abs(float(law.square) - compute_moments(task).y2) < law.errors[0] + 1e-12


def test_floats_where_fractions_would_take_long_and_samples_where_a_grid_would():
    grid, sampled = label_law(MarkovTask(length=60)), label_law(MarkovTask(states=5, length=8))
    assert (grid.exact, grid.words) == (True, "exact up to rounding")
    assert grid.variance == pytest.approx(0.25, abs=1e-12)
    assert not sampled.exact
    assert abs(sampled.square - 6) < 6 * sampled.errors[0]
    assert abs(sampled.variance - 2) < 6 * sampled.errors[1]
