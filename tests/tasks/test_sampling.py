import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction as F

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaincinv, betaln, expit

from markov_icl.tasks import counter, laws, sampling
from markov_icl.tasks.kernels import (
    beta_prior,
    fixed_kernel,
    log_stationary,
    sample_kernels,
    stationary,
    symmetric_dirichlet,
)
from markov_icl.tasks.literal import counter_word, literal_chains, plain_uniforms, sliced_uniforms, thresholds
from markov_icl.tasks.prompts import (
    CorrelatedStart,
    IndependentStart,
    MarkovTask,
    RegressionTask,
    StationaryStart,
    independent_start,
)
from markov_icl.tasks.sampling import columns, sample_chains, sample_grams, sample_prompts
from markov_icl.threads import worker_threads
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REGRESSION, bernoulli
from tests.tasks.chain_laws import (
    check_p_values,
    prior_p_values,
    residuals,
    start_p_values,
    transition_p_values,
    uncorrelated,
)

MARKOV = POLYNOMIAL | NOT_POLYNOMIAL
ALL = MARKOV | REGRESSION
TINY = "1/4096"  # rarer than the digits that are compared for all lanes at once
ODD = {
    **{f"{n} chains": MarkovTask(length=4, context=n) for n in (1, 20, 31, 32, 62, 63, 64, 65, 127, 128, 200)},
    **{f"order {k}": MarkovTask(order=k, length=k + 3, context=9) for k in (2, 3, 4, 5)},
    **{f"{s} states": MarkovTask(states=s, length=4, context=9) for s in (3, 4, 5)},
    "two words, order 2": MarkovTask(order=2, length=5, context=70, initial=StationaryStart()),
    "three states, order 3": MarkovTask(states=3, order=3, length=5, context=4),
    "three states, order 2, stationary": MarkovTask(states=3, order=2, length=4, context=9, initial=StationaryStart()),
    "huge": MarkovTask(states=300, length=3, context=3, values=range(-100, 200)),
    "constant": MarkovTask(length=5, context=70, prior=fixed_kernel([[1, 0], [0, 1]]), initial=bernoulli("1/3")),
    "alternating": MarkovTask(length=5, context=70, prior=fixed_kernel([[0, 1], [1, 0]])),
    "impossible starts": MarkovTask(
        order=3, length=5, context=70, initial=IndependentStart((0, 0, F(1, 3), 0, F(2, 3), 0, 0, 0))
    ),
    "rare": MarkovTask(
        length=4,
        context=70,
        prior=fixed_kernel([[1 - F(TINY), TINY], [TINY, 1 - F(TINY)]]),
        initial=bernoulli(TINY),
    ),
    "nearly deterministic": MarkovTask(length=6, context=9, prior=beta_prior(["1/50", "1/50", "1/50", "1/50"])),
    "correlated, two words": MarkovTask(length=3, context=64, initial=CorrelatedStart(F(1, 2), (0, 1))),
    "bias and odd values": MarkovTask(length=4, context=66, values=("7/3", -1), bias=True),
    "long": MarkovTask(length=60, context=5),
    "unequal rows": MarkovTask(length=4, context=9, prior=beta_prior(["1/2", 3, 40, 7])),
}
CASES = MARKOV | ODD
SLICED, PLAIN = MarkovTask(length=6, context=20), MarkovTask(states=3, length=6, context=20)


def few(task):
    return 3 if task.states > 100 else 200


@pytest.mark.parametrize("name", ALL)
def test_shapes_and_the_gram_matrix(name):
    task = ALL[name]
    drawn = sample_prompts(task, 7, seed=1)
    assert drawn.context.shape == (7, task.context, task.dimension)
    assert drawn.query.shape == (7, task.blocks)
    assert drawn.target.shape == (7,)
    literal = np.einsum("pni,pnj->pij", drawn.context, drawn.context) / task.context
    np.testing.assert_allclose(drawn.gram, literal)
    Z = drawn.matrix
    assert Z.shape == (7, task.dimension, task.context + 1)
    np.testing.assert_array_equal(Z[:, -1, -1], 0)
    np.testing.assert_array_equal(Z[:, :-1, -1], drawn.query)


def test_seeds():
    task = MarkovTask(length=4)
    first, again, other = (sample_prompts(task, 20, seed) for seed in (5, np.random.default_rng(5), 6))
    np.testing.assert_array_equal(first.context, again.context)
    assert (first.context != other.context).any()
    for call in (sample_prompts, sample_chains, sample_grams):
        with pytest.raises(ValueError, match="at least 1 prompt"):
            call(task, 0)
        with pytest.raises(ValueError, match="at least 1 thread"):
            call(task, 1, threads=0)
    with pytest.raises(ValueError, match="float32 or float64"):
        sample_grams(task, 1, dtype=np.int64)


@pytest.mark.parametrize("name", CASES)
def test_compiled_chains_are_the_literal_ones(name):
    task = CASES[name]
    states = sample_chains(task, few(task), seed=7)
    literal = literal_chains(task, few(task), seed=7)
    assert states.dtype == literal.dtype == (np.uint16 if task.states > 256 else np.uint8)
    np.testing.assert_array_equal(states, literal)
    drawn = sample_prompts(task, few(task), seed=7)
    np.testing.assert_array_equal(drawn.context_states, states[:, :-1])
    np.testing.assert_array_equal(drawn.query_states, states[:, -1])
    np.testing.assert_array_equal(drawn.context, columns(task, states)[:, :-1])


@pytest.mark.parametrize("name", ALL | ODD)
def test_gram_matrices_without_prompts_are_those_of_the_prompts(name):
    task = (ALL | ODD)[name]
    count = 50 if isinstance(task, RegressionTask) else few(task)
    drawn, fast = sample_prompts(task, count, seed=7), sample_grams(task, count, seed=7)
    largest = np.abs(drawn.gram).max()
    np.testing.assert_allclose(fast.gram, drawn.gram, rtol=1e-15, atol=1e-15 * largest)
    np.testing.assert_array_equal(fast.query, drawn.query)
    np.testing.assert_array_equal(fast.target, drawn.target)
    single = sample_grams(task, count, seed=7, dtype=np.float32)
    for wide, narrow in ((fast.gram, single.gram), (fast.query, single.query), (fast.target, single.target)):
        assert narrow.dtype == np.float32
        np.testing.assert_array_equal(wide.astype(np.float32), narrow)
    assert fast.gram.transpose(1, 2, 0).flags.c_contiguous


@pytest.mark.parametrize("name", ["uniform", "dirichlet", "finite-stationary", "correlated", "stationary-order-2"])
def test_batches_do_not_show(name, monkeypatch):
    monkeypatch.setattr(laws, "_BATCH_NUMBERS", 100)
    task = CASES[name]
    states = sample_chains(task, 333, seed=2)
    np.testing.assert_array_equal(states, literal_chains(task, 333, seed=2))
    np.testing.assert_allclose(sample_grams(task, 333, seed=2).gram, sample_prompts(task, 333, seed=2).gram, rtol=1e-15)
    assert len(np.unique(sample_prompts(SLICED, 333, seed=2).kernels)) == 4 * 333


@pytest.mark.parametrize("task", [SLICED, PLAIN, CASES["correlated"], CASES["stationary-order-2"]])
def test_threads_do_not_show(task, monkeypatch):
    monkeypatch.setattr(sampling, "_WORTH_A_THREAD", 1)
    states, grams = sample_chains(task, 1001, 3, threads=1), sample_grams(task, 1001, 3, threads=1)
    for threads in (None, 2, 3, 16):
        np.testing.assert_array_equal(sample_chains(task, 1001, 3, threads=threads), states)
        np.testing.assert_array_equal(sample_grams(task, 1001, 3, threads=threads).gram, grams.gram)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert worker_threads() == 1
    np.testing.assert_array_equal(sample_chains(task, 1001, 3), states)
    with ThreadPoolExecutor(3) as pool:  # several samplers at once, each with threads of its own
        for result in pool.map(lambda _: sample_chains(task, 1001, 3, threads=2), range(6)):
            np.testing.assert_array_equal(result, states)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_threads_survive_a_fork(monkeypatch):
    monkeypatch.setattr(sampling, "_WORTH_A_THREAD", 1)
    expected = sample_chains(SLICED, 1001, 3, threads=2)
    child = os.fork()
    if child == 0:
        same = np.array_equal(sample_chains(SLICED, 1001, 3, threads=2), expected)
        os._exit(0 if same else 1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it does not have")
    assert status == 0


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(sampling, "_WORTH_A_THREAD", 1)

    def fail(lo, hi):
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        sampling._share(fail, SLICED, 1000, 2)


def test_small_draws_do_without_numba(monkeypatch):
    task = MarkovTask(length=4)
    compiled = sample_prompts(task, 9, seed=4)
    monkeypatch.delitem(sys.modules, counter.__name__)
    plain = sample_prompts(task, 9, seed=4)
    assert counter.__name__ not in sys.modules
    np.testing.assert_array_equal(plain.context, compiled.context)
    np.testing.assert_array_equal(plain.kernels, compiled.kernels)


def test_random_words_are_splitmix64():
    """Seed 1234567: the first outputs of Vigna's splitmix64.c, whose state moves on before each."""
    key = np.uint64(1234567)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert counter_word(key, np.arange(1, 6, dtype=np.uint64)).tolist() == expected


@pytest.mark.parametrize("stride", [1, 64, 6 * 64, 126])
def test_bits_of_neighbouring_counters_and_keys_are_independent(stride):
    count = 1 << 16
    numbers = np.arange(count, dtype=np.uint64) * np.uint64(stride)

    def signs(key):
        bits = np.unpackbits(counter_word(np.uint64(key), numbers).view(np.uint8)).reshape(-1, 64)
        return 2 * bits.astype(np.float32) - 1

    one, next_key = signs(2025), signs(2026)
    found = [2 * stats.norm.sf(np.abs(one.sum(0)) / np.sqrt(count))]
    found += [2 * stats.norm.sf(np.abs(a.T @ b).reshape(-1) / np.sqrt(count)) for a, b in ((one, next_key),)]
    found += [2 * stats.norm.sf(np.abs(one[:-1].T @ one[1:]).reshape(-1) / np.sqrt(count - 1))]
    found += [2 * stats.norm.sf(np.abs((one.T @ one)[np.triu_indices(64, 1)]) / np.sqrt(count))]
    check_p_values(np.concatenate(found).tolist())


@pytest.mark.parametrize("chains", [2, 21, 64, 65])
def test_uniforms_are_uniform(chains):
    prompts = np.arange(40_000 // chains, dtype=np.uint64)
    found = []
    for make in (sliced_uniforms, plain_uniforms):
        u = make(np.uint64(99), prompts, 3, chains, 6) / 2.0**53
        found.append(stats.kstest(u.reshape(-1), "uniform").pvalue)
        found.append(stats.kstest((u * 2.0**20 % 1).reshape(-1), "uniform").pvalue)
    check_p_values(found)


def test_thresholds_compare_as_real_numbers():
    p = np.array([0.0, 5e-324, 2.0**-53, 1 / 3, 0.5, np.nextafter(0.5, 1), np.nextafter(1, 0), 1.0])
    for exact, limit in zip(p, thresholds(p).tolist(), strict=True):
        below = limit - 1
        assert limit >= 2**53 or F(limit, 2**53) >= F(exact)
        assert below < 0 or F(below, 2**53) < F(exact)


@pytest.mark.parametrize("name", [name for name, task in CASES.items() if task.states < 100])
def test_chains_follow_the_law(name):
    task = CASES[name]
    drawn = sample_prompts(task, 4_000, seed=11)
    states = np.concatenate([drawn.context_states, drawn.query_states[:, None]], axis=1)
    found = transition_p_values(task, states, drawn.kernels)
    found += start_p_values(task, states, drawn.kernels)
    check_p_values(found + prior_p_values(task, drawn.kernels))


@pytest.mark.parametrize("task", [SLICED, PLAIN, CASES["64 chains"], CASES["order 2"]])
def test_chains_times_prompts_and_seeds_are_independent(task):
    first, second = (sample_prompts(task, 4_000, seed) for seed in (1, 2))
    one, other = (residuals(task, drawn.context_states, drawn.kernels) for drawn in (first, second))
    found = uncorrelated(one[:, :-1], one[:, 1:])
    found += uncorrelated(one[:, :, :-1], one[:, :, 1:])
    found += uncorrelated(one[:-1], one[1:])
    found += uncorrelated(one, other)
    check_p_values(found)


def test_impossible_transitions_never_happen():
    cycle = MarkovTask(states=3, length=9, prior=fixed_kernel([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    states = sample_prompts(cycle, 500).context_states.astype(np.int64)
    np.testing.assert_array_equal(states[..., 1:], (states[..., :-1] + 1) % 3)
    thirds = MarkovTask(states=4, length=40, prior=fixed_kernel([["1/3", 0, "2/3", 0]] * 4), context=100)
    assert set(np.unique(sample_chains(thirds, 500)[:, :, 1:])) == {0, 2}


def test_correlated_starts_follow_the_query():
    task = MarkovTask(length=2, context=50, initial=CorrelatedStart(F(3, 10), (F(1, 10), F(9, 10))))
    drawn = sample_prompts(task, 20_000, seed=0)
    query, context = drawn.query_states[:, 0], drawn.context_states[:, :, 0]
    for value, expected in ((0, 0.1), (1, 0.9)):
        chosen = context[query == value]
        error = np.sqrt(expected * (1 - expected) / chosen.size)
        assert abs(chosen.mean() - expected) < 5 * error
    assert abs(query.mean() - 0.3) < 5 * np.sqrt(0.21 / 20_000)


def test_many_prompts_need_little_memory_beside_the_result():
    import tracemalloc

    task = MarkovTask(states=20, length=2, context=1, prior=symmetric_dirichlet(20, 1))
    tracemalloc.start()
    try:
        grams = sample_grams(task, 30_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    own = sum(part.nbytes for part in (grams.gram, grams.query, grams.target))
    assert peak < own + 20e6  # all kernels at once would take 96 MB


def test_independent_starts_given_over_tuples():
    task = MarkovTask(order=2, length=3, context=5, initial=independent_start([0, "1/2", "1/2", 0], 2, 2))
    states = sample_chains(task, 300)
    assert (states[:, :, 0] != states[:, :, 1]).all()


def log_of_beta(a, u):
    """``log p`` at quantiles ``u`` of ``Beta(a, a)``: by ``p^a / (a B(a, a)) = u`` where ``p`` underflows."""
    below = (np.log(u) + np.log(a) + betaln(a, a)) / a
    return np.where(below < -30, below, np.log(np.maximum(betaincinv(a, a, u), 1e-300)))


@pytest.mark.parametrize("alpha", ["1/20", "1/100", "1/1000", "1/1000000"])
def test_sparse_rows_are_drawn_without_bias_whatever_underflows(alpha):
    """The law of the stationary probability of 1, in five bins, against quantiles of the rows' logarithms."""
    task = MarkovTask(prior=symmetric_dirichlet(2, 1, alpha), initial=StationaryStart(), context=1)
    count, many = 40_000, 1_000_000
    starts = next(laws.draw_laws(task, count, np.random.default_rng(5))).starts
    assert np.isfinite(starts).all()
    assert abs(starts[:, 1].mean() - 0.5) < 5 * starts[:, 1].std() / np.sqrt(count)
    u, v = np.random.default_rng(6).random((2, many))
    pi = expit(log_of_beta(float(F(alpha)), u) - log_of_beta(float(F(alpha)), v))
    edges = [0, 1e-9, 0.1, 0.9, 1 - 1e-9, 1]
    seen, expected = np.histogram(starts[:, 1], edges)[0], np.histogram(pi, edges)[0] / many
    error = 5 * np.sqrt(expected * (1 - expected) * (1 / count + 1 / many)) + 2e-4
    assert (np.abs(seen / count - expected) < error).all()


def test_stationary_laws_from_logarithms_are_those_of_the_entries():
    for states, order in ((2, 1), (3, 1), (2, 3), (3, 2)):
        kernels = sample_kernels(symmetric_dirichlet(states, order), 50, np.random.default_rng(1))
        np.testing.assert_allclose(log_stationary(np.log(kernels)), stationary(kernels), rtol=1e-11)
    tiny = np.log([[[0.5, 0.5], [0.5, 0.5]]]) + np.array([[[0, -2000.0], [-2001.0, 0]]])
    np.testing.assert_allclose(log_stationary(tiny), [[1 / (1 + np.e), np.e / (1 + np.e)]], rtol=1e-12)
