import numpy as np
import pytest
import torch

from markov_icl.depth.descent import descend
from markov_icl.depth.restricted import best_restricted
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models import training
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.prompts import MarkovTask

TASK = MarkovTask(length=3, context=10)
SMALL = {"steps": 200, "batch": 128, "rate": 0.02, "judged": 4000}


def test_one_layer_reaches_the_best_one_layer_loss():
    """The best restricted layer is the best layer: between the enlarged optimum and what a global search finds."""
    fit = best_restricted(TASK, 1, starts=2, **SMALL)
    assert fit.loss > minimizer(TASK).loss - 5 * fit.loss_se
    assert fit.loss < best(TASK).loss + 0.01 + 5 * fit.loss_se
    assert len(fit.starts) == 2
    assert len(fit.training) == 200


def test_the_best_start_is_kept_and_is_reproducible():
    one, two = (best_restricted(TASK, 2, starts=2, steps=20, batch=50, judged=500) for _ in range(2))
    assert one.loss == two.loss
    assert one.starts == two.starts
    alone = best_restricted(TASK, 2, steps=20, batch=50, judged=500, seed=int(np.argmin(one.starts)))
    np.testing.assert_array_equal(alone.training, one.training)
    for a, b in zip(one.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_first_steps_do_not_explode_whatever_the_values():
    task = MarkovTask(states=3, length=6, context=20, values=(0, 50, 100))
    fit = best_restricted(task, 8, steps=1, batch=50, rate=1e-9, judged=200)
    assert np.isfinite(fit.loss)
    grams = np.ones((1, task.dimension, task.dimension))
    assert np.isfinite(descend(fit.model, grams).w).all()


def test_a_start_that_diverges_is_passed_over(monkeypatch):
    genuine = training.train

    def fragile(model, task, **options):
        if options["seed"] == 0:
            raise ValueError("expected a finite loss; got inf at step 1")
        return genuine(model, task, **options)

    monkeypatch.setattr(training, "train", fragile)
    fit = best_restricted(TASK, 2, starts=2, steps=2, batch=20, judged=100)
    assert fit.starts[0] == np.inf
    assert np.isfinite(fit.loss)
    with pytest.raises(ValueError, match="finite loss"):
        best_restricted(TASK, 2, starts=1, steps=2, batch=20, judged=100)


def test_numbers_are_checked():
    with pytest.raises(ValueError, match="expected starts, steps, batch, judged >= 1"):
        best_restricted(TASK, 2, starts=0)
