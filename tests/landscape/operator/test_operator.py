"""The operator against the matrix, the fast products against the transfer matrices, the solution against Cholesky."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from markov_icl.landscape.minimizer import minimizer
from markov_icl.landscape.operator.conjugate_gradients import conjugate_gradients
from markov_icl.landscape.operator.fourth import BinaryFourth, TransferFourth
from markov_icl.landscape.operator.iterative import least_gigabytes, require_gigabytes
from markov_icl.landscape.operator.joint_diagonal import joint_diagonal
from markov_icl.landscape.operator.operator import ChainOperator, chain_operator
from markov_icl.landscape.operator.preconditioner import block_preconditioner, wanted_groups
from markov_icl.landscape.operator.torch_fourth import DeviceProduct
from markov_icl.landscape.slices import coordinate_slices, plane_slice, spectrum
from markov_icl.moments.compute import compute_moments
from markov_icl.moments.long_nodes import is_binary
from markov_icl.recovery.factor import recover
from markov_icl.tasks.kernels import beta_prior, fixed_kernel, symmetric_dirichlet
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask, StationaryStart
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, bernoulli
from tests.contracts import check_operator

BINARY = [name for name, task in POLYNOMIAL.items() if is_binary(task)]
LONGER = {
    "uniform": MarkovTask(length=7, context=100),
    "skew": MarkovTask(length=6, context=7, prior=beta_prior(("1/2", 2, 3, "5/2")), initial=bernoulli("1/5")),
    "correlated": MarkovTask(length=5, context=5, initial=CorrelatedStart("3/10", ("9/100", "49/100"))),
    "order-2": MarkovTask(order=2, length=5, context=3),
    "order-2-bias": MarkovTask(order=2, length=4, context=3, bias=True),
    "three-states": MarkovTask(states=3, length=3, context=4, values=(0, 1, "5/2")),
}


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_operator_is_the_matrix(name):
    check_operator(chain_operator(POLYNOMIAL[name]), compute_moments(POLYNOMIAL[name]))


@pytest.mark.parametrize("name", LONGER)
def test_operator_is_the_matrix_on_longer_chains(name):
    check_operator(chain_operator(LONGER[name]), compute_moments(LONGER[name]))


@pytest.mark.parametrize("length", [2, 3, 12, 41])
def test_scans_are_transfer_matrices(length):
    """More columns than one block of the compiled loops, and every kernel of a small rule."""
    task = MarkovTask(length=length, prior=beta_prior((1, 2, "3/2", 1)), initial=bernoulli("3/10"))
    average = chain_operator(task).average
    fast, slow = BinaryFourth.of(average, task.dimension), TransferFourth.of(average, task)
    rng = np.random.default_rng(0)
    for node in rng.integers(0, average.size, 3):
        V = rng.normal(size=(average.mu.shape[1], 37))
        results = [np.zeros_like(V), np.zeros_like(V)]
        for fourth, Y in zip((fast, slow), results, strict=True):
            fourth.add(int(node), V, Y)
        np.testing.assert_allclose(results[0], results[1], atol=1e-12 * np.abs(results[1]).max())
    weights = rng.random((average.size, 2))
    for one, other in zip(fast.averages(weights), slow.averages(weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12 * np.abs(other).max())


def test_result_does_not_depend_on_the_number_of_threads():
    task = MarkovTask(length=12, context=9)
    X = np.random.default_rng(0).normal(size=chain_operator(task).size)
    one, two, five = (chain_operator(task, threads=threads).apply(X) for threads in (1, 2, 5))
    assert (one == two).all()
    assert (one == five).all()


def test_joint_diagonal_of_commuting_matrices_is_exact():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    values = rng.random((9, 6)) + 0.1
    matrices, weights = np.einsum("ij,kj,lj->kil", Q, values, Q), np.full(9, 1 / 9)
    W, diagonals = joint_diagonal(matrices, weights)
    np.testing.assert_allclose(W.T @ matrices.mean(0) @ W, np.eye(6), atol=1e-12)
    turned = np.einsum("jp,kjl,lq->kpq", W, matrices, W)
    assert np.abs(turned - diagonals[:, :, None] * np.eye(6)).max() < 1e-4


def test_preconditioner_is_symmetric_and_close_to_the_inverse():
    task = MarkovTask(length=9, context=100)
    operator = chain_operator(task)
    H = compute_moments(task).H
    for groups in (1, 3, 8):
        M = block_preconditioner(operator, groups)
        inverse = np.stack([M.solve(e) for e in np.eye(operator.size)], axis=1)
        np.testing.assert_allclose(inverse, inverse.T, atol=1e-9 * np.abs(inverse).max())
        values = np.linalg.eigvals(inverse @ H).real
        assert values.min() > 0
        assert values.max() / values.min() < {1: 40, 3: 12, 8: 6}[groups]


def test_ritz_values_bound_the_spectrum_and_the_loss():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    H = (Q * np.geomspace(1e-3, 1, 40)) @ Q.T
    h = rng.normal(size=40)
    found = conjugate_gradients(lambda X: H @ X, lambda R: R, h, 1e-8)
    assert found.relative <= 1e-8
    np.testing.assert_allclose(found.residual, h - H @ found.X, atol=1e-12)
    np.testing.assert_allclose(found.ritz, (1e-3, 1), rtol=1e-3)
    error = found.residual @ np.linalg.solve(H, found.residual)
    assert error <= 1.01 * found.energy / found.ritz[0]


SMALL = [(10, 1, "1/2", 1), (10, 100, "1/10", "1/2"), (10, 10**4, "1/2", "1/2"), (10, 10**4, "1/10", 5)]
ALL = list(product((10, 20), (1, 100, 10**4), ("1/2", "1/10"), (1, "1/2", 5)))


def check_against_cholesky(d, n, p, a):
    task = MarkovTask(length=d + 1, context=n, prior=beta_prior([a] * 4), initial=bernoulli(p))
    dense, form = minimizer(task, "dense"), minimizer(task, "operator")
    assert abs(form.loss - dense.loss) < 1e-10 * dense.loss
    assert np.abs(form.X - dense.X).max() < 1e-7 * np.abs(dense.X).max()
    assert form.residual < 1e-9
    assert form.unique
    assert form.loss_error < 1e-14


@pytest.mark.parametrize(("d", "n", "p", "a"), SMALL)
def test_conjugate_gradients_are_cholesky(d, n, p, a):
    check_against_cholesky(d, n, p, a)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "n", "p", "a"), ALL)
def test_conjugate_gradients_are_cholesky_in_all_cases(d, n, p, a):
    check_against_cholesky(d, n, p, a)


@pytest.mark.parametrize("name", ["correlated", "order-2", "three-states"])
def test_other_chains_are_solved_too(name):
    dense, form = minimizer(LONGER[name], "dense"), minimizer(LONGER[name], "operator")
    assert abs(form.loss - dense.loss) < 1e-12
    np.testing.assert_allclose(form.X, dense.X, atol=1e-7 * np.abs(dense.X).max())


def test_length_33_has_its_value_and_everything_downstream():
    task = MarkovTask(length=33, context=100)
    told = []
    form = minimizer(task, progress=lambda share, words: told.append((share, words)))
    assert form.method == "operator"
    assert abs(form.loss - 0.1642854603) < 1e-10
    assert form.residual < 1e-9
    assert told[-1][0] == 1
    steps = [words for _, words in told if words.startswith("iteration")]
    assert [words.split(",")[0] for words in steps] == [f"iteration {i}" for i in range(1, len(steps) + 1)]
    assert len(steps) < 30
    assert not recover(form.X).recoverable
    slices = coordinate_slices(form, [0, 40], points=3)
    assert (slices.losses[:, [0, 2]] > form.loss).all()
    u = np.eye(form.moments.size)[:2]
    plane = plane_slice(form, u[0], u[1], np.array([0.0, 0.5]), np.array([0.0]))
    np.testing.assert_allclose(plane.losses[1, 0], form.moments.loss(form.X + 0.5 * u[0]), rtol=1e-10)
    with pytest.raises(ValueError, match="with its matrix"):
        spectrum(form)


@pytest.mark.parametrize(
    ("n", "p", "a"),
    [(1, "1/2", 50), (10**6, "1/2", 1), (10**6, "999/1000", 50), (100, "1/1000", 1), (10**6, "1/1000", "1/10")],
)
def test_extreme_tasks_converge(n, p, a):
    form = minimizer(MarkovTask(length=17, context=n, prior=beta_prior([a] * 4), initial=bernoulli(p)), "operator")
    assert form.residual < 1e-9
    assert "not converged" not in form.error
    assert form.loss_error < 1e-12


@pytest.mark.parametrize(
    "task",
    [
        MarkovTask(length=4, context=10, values=(-1, 1)),  # nullity d^2; theory, section 3
        MarkovTask(length=4, context=10, bias=True),
        MarkovTask(length=12, context=10, initial=bernoulli(0)),
        MarkovTask(length=12, context=10, initial=bernoulli(1)),
        MarkovTask(length=8, initial=CorrelatedStart("1/2", (0, 0))),
        MarkovTask(length=8, prior=fixed_kernel([[1, 0], [0, 1]])),
    ],
    ids=["signed-values", "bias", "from-0", "from-1", "context-from-0", "constant-chains"],
)
def test_singular_matrices_are_said_to_be_and_solved_all_the_same(task):
    form, dense = minimizer(task, "operator"), minimizer(task, "dense")
    assert not dense.unique
    assert abs(form.loss - dense.loss) < 1e-12
    assert form.residual < 1e-9
    assert not form.unique
    assert form.condition == np.inf
    assert "singular" in form.error


def test_stationary_starts_are_exact_by_the_operator():
    """The dense rule halves its error with every doubling of its nodes, about ``N^-4``; this one has none."""
    task = NOT_POLYNOMIAL["stationary"]
    form, dense = minimizer(task, "operator"), minimizer(task, "dense")
    assert form.moments.method == "spectral"
    assert abs(form.loss - dense.loss) < 20 * dense.loss_error
    assert isinstance(task.initial, StationaryStart)


def test_sampled_kernels_carry_a_standard_error_that_covers_the_exact_loss():
    task = MarkovTask(states=3, length=5, context=6, prior=symmetric_dirichlet(3, 1, "3/4"))
    exact = minimizer(task, "dense")
    assert exact.loss_error is None
    errors = []
    for seed in range(3):
        form = minimizer(task, "operator", points=64, seed=seed)
        assert form.moments.method == "sampled"
        errors.append((form.loss - exact.loss) / form.loss_error)
    # A minimum over sampled moments is biased down by about as much as its own spread; 5 sigma covers both.
    assert np.abs(errors).max() < 8


def test_node_losses_average_to_the_loss():
    operator = chain_operator(LONGER["correlated"])
    X = np.random.default_rng(0).normal(size=operator.size)
    np.testing.assert_allclose(operator.average.weights @ operator.node_losses(X), operator.loss(X), rtol=1e-12)


def test_memory_is_honoured_and_refused_with_its_size():
    task = MarkovTask(length=65, context=100)
    assert least_gigabytes(task) < 0.7
    assert require_gigabytes(task, 8.0) == wanted_groups(64)
    assert 1 <= require_gigabytes(task, 0.7) < wanted_groups(64)
    with pytest.raises(ValueError, match=r"within 0\.1 GB; got .* 137,280 unknowns, which needs about 0\.\d+ GB"):
        minimizer(task, "operator", memory=0.1)
    with pytest.raises(ValueError, match="which needs about"):
        minimizer(MarkovTask(length=5000))


def test_the_operator_is_a_scipy_operator_and_has_no_regression():
    from scipy.sparse.linalg import aslinearoperator, cg

    operator = chain_operator(MarkovTask(length=5, context=3))
    linear = aslinearoperator(operator.linear_operator())
    X, failed = cg(linear, operator.h, rtol=1e-12, maxiter=5000)
    assert not failed
    np.testing.assert_allclose(operator.gradient(X), 0, atol=1e-10)
    with pytest.raises(ValueError, match="Markov task"):
        minimizer(RegressionTask(3, 10), "operator")


def test_groups_share_blocks_without_changing_the_solution():
    task = MarkovTask(length=9, context=100)
    operator = chain_operator(task)
    assert isinstance(operator, ChainOperator)
    few, many = (block_preconditioner(operator, groups) for groups in (2, 8))
    assert sorted(np.concatenate(few.groups)) == list(range(8))
    solved = [conjugate_gradients(operator.apply, M.solve, operator.h, 1e-12) for M in (few, many)]
    np.testing.assert_allclose(solved[0].X, solved[1].X, atol=1e-8)
    assert solved[1].iterations < solved[0].iterations


def test_transfer_matrices_serve_the_whole_operator():
    task = MarkovTask(length=8, context=9)
    operator = chain_operator(task)
    slow = replace(operator, fourth=TransferFourth.of(operator.average, task))
    X = np.random.default_rng(0).normal(size=operator.size)
    np.testing.assert_allclose(operator.apply(X), slow.apply(X), atol=1e-12)


@pytest.mark.parametrize(
    "task",
    [
        MarkovTask(length=2, context=1),
        MarkovTask(length=9, context=7, prior=beta_prior((1, 2, 3, "1/2")), initial=bernoulli("1/5")),
        POLYNOMIAL["correlated"],
        POLYNOMIAL["nearly-absorbing"],
    ],
    ids=["shortest", "skew", "correlated", "nearly-absorbing"],
)
def test_device_product_is_the_operator(task):
    """The code that runs on a GPU, on the processor."""
    operator = chain_operator(task)
    device = DeviceProduct.of(operator.average, operator.fourth, task.context, "cpu")
    X = np.random.default_rng(0).normal(size=operator.size)
    wanted = operator.apply(X)
    np.testing.assert_allclose(device.apply(X), wanted, atol=1e-13 * np.abs(wanted).max())
    solved = minimizer(task, "operator")
    remote = replace(operator, remote=device)
    np.testing.assert_allclose(remote.apply(solved.X), operator.apply(solved.X), atol=1e-14)


def test_devices_that_are_not_there_are_refused():
    import torch

    with pytest.raises(ValueError, match="expected device cpu or cuda; got 'tpu'"):
        minimizer(MarkovTask(length=20), "operator", device="tpu")
    with pytest.raises(ValueError, match="unless method is operator"):
        minimizer(MarkovTask(length=3), "dense", device="cuda")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="expected a CUDA device"):
            minimizer(MarkovTask(length=20), "operator", device="cuda")


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a CUDA device")
def test_cuda_is_the_processor():
    task = MarkovTask(length=33, context=100)
    here, there = minimizer(task, "operator"), minimizer(task, "operator", device="cuda")
    assert abs(here.loss - there.loss) < 1e-10 * here.loss
    np.testing.assert_allclose(there.X, here.X, atol=1e-8 * np.abs(here.X).max())
