from dataclasses import replace

import numpy as np
import pytest

from markov_icl.depth.profile import profile
from markov_icl.experiments.claims.depth import preconditioned_descent
from markov_icl.experiments.figures import fig02
from markov_icl.experiments.figures.fig02 import SCALES, assemble, profile_points, read_figure_two, rises
from markov_icl.experiments.runs.points import FinishedRun, Point
from markov_icl.experiments.runs.spec import Spec
from markov_icl.interfaces.plots.depth import plot_figure_two
from markov_icl.tasks.prompts import MarkovTask
from tests.depth.parameters import random_model
from tests.experiments.figures.small_figures import assert_drawn

TASK = MarkovTask(length=4, context=20)


@pytest.fixture(scope="module")
def profiles():
    return [profile(random_model(4, 3, 1, seed, trace=0.5), TASK, 60, 2) for seed in (0, 1)]


@pytest.fixture(scope="module")
def figure(profiles):
    settings = {"prompts": 60, "fronts": 2, "box": 2.0}
    return assemble(
        [
            FinishedRun(
                Spec("fig2", "restricted", TASK, settings=settings, seed=seed),
                (Point("trained", "loss", 3.0, 0.5), *profile_points(one)),
            )
            for seed, one in enumerate(profiles)
        ]
    )


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


def test_the_figure_says_what_its_rows_say(figure, profiles):
    assert figure.losses.shape == (2, 4)
    assert figure.distances["R1"].shape == (2, 4)
    assert figure.losses[1, 2] == profiles[1].layers[2].loss
    assert np.array_equal(figure.second[1, 3], profiles[1].layers[3].second)
    assert figure.bayes == (profiles[0].bayes.loss, profiles[0].bayes.accuracy)
    assert figure.closest("both")[0] == figure.distances["both"][0].argmin()
    finding = read_figure_two(figure)
    assert "joint rise" in finding.verdict
    assert_drawn(plot_figure_two(figure))


def test_the_verdict_follows_the_numbers(figure):
    layer = np.arange(4.0)
    made = replace(
        figure,
        losses=figure.losses[:1],
        accuracies=figure.accuracies[:1],
        trained=figure.trained[:1],
        first=0 * figure.first[:1] + layer[:, None],
        second=0 * figure.second[:1] + layer[:, None],
        distances=dict.fromkeys(figure.distances, 1 / (1 + layer)[None]),
    )
    assert made.rises("both") == (0,)
    assert made.trades == (False,)
    assert read_figure_two(made).verdict == "holds for the approach; joint rise seen in 1 of 1 seeds"


def test_scales_are_named():
    assert SCALES["paper"].fronts == 100
    with pytest.raises(ValueError, match="quick or paper"):
        fig02.EXPERIMENT.specs("huge", 5)
