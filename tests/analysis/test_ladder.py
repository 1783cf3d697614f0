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
    result = ladder(task, prompts=2000, seed=3, progress=lambda share, words: said.append((share, words)))
    rungs = {one.name: one for one in result.rungs}
    proof, form = certify(task), minimizer(task, "rational")
    layer = rungs["one layer, f*"]
    assert layer.loss - layer.error - 1e-9 <= proof.upper
    assert proof.lower <= layer.loss + layer.error + 1e-9
    assert layer.kind == "certified"
    assert rungs["enlarged space, f~*"].loss == form.loss
    assert rungs["always 0 (E y^2)"].loss == 0.5  # uniform prior: y is 0 or 1 with equal chance
    assert rungs["best constant"].loss == 0.25
    assert rungs["best constant"].kind == "exact"
    least, most = result.price
    assert least == pytest.approx(proof.lower - form.loss, abs=2e-6)
    assert 1e-3 < least <= most < least + 2e-6
    losses = [one.loss for one in result.rungs]
    assert losses == sorted(losses, reverse=True)
    assert [word for word in dict.fromkeys(words for _, words in said) if "gap" not in word] == [
        "moments",
        "certificate",
        "Bayes",
    ]
    shares = [share for share, _ in said if share is not None]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_bayes_is_below_and_its_error_shrinks():
    task = MarkovTask(length=2, context=20)
    few, many = ({r.name: r for r in ladder(task, prompts=n).rungs} for n in (500, 8000))
    assert many["Bayes"].error < few["Bayes"].error
    assert many["Bayes"].loss + 5 * many["Bayes"].error < many["enlarged space, f~*"].loss


def test_a_task_whose_optimum_is_reached_has_no_price():
    assert ladder(MarkovTask(length=2, context=10), prompts=200).price[0] == 0.0


def test_what_is_missing_is_said():
    result = ladder(MarkovTask(initial=StationaryStart(), prior=beta_prior((2, 1, 1, 3))), prompts=200)
    assert "Bayes" not in [one.name for one in result.rungs]
    assert any("Bayes" in note for note in result.notes)
    assert not any("estimate" in one.note for one in result.rungs if one.kind == "estimate")


def test_without_a_proof_a_layer_is_an_upper_bound_that_nothing_is_proved_by():
    task = MarkovTask(length=3, context=100)
    form = minimizer(task, "rational")
    found = ladder(task, prompts=200, prove=False, form=form)
    assert found.layer.kind == "upper bound"
    assert found.layer.loss == pytest.approx(certify(task).upper, abs=1e-9)
    assert found.price is None
    reached = ladder(MarkovTask(length=2, context=10), prompts=200, prove=False)
    assert (reached.layer.kind, reached.layer.note) == ("exact", "real parameters reach f~*")
    long = ladder(MarkovTask(length=13), prompts=200, prove=False)
    assert long.layer is None
    assert any("13" not in note and "length 12" in note for note in long.notes)


def test_regression():
    rungs = {one.name: one for one in ladder(RegressionTask(2, 3), prompts=500).rungs}
    assert rungs["one layer, f*"].loss >= rungs["enlarged space, f~*"].loss - 1e-9
    assert rungs["always 0 (E y^2)"].loss == pytest.approx(2)


def test_too_large_a_task_is_refused():
    with pytest.raises(ValueError, match="GB"):
        ladder(MarkovTask(length=60), memory=0.01)
