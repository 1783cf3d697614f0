from fractions import Fraction as F

import numpy as np
import pytest
import torch
from scipy import stats

from markov_icl.tasks import device_sampling
from markov_icl.tasks.device_sampling import sample_columns_on, sample_grams_on
from markov_icl.tasks.kernels import fixed_kernel, stationary, symmetric_dirichlet
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REGRESSION
from tests.tasks.chain_laws import (
    check_p_values,
    prior_p_values,
    residuals,
    start_p_values,
    transition_p_values,
    uncorrelated,
)

MARKOV = (
    POLYNOMIAL
    | NOT_POLYNOMIAL
    | {
        "order 3": MarkovTask(order=3, length=6, context=9),
        "five states": MarkovTask(states=5, length=4, context=9),
        "three states, order 2": MarkovTask(states=3, order=2, length=5, context=9, values=("1/2", 4, -1), bias=True),
        "small alpha": MarkovTask(states=3, length=4, context=9, prior=symmetric_dirichlet(3, 1, "1/50")),
    }
)
ALL = MARKOV | REGRESSION
CPU = torch.device("cpu")


def devices():
    gpu = pytest.param(
        torch.device("cuda"),
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
    )
    return [CPU, gpu]


def drawn_kernels(task, count, device, seed):
    """The sampler's own kernels: its first draw from a generator in the same state."""
    generator = torch.Generator(device).manual_seed(seed)
    kernels = device_sampling._kernels(task, count, generator)[0]
    return kernels.cpu().numpy()


def states_of(task, columns):
    """State indices `[P, n + 1, L]` of float64 columns."""
    shown = torch.cat([columns.context, torch.cat([columns.query, columns.target[:, None]], 1)[:, None]], 1)
    z = shown.cpu().numpy()
    numeric = np.concatenate([z[..., : task.length - 1], z[..., -1:]], axis=2)
    distance = np.abs(numeric[..., None] - np.array(task.values, dtype=float))
    assert distance.min(-1).max() == 0
    return distance.argmin(-1)


@pytest.mark.parametrize("device", devices(), ids=str)
@pytest.mark.parametrize("name", ALL)
def test_shapes_types_and_gram_matrices(name, device):
    task = ALL[name]
    for dtype in (torch.float32, torch.float64):
        columns = sample_columns_on(task, 7, torch.Generator(device).manual_seed(3), dtype)
        grams = sample_grams_on(task, 7, torch.Generator(device).manual_seed(3), dtype)
        assert columns.context.shape == (7, task.context, task.dimension)
        assert grams.gram.shape == (7, task.dimension, task.dimension)
        for part in (*columns, *grams):
            assert (part.dtype, part.device.type) == (dtype, device.type)
        torch.testing.assert_close(grams.gram, columns.context.mT @ columns.context / task.context)
        assert torch.equal(grams.query, columns.query)
        assert torch.equal(grams.target, columns.target)
        if isinstance(task, MarkovTask) and task.bias:
            assert (columns.context[..., -2] == 1).all()
            assert (columns.query[:, -1] == 1).all()


@pytest.mark.parametrize("device", devices(), ids=str)
@pytest.mark.parametrize("name", MARKOV)
def test_chains_follow_the_law(name, device):
    task = MARKOV[name]
    kernels = drawn_kernels(task, 4_000, device, 11)
    columns = sample_columns_on(task, 4_000, torch.Generator(device).manual_seed(11), torch.float64)
    states = states_of(task, columns)
    found = transition_p_values(task, states, kernels) + start_p_values(task, states, kernels)
    check_p_values(found + prior_p_values(task, kernels))


@pytest.mark.parametrize("name", ["uniform", "five states", "order 3"])
def test_chains_times_prompts_and_seeds_are_independent(name):
    task = MARKOV[name]
    one, other = (
        residuals(
            task,
            states_of(task, sample_columns_on(task, 4_000, torch.Generator().manual_seed(seed), torch.float64)),
            drawn_kernels(task, 4_000, CPU, seed),
        )
        for seed in (1, 2)
    )
    found = uncorrelated(one[:, :-1], one[:, 1:]) + uncorrelated(one[:, :, :-1], one[:, :, 1:])
    check_p_values(found + uncorrelated(one[:-1], one[1:]) + uncorrelated(one, other))


@pytest.mark.parametrize("chunk", [1, 3_000])
def test_chunks_cover_every_prompt(chunk, monkeypatch):
    """Kernels drawn by chunks: other numbers, the same law, nothing left out."""
    monkeypatch.setattr(device_sampling, "_CHUNK_NUMBERS", chunk)
    task = MarkovTask(length=3, context=4, prior=fixed_kernel([[0, 1], [1, 0]]))
    grams = sample_grams_on(task, 101, torch.Generator().manual_seed(0), torch.float64)
    assert torch.equal(grams.gram[:, 0, 0], 1 - grams.gram[:, 1, 1])
    assert torch.equal(grams.query[:, 0], grams.target)
    assert 20 < grams.target.sum() < 80


def test_impossible_transitions_never_happen():
    thirds = MarkovTask(states=4, length=40, prior=fixed_kernel([["1/3", 0, "2/3", 0]] * 4), context=100)
    columns = sample_columns_on(thirds, 200, torch.Generator().manual_seed(0), torch.float64)
    assert set(np.unique(states_of(thirds, columns)[:, :, 1:])) == {0, 2}


def test_stationary_laws_are_those_of_numpy():
    kernels = np.random.default_rng(0).dirichlet([0.05] * 3, (500, 9)).clip(1e-300)
    np.testing.assert_allclose(
        device_sampling._stationary(torch.tensor(kernels).log()).numpy(), stationary(kernels), 1e-12
    )


def test_regression_follows_the_law():
    task = RegressionTask(2, 40, ((F(2), F(1, 2)), (F(1, 2), F(1))))
    columns = sample_columns_on(task, 5_000, torch.Generator().manual_seed(5), torch.float64)
    x, y = columns.context[..., :2].numpy(), columns.context[..., 2].numpy()
    white = x @ np.linalg.inv(np.linalg.cholesky([[2, 0.5], [0.5, 1]])).T
    weight = np.linalg.solve(x.transpose(0, 2, 1) @ x, (x.transpose(0, 2, 1) @ y[..., None]))[..., 0]
    np.testing.assert_allclose((columns.query * torch.tensor(weight)).sum(1), columns.target, atol=1e-9)
    pairs = (white[..., 0].reshape(-1), white[..., 1].reshape(-1)), (weight[:, 0], weight[:, 1])
    check_p_values(
        [stats.kstest(side, "norm").pvalue for pair in pairs for side in pair]
        + [stats.pearsonr(*pair).pvalue for pair in pairs]
    )


def test_counts_below_one_are_refused():
    for call in (sample_columns_on, sample_grams_on):
        for count in (0, -3):
            with pytest.raises(ValueError, match="at least 1 prompt"):
                call(MarkovTask(), count, torch.Generator())
