from collections import Counter
from fractions import Fraction as F
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from markov_icl.analysis.evaluation import (
    REGRESSION,
    Evaluation,
    evaluate,
    evaluate_held_out,
    floor,
    standard_predictors,
)
from markov_icl.choices import PREDICTORS
from markov_icl.features import vech
from markov_icl.interfaces.plots.optimum import plot_evaluation
from markov_icl.interfaces.report.report import weather_file
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models.predictors import (
    CLASSIFIERS,
    Bayes,
    Classifier,
    Constant,
    EmpiricalCounts,
    Enlarged,
    KernelKnown,
    LinearRegression,
    PosteriorMean,
)
from markov_icl.models.scores import mean_and_error, nearest_state
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.data import from_sequences
from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, symmetric_dirichlet
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask, RegressionTask, StationaryStart
from markov_icl.tasks.sampling import Prompts, sample_prompts
from tests.cases import POLYNOMIAL

# Accuracies of the posterior argmax and of the rounded posterior mean, n = 10, length 6, uniform starts. Two states:
# exact (the sum below). Others: mean posterior probability of the predicted state over 1,000,000 prompts,
# default_rng(12345) in batches of 50,000, with its standard error.
CEILINGS = [
    (2, F(1), 0.7544157322, 0.7544157322, 0.0, 0.0),
    (2, F(1, 10), 0.9511796239, 0.9511796239, 0.0, 0.0),
    (3, F(1), 0.600207, 0.472109, 0.000136, 0.000253),
    (3, F(1, 10), 0.904690, 0.874953, 0.000137, 0.000228),
    (4, F(1), 0.494027, 0.314301, 0.000120, 0.000205),
    (4, F(1, 10), 0.860062, 0.786134, 0.000157, 0.000311),
]


def transitions(chain):
    pairs = list(pairwise(chain))
    return sum(a == 0 for a, _ in pairs), pairs.count((0, 1)), pairs.count((1, 1))


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, 0.7544157322), (0.1, 0.9511796239)])
def test_the_ceiling_of_two_states_is_a_finite_sum(alpha, expected):
    """Contexts are counted by their transition counts: sixty thousand classes for 2**60 contexts."""
    ways = np.zeros((51, 51, 51))
    ways[0, 0, 0] = 1
    chains = Counter(transitions(c) for c in product((0, 1), repeat=6))
    for _ in range(10):
        more = np.zeros_like(ways)
        for (i, j, k), number in chains.items():
            more[i:, j:, k:] += number * ways[: 51 - i, : 51 - j, : 51 - k]
        ways = more
    zeros, rise, stay = np.nonzero(ways)
    mass = accuracy = 0.0
    for query in product((0, 1), repeat=5):
        a, b, c = transitions(query)
        n0, n1, u, v = zeros + a, 50 - zeros + 4 - a, rise + b, stay + c
        log = betaln(u + alpha, n0 - u + alpha) + betaln(v + alpha, n1 - v + alpha) - 2 * betaln(alpha, alpha)
        p = ways[zeros, rise, stay] * np.exp(log) / 2.0**11
        one = (u + alpha) / (n0 + 2 * alpha) if query[-1] == 0 else (v + alpha) / (n1 + 2 * alpha)
        mass += p.sum()
        accuracy += (p * np.maximum(one, 1 - one)).sum()
    assert abs(mass - 1) < 1e-12
    assert abs(accuracy - expected) < 1e-9


@pytest.mark.parametrize(("states", "alpha", "argmax", "rounded", "argmax_se", "rounded_se"), CEILINGS)
def test_ceilings(states, alpha, argmax, rounded, argmax_se, rounded_se):
    """Five standard errors, twelve comparisons: less than once in a hundred thousand streams of random numbers."""
    task = MarkovTask(states=states, length=6, context=10, prior=symmetric_dirichlet(states, 1, alpha))
    table = evaluate(task, [Bayes(task), PosteriorMean(task)], sample_prompts(task, 40_000, seed=11))
    top, row = table.rows
    assert abs(top.accuracy - argmax) < 5 * np.hypot(top.accuracy_se, argmax_se)
    assert abs(row.accuracy - rounded) < 5 * np.hypot(row.accuracy_se, rounded_se)
    assert row.loss == pytest.approx(top.loss, abs=1e-12)
    if states > 2:
        assert row.accuracy < top.accuracy


@st.composite
def laws(draw, size, low=0):
    weights = draw(st.lists(st.integers(low, 6), min_size=size, max_size=size).filter(sum))
    return tuple(F(w, sum(weights)) for w in weights)


@st.composite
def tasks(draw):
    states, order = draw(st.sampled_from([(2, 1), (2, 1), (3, 1), (4, 1), (2, 2)]))
    rows = states**order
    if draw(st.booleans()):
        alpha = st.sampled_from([F(1, 10), F(1, 2), F(1), F(3)])
        prior = DirichletPrior(tuple(tuple(draw(alpha) for _ in range(states)) for _ in range(rows)))
    else:
        count = draw(st.integers(1, 3))
        kernels = tuple(tuple(draw(laws(states, 1)) for _ in range(rows)) for _ in range(count))
        prior = FinitePrior(kernels, draw(laws(count, 1)))
    starts = [st.builds(IndependentStart, laws(rows))]
    if isinstance(prior, FinitePrior):
        starts.append(st.just(StationaryStart()))
    if (states, order) == (2, 1):
        probability = st.fractions(0, 1, max_denominator=8)
        starts.append(st.builds(CorrelatedStart, probability, st.tuples(probability, probability)))
    return MarkovTask(
        states,
        order,
        draw(st.integers(order + 1, 5)),
        draw(st.integers(1, 8)),
        prior,
        draw(st.one_of(*starts)),
        draw(st.sampled_from([None, tuple(F(v) for v in (-1, 2, 7, F(1, 2))[:states])])),
        draw(st.booleans()),
    )


class Clipped:
    """A predictor of values kept within those the states have: bounded, and no worse for it."""

    def __init__(self, predictor, task):
        self.name, self.predictor = predictor.name, predictor
        self.low, self.high = float(min(task.values)), float(max(task.values))

    def predict(self, prompts):
        return np.clip(self.predictor.predict(prompts), self.low, self.high)


def trained(task, seed):
    """The enlarged model fitted by ridge regression to prompts of its own."""
    drawn = sample_prompts(task, 2_000, seed)
    features = np.einsum("pj,pm->pjm", drawn.query, vech(drawn.gram)).reshape(len(drawn.target), -1)
    ridge = features.T @ features + 1e-3 * len(features) * np.eye(features.shape[1])
    return Enlarged(np.linalg.solve(ridge, features.T @ drawn.target), "trained enlarged model")


EXAMPLES, COMPARISONS = 30, 8
SURE = np.log(2 * 2 * EXAMPLES * COMPARISONS * 1e6)
"""log(2 / delta): delta is what one comparison, of losses or of accuracies, may fail by, one in a million in all."""


def slack(error, bound, count):
    """How far the mean of ``count`` variables with a range of ``2 bound`` strays below its expectation.

    Empirical Bernstein inequality, no normal approximation. Source: Maurer & Pontil (2009), Theorem 4.
    """
    return np.sqrt(2 * SURE) * error + 7 * 2 * bound * SURE / (3 * (count - 1))


@settings(max_examples=EXAMPLES)
@given(task=tasks(), seed=st.integers(0, 1000))
def test_nothing_beats_bayes_and_bayes_does_not_beat_the_oracle(task, seed):
    count = 20_000
    others = [
        PosteriorMean(task),
        EmpiricalCounts(task, 0.3),
        EmpiricalCounts(task, 5.0),
        Constant(float(task.values[0])),
        Constant((1 / task.states,) * task.states, "uniform"),
        Clipped(LinearRegression(task), task),
        Clipped(trained(task, seed + 5000), task),
    ]
    assert len(others) + 1 == COMPARISONS
    drawn = sample_prompts(task, count, seed)
    table = evaluate(task, [Bayes(task), KernelKnown(task), *others], drawn)
    top, oracle, *rest = table.rows
    width = (max(map(float, task.values)) - min(map(float, task.values))) ** 2
    assert oracle.excess <= slack(oracle.excess_se, width, count)
    uncertain = np.sqrt(2 * SURE / count)  # Hoeffding: differences of right answers lie in [-1, 1]
    assert oracle.accuracy >= top.accuracy - uncertain
    for row in rest:
        assert row.excess >= -slack(row.excess_se, width, count), row
        assert row.accuracy <= top.accuracy + uncertain, row


@pytest.mark.parametrize("name", ["uniform", "dirichlet", "correlated", "order-2"])
def test_no_classifier_beats_bayes(name):
    """Paired differences over 400 prompts, three classifiers, four tasks: one in a million in all."""
    task = POLYNOMIAL[name]
    drawn = sample_prompts(task, 400, seed=4)
    table = evaluate(task, [Bayes(task), *(Classifier(task, kind) for kind in CLASSIFIERS)], drawn)
    width = (task.states - 1) ** 2
    for row in table.rows[1:]:
        assert row.excess >= -slack(row.excess_se, width, 400)


def test_scores_are_what_they_say():
    task = MarkovTask(states=3, length=3, context=4, values=(0, 1, 5))
    drawn = sample_prompts(task, 500, seed=1)
    bayes = Bayes(task).predict(drawn)
    values = np.array([0.0, 1.0, 5.0])
    squared = (bayes @ values - drawn.target) ** 2
    constant = (2.0 - drawn.target) ** 2
    table = evaluate(task, [Constant(2.0), Bayes(task)], drawn)
    low, top = table.rows
    assert (low.predictor, top.predictor) == ("constant", "Bayes")
    np.testing.assert_allclose([top.loss, top.loss_se], [squared.mean(), squared.std(ddof=1) / np.sqrt(500)])
    right = bayes.argmax(1) == drawn.query_states[:, -1]
    np.testing.assert_allclose([top.accuracy, top.accuracy_se], [right.mean(), right.std(ddof=1) / np.sqrt(500)])
    assert low.accuracy == np.mean(drawn.query_states[:, -1] == 1)
    gap = constant - squared
    np.testing.assert_allclose([low.excess, low.excess_se], [gap.mean(), gap.std(ddof=1) / np.sqrt(500)])
    assert (top.excess, top.excess_se) == (0, 0)
    assert table.row("constant") is low
    with pytest.raises(ValueError, match="expected one of constant or Bayes; got 'SVM'"):
        table.row("SVM")


def test_half_way_goes_to_the_even_state():
    task = MarkovTask(states=4)
    x = np.array([-3.0, 0.5, 1.5, 2.5, 0.5 - 1e-15, 1.5 + 1e-15, 0.5 + 1e-9, 9.0])
    np.testing.assert_array_equal(nearest_state(task, x), [0, 0, 2, 2, 0, 2, 1, 3])
    np.testing.assert_array_equal(nearest_state(task, x[:4]), np.clip(np.rint(x[:4]), 0, 3))
    unsorted = MarkovTask(states=3, values=(4, -1, 6))
    np.testing.assert_array_equal(nearest_state(unsorted, np.array([0.0, 5.0, -0.1])), [1, 0, 1])


def test_a_group_is_one_observation():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 5))
    mean, error = mean_and_error(values.reshape(-1), np.repeat(np.arange(20), 5))
    np.testing.assert_allclose([mean, error], [values.mean(), values.mean(1).std(ddof=1) / np.sqrt(20)])
    mean, error = mean_and_error(values[0], np.arange(5))
    np.testing.assert_allclose([mean, error], [values[0].mean(), values[0].std(ddof=1) / np.sqrt(5)])
    assert np.isnan(mean_and_error(values[0], np.zeros(5, dtype=int))[1])
    task = MarkovTask()
    drawn = sample_prompts(task, 40)
    twice = Prompts(*(np.concatenate([a, a]) for a in (drawn.context, drawn.query, drawn.target)), *(
        np.concatenate([a, a]) for a in (drawn.context_states, drawn.query_states)
    ))  # fmt: skip
    one = evaluate(task, [Bayes(task)], drawn).rows[0]
    two = evaluate(task, [Bayes(task)], twice, np.tile(np.arange(40) + 7, 2))
    assert two.groups == 40
    assert two.rows[0].loss_se == pytest.approx(one.loss_se)


@pytest.mark.parametrize("name", ["uniform", "dirichlet", "bias", "signed-values"])
def test_minimizer_and_fit_score_what_they_promise(name):
    """Five standard errors each, eight comparisons."""
    task = POLYNOMIAL[name]
    form = minimizer(task, "dense")
    fit = best(form.moments, starts=8)
    asked = standard_predictors(task, form, fit, chosen=["optimum", "best"])
    table = evaluate(task, asked, sample_prompts(task, 30_000, seed=8))
    for row, expected in zip(table.rows, (form.loss, fit.loss), strict=True):
        assert abs(row.loss - expected) < 5 * row.loss_se


def test_the_standard_table():
    task = MarkovTask(length=3, context=5)
    form = minimizer(task)
    shares = []
    asked = standard_predictors(task, form, best(form.moments, starts=4), [Constant(0.5, "a model")])
    table = evaluate(task, asked, sample_prompts(task, 60), progress=lambda share, _: shares.append(share))
    assert [row.predictor for row in table.rows] == [
        *("Bayes", "Bayes, rounded mean", "kernel known", "transition counts + 1", "logistic regression"),
        *("linear regression", "3-NN", "SVM", "X*", "best (b, A)", "constant", "a model"),
    ]
    assert len(table.rows) == len(PREDICTORS) + 1
    assert table.notes == ()
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    assert all(row.seconds >= 0 and row.note == "" for row in table.rows)
    assert len(standard_predictors(task)) == len(PREDICTORS) - 2
    with pytest.raises(ValueError, match="got 'forest'"):
        standard_predictors(task, chosen=["bayes", "forest"])
    with pytest.raises(ValueError, match="a minimizer or a fit for predictor 'best'"):
        standard_predictors(task, form, chosen=["best"])


def test_regression_has_no_accuracy():
    task = RegressionTask(3, 2)
    form = minimizer(task)
    table = evaluate(task, standard_predictors(task, form, best(form.moments, starts=4)), sample_prompts(task, 4_000))
    assert len(table.rows) == len(REGRESSION)
    assert {row.accuracy for row in table.rows} == {None}
    # w is known in 2 of 3 directions, and the rest has variance 1 in each
    assert abs(table.row("Bayes").loss - 1) < 5 * table.row("Bayes").loss_se
    assert abs(table.row("X*").loss - form.loss) < 5 * table.row("X*").loss_se
    odd = evaluate(task, standard_predictors(task, chosen=["bayes", "svm"]), sample_prompts(task, 10))
    assert len(odd.rows) == 1
    assert "SVM left out" in odd.notes[0]


def test_no_bayes_row_where_the_posterior_is_not_conjugate():
    task = MarkovTask(length=3, initial=StationaryStart())
    table = evaluate(task, [Bayes(task), PosteriorMean(task), KernelKnown(task)], sample_prompts(task, 50))
    assert [row.predictor for row in table.rows] == ["kernel known"]
    assert table.rows[0].excess is None
    assert len(table.notes) == 2
    assert "stationary starts" in table.notes[0]


def test_a_predictor_that_diverged_is_reported_not_hidden():
    class Diverged:
        name = "diverged"

        def predict(self, prompts):
            return np.where(np.arange(len(prompts.target)) < 3, np.nan, 1e200)

    task = MarkovTask()
    table = evaluate(task, [Bayes(task), Diverged(), Constant(50.0)], sample_prompts(task, 50))
    row = table.rows[1]
    assert row.note == "3 predictions are not finite"
    assert not np.isfinite(row.loss)
    assert 0 <= row.accuracy <= 1
    drawn = {text.get_text() for text in plot_evaluation(table).axes[0].texts}
    assert "not finite" in drawn
    assert any(text.endswith("→") for text in drawn)  # the constant 50, far off the scale


def test_bad_arguments():
    task = MarkovTask(length=3)
    drawn = sample_prompts(task, 10)

    class Wide:
        name = "wide"

        def predict(self, prompts):
            return np.zeros((len(prompts.target), 5))

    for arguments, message in [
        ((task, [Bayes(task), Bayes(task)], drawn), "different names; got 'Bayes' twice"),
        ((task, [Wide()], drawn), r"shape \(10,\) or \(10, 2\) from wide; got \(10, 5\)"),
        ((task, [Bayes(task)], drawn, np.arange(9)), "a group for each of 10 prompts; got 9"),
        ((MarkovTask(length=4), [Constant(1.0)], drawn), "columns of 4 entries"),
        ((MarkovTask(length=3, bias=True), [Constant(1.0)], drawn), "columns of 4 entries"),
        ((task, [Constant(1.0)], sample_prompts(MarkovTask(states=4, length=3), 40)), "state indices below 2; got 3"),
        ((task, [Constant(1.0)], sample_prompts(RegressionTask(2), 4)), "numeric columns only"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate(*arguments)


def test_the_floor_knows_the_law_of_the_label():
    task = MarkovTask(states=3, length=2, prior=DirichletPrior(((1, 2, 3),) * 3))
    constant = floor(task)
    assert constant.answer == (1 / 6, 1 / 3, 1 / 2)
    assert floor(RegressionTask(2)).answer == 0


def test_weather_scores_stand_in_order():
    data = from_sequences(weather_file(), "month", "date", "wet", 3)
    form = minimizer(data.task)
    constant = Constant(data.training_mean)
    table = evaluate_held_out(data, standard_predictors(data.task, form, constant=constant))
    assert isinstance(table, Evaluation)
    assert table.groups == 12
    top, floor_ = table.row("Bayes"), table.row("constant")
    assert top.loss < table.row("X*").loss < floor_.loss + 2 * floor_.loss_se
    assert all(row.excess >= -2 * row.excess_se for row in table.rows)
    assert [note.split(" left out")[0] for note in table.notes] == ["kernel known"]
