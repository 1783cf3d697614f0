from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.choices import FORMS
from markov_icl.features import phi, predict, vech_size
from markov_icl.landscape.minimizer import minimizer
from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.bridge import (
    Parameters,
    enlarged_module,
    layer_parameters,
    module_of,
    to_module,
    to_parameters,
    to_point,
)
from markov_icl.models.gram import EnlargedAttention, gram_predict
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.recovery.search.fit import best
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts
from tests.cases import POLYNOMIAL

TASK = POLYNOMIAL["bias-three-states"]
SIZES = {"heads": st.integers(1, 4), "dimension": st.integers(2, 6), "seed": st.integers(0, 999)}


def random_parameters(heads, dimension, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(heads, dimension)), rng.normal(size=(heads, dimension, dimension - 1))


def predictions(model, drawn):
    """Both forms of the model, once they agree."""
    tokens = model(torch.from_numpy(drawn.matrix)).detach().numpy()
    through_gram = gram_predict(model, torch.from_numpy(drawn.gram), torch.from_numpy(drawn.query)).detach().numpy()
    np.testing.assert_allclose(tokens, through_gram, rtol=1e-12, atol=1e-12 * np.abs(tokens).max())
    return through_gram


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@given(**SIZES)
def test_parameters_survive_the_crossing(heads, dimension, seed):
    b, A = random_parameters(heads, dimension, seed)
    model = to_module(b, A)
    back = to_parameters(model)
    np.testing.assert_array_equal(back.b, b)
    np.testing.assert_array_equal(back.A, A)
    layers = layer_parameters(model)
    np.testing.assert_array_equal(layers.b, b[None])
    np.testing.assert_array_equal(layers.A, A[None])
    np.testing.assert_array_equal(to_point(model), sum(phi(*one) for one in zip(b, A, strict=True)))
    again = module_of(back)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


@given(dimension=st.integers(2, 6), seed=st.integers(0, 999))
def test_points_survive_the_crossing(dimension, seed):
    X = np.random.default_rng(seed).normal(size=(dimension - 1, vech_size(dimension)))
    for given_as in (X, X.reshape(-1)):
        model = enlarged_module(given_as)
        np.testing.assert_array_equal(model.X.detach().numpy(), X)
        np.testing.assert_array_equal(to_point(model), X.reshape(-1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("heads", [1, 3])
def test_any_form_predicts_with_the_parameters_it_is_read_as(form, heads):
    drawn = sample_prompts(TASK, 40)
    model = LinearSelfAttention(drawn.gram.shape[1], heads=heads, form=form, dtype=torch.float64)
    found = to_parameters(model)
    if form != "dense":
        np.testing.assert_array_equal(found.A, model.A[0].detach().numpy())
        np.testing.assert_array_equal(layer_parameters(model).A[0], found.A)
    same(predict(to_point(model), drawn.gram, drawn.query), predictions(model, drawn))
    same(predictions(to_module(found.b, found.A), drawn), predictions(model, drawn))


def test_layers_of_deep_models():
    model = LinearSelfAttention(4, 5, 2, "restricted")
    found = layer_parameters(model)
    assert found.b.shape == (5, 2, 4)
    assert found.A.shape == (5, 2, 4, 3)
    assert found.A.dtype == np.float64
    np.testing.assert_array_equal(found.A, model.A.detach().double().numpy())
    with torch.no_grad():
        model.A.zero_()
    assert found.A.any()  # a copy


def test_results_become_modules():
    task = MarkovTask(length=3, context=10)
    drawn = sample_prompts(task, 40)
    form, fit = minimizer(task), best(task, heads=2, starts=2)
    enlarged, sparse = module_of(form), module_of(fit)
    assert (enlarged.kind, sparse.kind) == ("enlarged", "lsa")
    np.testing.assert_array_equal(to_point(enlarged), form.X)
    same(predictions(enlarged, drawn), predict(form.X, drawn.gram, drawn.query))
    same(predictions(sparse, drawn), predict(fit.X, drawn.gram, drawn.query))
    same(to_point(sparse), fit.X)
    assert module_of(form, torch.float32).X.dtype == torch.float32
    assert module_of(fit, torch.float32).b.dtype == torch.float32


def test_exact_entries_are_rounded():
    b, A = np.array([Fraction(1, 3), Fraction(1)]), np.array([[Fraction(2, 7)], [Fraction(0)]])
    assert to_parameters(to_module(b, A)).b.tolist() == [[1 / 3, 1.0]]
    assert to_point(enlarged_module(phi(b, A))).tolist() == [float(x) for x in phi(b, A)]


@pytest.mark.parametrize(
    ("b", "A"), [((3,), (3, 3)), ((2, 3), (3, 3, 2)), ((3,), (1, 3, 2)), ((0, 3), (0, 3, 2)), ((), ())]
)
def test_other_shapes_are_refused(b, A):
    with pytest.raises(ValueError, match=r"expected b \[r, D\] and A \[r, D, D-1\]; got \["):
        to_module(np.zeros(b), np.zeros(A))


def test_points_of_no_model_are_refused():
    with pytest.raises(ValueError, match="expected 2 blocks of 6 numbers; got 3"):
        enlarged_module(np.zeros((3, 6)))
    with pytest.raises(ValueError, match=r"expected d \(d\+1\)"):
        enlarged_module(np.zeros(7))
    with pytest.raises(ValueError, match="with b and A, or with X; got int"):
        module_of(3)


@pytest.mark.parametrize("model", [LinearSelfAttention(3, 2), SoftmaxAttention(3), torch.nn.Linear(2, 1)])
def test_models_without_a_point_are_refused(model):
    for call in (to_parameters, to_point):
        with pytest.raises(ValueError, match="expected one layer of linear attention; got"):
            call(model)


@pytest.mark.parametrize("model", [LinearSelfAttention(3), SoftmaxAttention(3, form="sparse"), EnlargedAttention(3)])
def test_models_without_layer_parameters_are_refused(model):
    with pytest.raises(ValueError, match="sparse or restricted form; got"):
        layer_parameters(model)


def test_parameters_are_a_frozen_result():
    with pytest.raises(AttributeError):
        Parameters(*random_parameters(1, 2, 0)).b = None
