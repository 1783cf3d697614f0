"""The losses of one task side by side."""

import pytest

from markov_icl.analysis.ladder import ladder
from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.kernels import beta_prior
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart


def test_the_rungs_are_the_numbers_of_the_parts():
    task = MarkovTask(length=3, context=100)
    said = []
    result = ladder(task, prompts=2000, seed=3, progress=said.append)
    rungs = {one.name: one for one in result.rungs}
    proof, form = certify(task), minimizer(task, "rational")
    layer = rungs["one layer, f*"]
    assert layer.loss - layer.error - 1e-9 <= proof.upper
    assert proof.lower <= layer.loss + layer.error + 1e-9
    assert layer.kind == "certified"
    assert rungs["enlarged space, f~*"].loss == form.loss
    assert rungs["always 0 (E y^2)"].loss == 0.5  # uniform prior: y is 0 or 1 with equal chance
    assert rungs["best constant"].loss == pytest.approx(0.25, abs=1e-3)
    assert result.price == pytest.approx(proof.lower - form.loss, abs=2e-6)
    assert result.price > 1e-3
    losses = [one.loss for one in result.rungs]
    assert losses == sorted(losses, reverse=True)
    assert said == ["moments", "certificate", "Bayes"]


def test_bayes_is_below_and_its_error_shrinks():
    task = MarkovTask(length=2, context=20)
    few, many = ({r.name: r for r in ladder(task, prompts=n).rungs} for n in (500, 8000))
    assert many["Bayes"].error < few["Bayes"].error
    assert many["Bayes"].loss + 5 * many["Bayes"].error < many["enlarged space, f~*"].loss


def test_a_task_whose_optimum_is_reached_has_no_price():
    assert ladder(MarkovTask(length=2, context=10), prompts=200).price == 0.0


def test_what_is_missing_is_said():
    result = ladder(MarkovTask(initial=StationaryStart(), prior=beta_prior((2, 1, 1, 3))), prompts=200)
    assert "Bayes" not in [one.name for one in result.rungs]
    assert any("Bayes" in note for note in result.notes)


def test_regression():
    rungs = {one.name: one for one in ladder(RegressionTask(2, 3), prompts=500).rungs}
    assert rungs["one layer, f*"].loss >= rungs["enlarged space, f~*"].loss - 1e-9
    assert rungs["always 0 (E y^2)"].loss == pytest.approx(2)


def test_too_large_a_task_is_refused():
    with pytest.raises(ValueError, match="GB"):
        ladder(MarkovTask(length=60), memory=0.01)
