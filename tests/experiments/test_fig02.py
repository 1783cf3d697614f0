from dataclasses import replace

import numpy as np
import pytest

from markov_icl.depth.profile import profile
from markov_icl.depth.restricted import RestrictedFit
from markov_icl.experiments.depth_claims import preconditioned_descent, read_figure_two
from markov_icl.experiments.fig02 import SCALES, FigureTwo, figure_two, rises
from markov_icl.interfaces.depth_plots import plot_figure_two
from markov_icl.tasks.prompts import MarkovTask
from tests.depth.parameters import random_model

TASK = MarkovTask(length=4, context=20)


@pytest.fixture(scope="module")
def figure():
    models = [random_model(4, 3, 1, seed, trace=0.5) for seed in (0, 1)]
    fits = tuple(RestrictedFit(m, 0.5, 0.1, (0.5,), np.zeros(1)) for m in models)
    return FigureTwo(TASK, fits, tuple(profile(m, TASK, 60, 2) for m in models))


def test_theorem_four_one():
    finding = preconditioned_descent()
    assert finding.verdict == "holds, with the sign of the readout corrected"
    assert float(finding.tolerance) < 1e-12


def test_where_all_objectives_rise():
    down_up = np.array([[3.0, 3.0], [1.0, 2.0], [0.0, 1.0], [0.5, 1.5], [0.7, 1.6]])
    assert rises(down_up) == 2
    assert rises(down_up[2:]) == 0
    assert rises(down_up[:3]) is None
    assert rises(np.array([[0.0, 0.0], [1.0, 0.0]])) is None


def test_the_figure_says_what_its_rows_say(figure):
    assert figure.losses.shape == (2, 4)
    assert figure.distance("R1").shape == (2, 4)
    assert figure.losses[1, 2] == figure.profiles[1].layers[2].loss
    assert figure.closest("both")[0] == figure.distance("both")[0].argmin()
    finding = read_figure_two(figure)
    assert "joint rise" in finding.verdict
    plot_figure_two(figure).canvas.draw()


def test_the_verdict_follows_the_numbers(figure):
    rising = figure.profiles[0]
    layers = tuple(
        replace(
            row,
            first=row.first * 0 + row.layer,
            second=row.second * 0 + row.layer,
            distance={name: replace(far, mean=1.0 / (1 + row.layer)) for name, far in row.distance.items()},
        )
        for row in rising.layers
    )
    made = FigureTwo(TASK, figure.fits[:1], (replace(rising, layers=layers),))
    assert made.rises("both") == (0,)
    assert made.trades == (False,)
    assert read_figure_two(made).verdict == "holds for the approach; joint rise seen in 1 of 1 seeds"


def test_scales_are_named():
    assert SCALES["paper"].fronts == 100
    with pytest.raises(ValueError, match="quick or paper"):
        figure_two("huge")
