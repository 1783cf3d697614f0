from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from markov_icl.choices import FORMS
from markov_icl.features import predict
from markov_icl.models.attention import SoftmaxAttention
from markov_icl.models.gram import EnlargedAttention, gram_layers, gram_predict
from markov_icl.models.lsa import LinearSelfAttention
from markov_icl.tasks.sampling import sample_prompts
from tests.cases import POLYNOMIAL, REGRESSION

PROMPTS = {
    name: (POLYNOMIAL | REGRESSION)[name]
    for name in ("order-2", "dirichlet", "single-context", "bias", "bias-three-states", "odd-values", "regression")
}
SHAPES = [(1, 1), (2, 1), (3, 1), (3, 2), (4, 3), (12, 1), (12, 3)]


def tame(dimension, depth, heads, form, size, seed=0):
    """A random model whose values stay of the size of its prompts.

    `|P_h| |S| |Q_h|` is about `2 / (heads depth)` at the start, so that `Z` grows by a bounded factor in all.
    """
    scale = sqrt(0.5 / (depth * heads * dimension * max(size, 1e-9)))
    return LinearSelfAttention(dimension, depth, heads, form, scale=scale, seed=seed, dtype=torch.float64)


def close(mine, theirs, tolerance=1e-12):
    assert mine.shape == theirs.shape
    assert float((mine - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


def check_gram_form(model, Z):
    """Values after every layer, and gradients to the parameters and the prompts, are those of the token form."""
    tokens = Z.clone().requires_grad_()
    literal = torch.stack([model.readout * state[:, -1, -1] for state in model.layers(tokens)])
    assert float(literal.detach().abs().max()) < 1e3 * float(Z.abs().max())  # else 1e-12 would mean nothing
    columns = Z.clone().requires_grad_()
    context = columns[:, :, :-1]
    mine = gram_layers(model, context @ context.mT / context.shape[2], columns[:, :-1, -1])
    close(mine.detach(), literal.detach())
    assert torch.equal(gram_predict(model, context @ context.mT / context.shape[2], columns[:, :-1, -1]), mine[-1])
    mix = torch.randn(mine.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = list(model.parameters())
    *slow, slow_Z = torch.autograd.grad((mix * literal).sum(), [*parameters, tokens])
    *fast, fast_Z = torch.autograd.grad((mix * mine).sum(), [*parameters, columns])
    for a, b in zip(fast, slow, strict=True):
        close(a, b)
    slow_Z[:, -1, -1] = 0  # the token form could move the query's label, which is 0 by construction
    close(fast_Z, slow_Z)
    constants = gram_predict(model, (Z[:, :, :-1] @ Z[:, :, :-1].mT / (Z.shape[2] - 1)), Z[:, :-1, -1])
    slow = torch.autograd.grad((mix[0] * model(Z)).sum(), parameters)
    fast = torch.autograd.grad((mix[0] * constants).sum(), parameters)
    for a, b in zip(fast, slow, strict=True):
        close(a, b)


def gaussian(dimension, context, prompts=3, seed=0):
    Z = np.random.default_rng(seed).normal(size=(prompts, dimension, context + 1))
    Z[:, -1, -1] = 0
    return torch.from_numpy(Z)


@given(
    form=st.sampled_from(FORMS),
    depth=st.integers(1, 12),
    heads=st.integers(1, 3),
    dimension=st.integers(2, 9),
    context=st.integers(1, 200),
    seed=st.integers(0, 1000),
)
@example(form="dense", depth=12, heads=3, dimension=9, context=200, seed=0)
@example(form="dense", depth=12, heads=1, dimension=2, context=1, seed=0)
@example(form="restricted", depth=12, heads=3, dimension=2, context=1, seed=0)
def test_gram_form_is_the_token_form(form, depth, heads, dimension, context, seed):
    Z = gaussian(dimension, context, seed=seed)
    check_gram_form(tame(dimension, depth, heads, form, float((Z**2).sum(1).mean()), seed), Z)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("depth", "heads"), SHAPES)
def test_gram_form_on_prompts_of_tasks(name, form, depth, heads):
    Z = torch.from_numpy(sample_prompts(PROMPTS[name], 20, seed=1).matrix)
    check_gram_form(tame(Z.shape[1], depth, heads, form, float((Z**2).sum(1).mean())), Z)


def test_memory_layout_does_not_matter():
    drawn = sample_prompts(POLYNOMIAL["bias"], 50)
    model = tame(4, 3, 2, "dense", 2.0)
    gram, query = torch.from_numpy(drawn.gram), torch.from_numpy(drawn.query)
    batch_last = gram.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert batch_last.stride() != gram.stride()
    assert torch.equal(gram_predict(model, batch_last, query), gram_predict(model, gram, query))


@pytest.mark.parametrize(("depth", "heads"), SHAPES)
def test_single_precision_rounds(depth, heads):
    Z = gaussian(5, 30)
    model = tame(5, depth, heads, "dense", 5.0)
    exact = model(Z).detach()
    gram = Z[:, :, :-1] @ Z[:, :, :-1].mT / 30
    rounded = gram_predict(model.float(), gram.float(), Z[:, :-1, -1].float()).detach()
    assert rounded.dtype == torch.float32
    close(rounded.double(), exact, 1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_prompts_no_predictions(depth):
    model = LinearSelfAttention(3, depth, 2)
    assert gram_layers(model, torch.zeros(0, 3, 3), torch.zeros(0, 2)).shape == (depth + 1, 0)


def second_derivatives(predictions, model):
    parameters = list(model.parameters())
    first = torch.autograd.grad(predictions.square().sum(), parameters, create_graph=True)
    return torch.autograd.grad(sum(one.square().sum() for one in first), parameters)


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives_of_one_layer(form):
    Z = gaussian(3, 5)
    model = LinearSelfAttention(3, 1, 2, form, dtype=torch.float64)
    through_gram = gram_predict(model, Z[:, :, :-1] @ Z[:, :, :-1].mT / 5, Z[:, :-1, -1])
    for a, b in zip(second_derivatives(through_gram, model), second_derivatives(model(Z), model), strict=True):
        close(a, b)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("loss", [torch.sum, lambda predictions: predictions.square().sum()])
def test_second_derivatives_of_more_layers_are_refused(depth, loss):
    model = LinearSelfAttention(3, depth)
    predictions = gram_predict(model, torch.eye(3).expand(4, 3, 3), torch.ones(4, 2))
    with pytest.raises(RuntimeError, match="second ones of two layers and more need the token form"):
        torch.autograd.grad(loss(predictions), list(model.parameters()), create_graph=True)


@pytest.mark.parametrize("name", PROMPTS)
def test_enlarged_model_predicts_with_its_point(name):
    drawn = sample_prompts(PROMPTS[name], 30, seed=2)
    model = EnlargedAttention(drawn.gram.shape[1], dtype=torch.float64)
    expected = torch.from_numpy(predict(model.X.detach().numpy(), drawn.gram, drawn.query))
    through_gram = gram_layers(model, torch.from_numpy(drawn.gram), torch.from_numpy(drawn.query))
    assert not through_gram[0].any()
    close(through_gram[1].detach(), expected)
    close(model(torch.from_numpy(drawn.matrix)).detach(), expected)
    (gradient,) = torch.autograd.grad(through_gram[1].sum(), model.X)
    one_at_a_time = np.eye(model.X.numel()).reshape(-1, *model.X.shape)
    sums = [predict(point, drawn.gram, drawn.query).sum() for point in one_at_a_time]
    close(gradient.flatten(), torch.tensor(sums))


def test_enlarged_model_starts_from_its_seed():
    assert torch.equal(EnlargedAttention(3, seed=4).X, EnlargedAttention(3, seed=4).X)
    assert not torch.equal(EnlargedAttention(3, seed=4).X, EnlargedAttention(3, seed=5).X)
    assert EnlargedAttention(**EnlargedAttention(3).config).X.shape == (2, 6)
    with pytest.raises(ValueError, match="dimension >= 2; got 1"):
        EnlargedAttention(1)
    with pytest.raises(ValueError, match=r"expected prompt matrices \[B, 3, n\+1\] with n >= 1; got \[2, 3, 1\]"):
        EnlargedAttention(3)(torch.zeros(2, 3, 1))


@pytest.mark.parametrize("model", [LinearSelfAttention(3, 2), EnlargedAttention(3)], ids=lambda model: model.kind)
@pytest.mark.parametrize(
    ("gram", "query"), [((4, 3, 2), (4, 2)), ((4, 3, 3), (5, 2)), ((4, 2, 2), (4, 1)), ((3, 3), (2,)), ((), (4, 2))]
)
def test_other_shapes_are_refused(model, gram, query):
    for call in (gram_predict, gram_layers):
        with pytest.raises(ValueError, match=r"expected gram \[B, 3, 3\] and query \[B, 2\]; got \["):
            call(model, torch.zeros(gram), torch.zeros(query))
    with pytest.raises(ValueError, match=r"expected gram and query in torch.float32; got torch.float64"):
        gram_predict(model, torch.zeros(4, 3, 3, dtype=torch.float64), torch.zeros(4, 2))


@pytest.mark.parametrize("model", [SoftmaxAttention(3), torch.nn.Linear(3, 1)])
def test_models_that_need_the_columns_are_refused(model):
    with pytest.raises(
        ValueError, match=f"expected linear attention or the enlarged model; got {type(model).__name__}"
    ):
        gram_predict(model, torch.zeros(4, 3, 3), torch.zeros(4, 2))
