import subprocess
import sys
import time
from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model, neighbors, svm
from torch import nn

from markov_icl.features import phi, predict
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models import counts
from markov_icl.models.baselines import CLASSIFIERS
from markov_icl.models.bayes import posterior_variance
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.models.predictors import (
    Bayes,
    Classifier,
    Constant,
    EmpiricalCounts,
    Enlarged,
    KernelKnown,
    LinearRegression,
    NotApplicable,
    PosteriorMean,
    Predictor,
    Realized,
    TorchModel,
    posterior_mean,
    posterior_predictive,
    transition_counts,
)
from markov_icl.moments.enumeration import prompts as every_prompt
from markov_icl.tasks.kernels import FinitePrior, fixed_kernel, symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart
from markov_icl.tasks.sampling import Prompts, columns, sample_prompts
from tests.cases import POLYNOMIAL, SIGMA

DISCRETE = POLYNOMIAL
CONTEXTS = {
    "binary": MarkovTask(length=4, context=12),
    "one-context": MarkovTask(length=3, context=1),
    "two-contexts": MarkovTask(length=3, context=2),
    "three-states": MarkovTask(states=3, length=5, context=9, prior=symmetric_dirichlet(3, 1, F(1, 3))),
    "bias-values": MarkovTask(states=3, length=3, context=7, values=(F(1, 2), -3, 7), bias=True),
    "order-2": MarkovTask(order=2, length=5, context=20),
    "length-2": MarkovTask(length=2, context=6),
    "states-worth-millions": MarkovTask(states=3, length=4, context=8, values=(10**9, 0, F(1, 10**6))),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_posterior_is_the_conditional_law_of_the_definition(name):
    task = DISCRETE[name]
    if task.states**task.length > 16:
        task = MarkovTask(task.states, task.order, task.order + 1, 1, task.prior, task.initial, task.values, task.bias)
    joint = {}
    for query, context, probability in every_prompt(task):
        key = (query[:-1], tuple(sorted(context.elements())))
        joint.setdefault(key, np.zeros(task.states))[query[-1]] += float(probability)
    for (seen, context), mass in list(joint.items())[:60]:
        states = np.array([[*context]])
        query = np.array([[*seen, 0]])
        z = columns(task, states)
        drawn = Prompts(z, columns(task, query)[:, :-1], np.zeros(1), states, query)
        np.testing.assert_allclose(posterior_predictive(task, drawn)[0], mass / mass.sum(), atol=1e-10)


@pytest.mark.parametrize("name", DISCRETE)
def test_nothing_beats_the_posterior_mean(name):
    task = DISCRETE[name]
    drawn = sample_prompts(task, 20_000, seed=2)
    form = minimizer(task, "dense")
    best = (posterior_mean(task, drawn) - drawn.target) ** 2
    linear = (predict(form.X, drawn.gram, drawn.query) - drawn.target) ** 2
    difference = linear - best
    assert difference.mean() > -5 * difference.std() / np.sqrt(len(difference)) - 1e-12


@pytest.mark.parametrize(("states", "alpha", "ceiling"), [(2, 1, 0.755), (3, 1, 0.60), (4, 1, 0.49), (3, "1/10", 0.91)])
def test_published_ceilings(states, alpha, ceiling):
    task = MarkovTask(states=states, length=6, context=10, prior=symmetric_dirichlet(states, 1, alpha))
    drawn = sample_prompts(task, 40_000, seed=0)
    right = posterior_predictive(task, drawn).argmax(1) == drawn.query_states[:, -1]
    assert abs(right.mean() - ceiling) < 0.006 + 4 * right.std() / np.sqrt(len(right))


def test_counts():
    states = np.array([[[0, 1, 1, 0], [1, 1, 1, 1]]])
    np.testing.assert_array_equal(transition_counts(states, 2, 2, 1)[0], [[0, 1], [1, 4]])
    order_two = transition_counts(states, 4, 2, 2)[0]
    literal = np.zeros((4, 2))
    for chain, t in product(states[0], range(2, 4)):
        literal[2 * chain[t - 2] + chain[t - 1], chain[t]] += 1
    np.testing.assert_array_equal(order_two, literal)


def test_what_has_no_conjugate_posterior_is_refused():
    task = MarkovTask(initial=StationaryStart())
    drawn = sample_prompts(task, 3)
    with pytest.raises(ValueError, match="stationary starts"):
        posterior_predictive(task, drawn)
    with pytest.raises(ValueError, match="numeric columns only"):
        posterior_predictive(MarkovTask(), Prompts(drawn.context, drawn.query, drawn.target))


def test_impossible_prompts_are_refused():
    cycle = MarkovTask(states=3, length=3, prior=fixed_kernel([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    drawn = sample_prompts(MarkovTask(states=3, length=3), 50)
    with pytest.raises(ValueError, match="no kernel of it allows"):
        posterior_predictive(cycle, drawn)


def test_a_mixture_of_many_kernels_is_averaged_in_batches(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 9, size=(30, 2, 2))
    prior = FinitePrior(
        tuple(tuple(tuple(F(int(v), int(r.sum())) for v in r) for r in k) for k in rows), (F(1, 30),) * 30
    )
    task = MarkovTask(length=4, context=3, prior=prior, initial=StationaryStart())
    drawn = sample_prompts(task, 100)
    whole = posterior_predictive(task, drawn)
    monkeypatch.setattr("markov_icl.models.bayes._BATCH", 1)
    np.testing.assert_allclose(posterior_predictive(task, drawn), whole, rtol=1e-13)


@given(
    symbols=st.integers(2, 5),
    order=st.integers(1, 3),
    extra=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int64]),
    seed=st.integers(0, 99),
)
def test_compiled_counts_are_the_definition(symbols, order, extra, dtype, seed):
    rng = np.random.default_rng(seed)
    task = MarkovTask(symbols, order, order + extra, 3)
    states = rng.integers(0, symbols, (7, 5, task.length)).astype(dtype)[:, 1:]
    literal = transition_counts(states, task.rows, symbols, order)
    wanted = rng.integers(0, task.rows, 7)
    for threshold in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counts, "_COMPILED_FROM", threshold)
            np.testing.assert_array_equal(counts.pooled_counts(task, states), literal)
            np.testing.assert_array_equal(counts.counts_after(task, states, wanted), literal[np.arange(7), wanted])


def test_bayes_is_fast():
    task = MarkovTask(length=6, context=100)
    states = np.random.default_rng(0).integers(0, 2, (100_000, 101, 6), dtype=np.uint8)
    unread = np.broadcast_to(0.0, (100_000, 100, 6))
    drawn = Prompts(unread, unread[:, 0, 1:], unread[:, 0, 0], states[:, :-1], states[:, -1])
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        predicted = Bayes(task).predict(drawn)
        seconds.append(time.perf_counter() - began)
    few = Prompts(*(a[:50] for a in (drawn.context, drawn.query, drawn.target)), states[:50, :-1], states[:50, -1])
    np.testing.assert_array_equal(predicted[:50], Bayes(task).predict(few))
    assert min(seconds) < 2.0, seconds


def test_counts_plus_one_are_bayes_under_uniform_rows():
    task = MarkovTask(states=3, order=2, length=5, context=4)
    drawn = sample_prompts(task, 200)
    np.testing.assert_allclose(EmpiricalCounts(task).predict(drawn), Bayes(task).predict(drawn), rtol=1e-14)
    other = MarkovTask(states=3, order=2, length=5, context=4, prior=symmetric_dirichlet(3, 2, F(1, 4)))
    np.testing.assert_allclose(EmpiricalCounts(other, 0.25).predict(drawn), Bayes(other).predict(drawn), rtol=1e-14)


def test_counts_plus_nothing():
    task = MarkovTask(states=3, order=2, length=3, context=1)
    drawn = sample_prompts(task, 200)
    predicted = EmpiricalCounts(task, 0.0).predict(drawn)
    seen = (drawn.context_states[:, 0, :2] == drawn.query_states[:, :2]).all(1)
    np.testing.assert_array_equal(predicted[~seen], 1 / 3)
    np.testing.assert_array_equal(predicted[seen], np.eye(3)[drawn.context_states[seen, 0, 2]])
    for beta in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="finite number >= 0"):
            EmpiricalCounts(task, beta)


def test_the_oracle_reads_the_row_of_the_last_tuple():
    task = MarkovTask(order=2, length=4, context=1)
    drawn = sample_prompts(task, 50)
    literal = [k[2 * q[1] + q[2]] for k, q in zip(drawn.kernels, drawn.query_states, strict=True)]
    np.testing.assert_array_equal(KernelKnown(task).predict(drawn), literal)
    with pytest.raises(NotApplicable, match="carry their kernels"):
        KernelKnown(task).predict(
            Prompts(drawn.context, drawn.query, drawn.target, drawn.context_states, drawn.query_states)
        )


def by_hand(name, features, labels, query, states):
    """What scikit-learn says of one prompt, its own defaults but for the solver."""
    if len(set(labels)) == 1:
        return np.eye(states)[labels[0]]
    models = {
        "logistic regression": linear_model.LogisticRegression(solver="newton-cholesky", max_iter=1000),
        "3-NN": neighbors.KNeighborsClassifier(min(3, len(labels)), algorithm="brute"),
        "SVM": svm.SVC(),
    }
    model = models[name].fit(features, labels)
    if name == "SVM":
        return np.eye(states)[model.predict([query])[0]]
    found = np.zeros(states)
    found[model.classes_] = model.predict_proba([query])[0]
    return found


@pytest.mark.parametrize("task", [t for n, t in CONTEXTS.items() if n != "states-worth-millions"])
def test_classifiers_are_scikit_learns(task):
    drawn = sample_prompts(task, 40, seed=5)
    labels = drawn.context_states[:, :, -1]
    for name in CLASSIFIERS:
        predicted = Classifier(task, name).predict(drawn)
        for p in range(40):
            literal = by_hand(name, drawn.context[p, :, :-1], labels[p], drawn.query[p], task.states)
            np.testing.assert_allclose(predicted[p], literal, atol=1e-12)


@pytest.mark.parametrize("name", CONTEXTS)
def test_classifiers_give_laws_of_classes_they_saw(name):
    task = CONTEXTS[name]
    drawn = sample_prompts(task, 100, seed=1)
    seen = (drawn.context_states[:, :, -1, None] == np.arange(task.states)).any(1)
    for kind in CLASSIFIERS:
        predicted = Classifier(task, kind).predict(drawn)
        np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-12)
        assert (predicted >= 0).all()
        np.testing.assert_array_equal(predicted[~seen], 0)
        np.testing.assert_array_equal(predicted[seen.sum(1) == 1], seen[seen.sum(1) == 1])


@pytest.mark.parametrize("task", [*CONTEXTS.values(), RegressionTask(3, 2), RegressionTask(2, 30, SIGMA)])
def test_linear_regression_is_scikit_learns(task):
    drawn = sample_prompts(task, 60, seed=2)
    predicted = LinearRegression(task).predict(drawn)
    scale = np.abs(drawn.context).max()
    for p in range(60):
        model = linear_model.LinearRegression().fit(drawn.context[p, :, :-1], drawn.context[p, :, -1])
        np.testing.assert_allclose(predicted[p], model.predict(drawn.query[p : p + 1])[0], atol=1e-9 * scale)


@pytest.mark.parametrize("task", [RegressionTask(3, 1), RegressionTask(3, 2, None), RegressionTask(2, 2, SIGMA)])
def test_regression_posterior_is_the_limit_of_little_noise(task):
    drawn = sample_prompts(task, 50, seed=3)
    X, y = drawn.context[:, :, :-1], drawn.context[:, :, -1]
    noise = 1e-9
    covariance = X @ X.transpose(0, 2, 1) + noise * np.eye(task.context)
    weight = X.transpose(0, 2, 1) @ np.linalg.solve(covariance, y[:, :, None])
    np.testing.assert_allclose(posterior_mean(task, drawn), (drawn.query[:, None] @ weight)[:, 0, 0], atol=1e-4)


@pytest.mark.parametrize(
    "task",
    [MarkovTask(states=3, length=3, context=4), MarkovTask(prior=fixed_kernel([["0.7", "0.3"], ["0.4", "0.6"]])),
     RegressionTask(2, 1, SIGMA), RegressionTask(2, 5)],
    ids=["Dirichlet", "one kernel", "fewer examples than features", "weights known"],
)  # fmt: skip
def test_the_mean_posterior_variance_is_the_bayes_loss_with_less_noise(task):
    drawn = sample_prompts(task, 20_000, 0)
    losses = (posterior_mean(task, drawn) - drawn.target) ** 2
    variances = posterior_variance(task, drawn)
    assert abs((losses - variances).mean()) <= 6 * (losses - variances).std() / np.sqrt(len(losses)) + 1e-12
    assert variances.std() <= losses.std() + 1e-12
    assert variances.min() >= 0


def test_regression_posterior_by_brute_force():
    """Weights drawn from the prior and kept where they explain the context: the mean of their predictions."""
    rng = np.random.default_rng(0)
    context = np.array([[0.8, -0.5, 0.7]])
    query = np.array([[0.3, 1.1]])
    w = rng.standard_normal((4_000_000, 2))
    kept = w[np.abs(w @ context[0, :2] - 0.7) < 0.01]
    values = kept @ query[0]
    predicted = posterior_mean(RegressionTask(2, 1), Prompts(context[None], query, np.zeros(1)))[0]
    assert len(kept) > 10_000
    assert abs(values.mean() - predicted) < 5 * values.std() / np.sqrt(len(kept)) + 1e-4  # the window moves it by 1e-5


def test_regression_posterior_of_repeated_and_many_examples():
    task = RegressionTask(3, 4)
    drawn = sample_prompts(task, 30)
    np.testing.assert_allclose(posterior_mean(task, drawn), drawn.target, atol=1e-9)
    twice = Prompts(np.repeat(drawn.context[:, :1], 4, axis=1), drawn.query, drawn.target)
    once = Prompts(drawn.context[:, :1], drawn.query, drawn.target)
    np.testing.assert_allclose(Bayes(task).predict(twice), Bayes(task).predict(once), atol=1e-12)
    with pytest.raises(NotApplicable, match="regression task"):
        Classifier(task, "SVM").predict(drawn)


def test_points_of_the_enlarged_space_and_real_parameters_agree():
    task = MarkovTask(states=3, length=4, context=5)
    drawn = sample_prompts(task, 20)
    rng = np.random.default_rng(1)
    b, A = rng.normal(size=(2, 4)), rng.normal(size=(2, 4, 3))
    X = phi(b[0], A[0]) + phi(b[1], A[1])
    realized = Realized(b, A).predict(drawn)
    np.testing.assert_allclose(Enlarged(X).predict(drawn), realized, rtol=1e-11, atol=1e-11)
    model = LinearSelfAttention(4, heads=2, form="sparse", dtype=torch.float64)
    model.b.data, model.A.data = torch.from_numpy(b[None]), torch.from_numpy(A[None])
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(drawn.matrix)).numpy(), realized, rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match="expected 12 coefficients"):
        Enlarged(X).predict(sample_prompts(MarkovTask(length=3), 2))
    with pytest.raises(ValueError, match="columns of 3 entries; got 4"):
        Realized(b, A).predict(sample_prompts(MarkovTask(length=3), 2))


class Token(nn.Module):
    """Mean of the context labels plus the query's first entry, times a parameter; noisy unless in evaluation mode."""

    dimension = 4

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=dtype))
        self.batches = []

    def forward(self, Z):
        self.batches.append(len(Z))
        assert not torch.is_grad_enabled()
        assert not self.training
        return self.scale * (Z[:, -1, :-1].mean(1) + Z[:, 0, -1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_torch_models_are_asked_in_bounded_batches(monkeypatch, dtype, tolerance):
    monkeypatch.setattr("markov_icl.models.predictors._TOKENS", 60)
    drawn = sample_prompts(MarkovTask(length=4, context=5), 33)
    model = Token(dtype)
    predicted = TorchModel(model, "token").predict(drawn)
    np.testing.assert_allclose(predicted, 2 * (drawn.context[:, :, -1].mean(1) + drawn.query[:, 0]), rtol=tolerance)
    assert predicted.dtype == np.float64
    assert model.batches == [10, 10, 10, 3]
    assert model.training
    with pytest.raises(ValueError, match="columns of 3 entries; got one for 4"):
        TorchModel(model).predict(sample_prompts(MarkovTask(length=3), 2))


def test_linear_self_attention_goes_through_the_gram_matrix(monkeypatch):
    pytest.importorskip("markov_icl.models.gram")
    monkeypatch.setattr("markov_icl.models.predictors._GRAM_ENTRIES", 160)
    drawn = sample_prompts(MarkovTask(length=4, context=5), 33)
    model = LinearSelfAttention(4, depth=2, heads=2, dtype=torch.float64)
    with torch.no_grad():
        literal = model(torch.from_numpy(drawn.matrix)).numpy()
    monkeypatch.setattr(LinearSelfAttention, "forward", None)
    np.testing.assert_allclose(TorchModel(model).predict(drawn), literal, rtol=1e-11)


def test_constants():
    drawn = sample_prompts(MarkovTask(), 3)
    np.testing.assert_array_equal(Constant(0.25).predict(drawn), [0.25] * 3)
    np.testing.assert_array_equal(Constant((0.25, 0.75)).predict(drawn), [[0.25, 0.75]] * 3)


def test_prompts_of_another_task_are_refused():
    task = MarkovTask(states=2, length=4)
    shorter = sample_prompts(MarkovTask(length=3), 2)
    richer = sample_prompts(MarkovTask(states=5, length=4), 20)
    bare = Prompts(richer.context, richer.query, richer.target)
    for predictor in (Bayes(task), PosteriorMean(task), EmpiricalCounts(task), KernelKnown(task), Classifier(task)):
        assert isinstance(predictor, Predictor)
        for wrong in (shorter, richer, bare):
            with pytest.raises(ValueError, match=r"expected (prompts|state)"):
                predictor.predict(wrong)
    with pytest.raises(ValueError, match="columns of 4 entries"):
        LinearRegression(task).predict(shorter)
    with pytest.raises(ValueError, match="numeric columns only"):
        LinearRegression(task).predict(bare)
    with pytest.raises(ValueError, match=r"expected one of logistic regression, 3-NN, SVM; got 'forest'"):
        Classifier(task, "forest")


def test_predictors_load_nothing_heavy():
    code = "import sys, markov_icl.models.predictors; print({'torch', 'sklearn', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
