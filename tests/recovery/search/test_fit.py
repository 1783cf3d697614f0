"""Best realizable loss by local search: derivatives, known values, minima, invariances."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.features import phi, vech_size
from markov_icl.moments.compute import compute_moments
from markov_icl.moments.system import Moments
from markov_icl.recovery.search.fit import Fit, best, realize
from markov_icl.recovery.search.projection import forms, frame, project
from markov_icl.recovery.search.trust_region import Signature, minimize_from, trust_step
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, independent_start


def binary(d: int, n: int, p: str = "1/2", **options: object) -> Moments:
    start = independent_start([1 - Fraction(p), Fraction(p)], 2, 1)
    return compute_moments(MarkovTask(length=d + 1, context=n, initial=start, **options))


def random_moments(J: int, D: int, rank: int | None, seed: int) -> Moments:
    """A random loss with ``h`` in the range of ``H``; singular where ``rank`` is given."""
    rng = np.random.default_rng(seed)
    N = J * vech_size(D)
    R = rng.standard_normal((N if rank is None else rank, N))
    H = R.T @ R / N
    H = (H + H.T) / 2
    X = rng.standard_normal(N)
    return Moments(H, H @ X, float(X @ H @ X) + 0.3, J, D, "random")


def regression(d: int, n: int) -> Moments:
    """Isserlis, entry by entry, for ``x, w ~ N(0, I)``, ``y = w.x``: the loss of the regression task."""
    D = d + 1
    rows, columns = np.triu_indices(D)
    eye, m = np.eye(d), vech_size(D)
    H, h = np.zeros((d, m, d, m)), np.zeros((d, m))
    # Averages over w are of degree 4 in each entry: three Gauss-Hermite nodes are exact.
    x, weight = np.polynomial.hermite_e.hermegauss(3)
    weight = weight / weight.sum()
    grid = np.stack(np.meshgrid(*[x] * d, indexing="ij"), -1).reshape(-1, d)
    masses = np.prod(np.stack(np.meshgrid(*[weight] * d, indexing="ij"), -1).reshape(-1, d), axis=1)
    for w, mass in zip(grid, masses, strict=True):
        C = np.block([[eye, w[:, None]], [w[None, :], np.array([[w @ w]])]])
        mu = C[rows, columns]
        T = C[np.ix_(rows, rows)] * C[np.ix_(columns, columns)] + C[np.ix_(rows, columns)] * C[np.ix_(columns, rows)]
        G = T / n + np.outer(mu, mu)  # Isserlis: T4 = mu mu^T + T
        for j in range(d):
            H[j, :, j] += mass * G
            h[j] += mass * w[j] * mu
    N = d * m
    H = H.reshape(N, N)
    return Moments((H + H.T) / 2, h.reshape(-1), float(d), d, D, "regression")


LOSSES = [
    (1, 100, 0.3364292773),
    (2, 100, 0.2347244554),
    (3, 100, 0.2099710363),
    (4, 100, 0.1990923572),
    (5, 100, 0.1917262404),
    (6, 100, 0.1873013855),
    (8, 100, 0.1813237969),
    (2, 10, 0.2546047767),
    (3, 10, 0.2322094974),
    (4, 10, 0.2201852550),
    (1, 1, 0.4111289240),
    (2, 1, 0.3406091582),
    (3, 1, 0.3154052679),
]


@pytest.mark.parametrize(("d", "n", "loss"), LOSSES)
def test_known_losses(d: int, n: int, loss: float) -> None:
    fit = best(binary(d, n), starts=32)
    assert fit.loss == pytest.approx(loss, abs=1.2e-10)
    assert (fit.saddles, fit.unconverged) == (0, 0)
    for one in fit.minima:
        assert one.relative_gradient <= 1e-12
        assert one.signature == Signature(0, 0, d + (d + 1) * d)


def test_length_ten_and_the_cases_where_the_first_level_is_loose() -> None:
    assert best(binary(10, 100), starts=24).loss == pytest.approx(0.1774694138, abs=1e-10)
    assert best(binary(2, 50, "99/100")).loss == pytest.approx(0.1777923, abs=1e-7)
    assert best(binary(3, 50, "99/100")).loss == pytest.approx(0.169427, abs=1e-6)


@pytest.mark.parametrize(("n", "good", "bad"), [(10, 0.2546047767, 0.2551127991), (100, 0.2347244554, 0.2353437333)])
def test_both_minima_of_length_three_are_found(n: int, good: float, bad: float) -> None:
    fit = best(binary(2, n), starts=60, informed=False)
    assert [one.loss for one in fit.minima] == pytest.approx([good, bad], abs=1e-9)
    counts = [one.random_starts for one in fit.minima]
    assert sum(counts) == 60
    assert min(counts) >= 10
    assert fit.loss == fit.minima[0].loss


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_derivatives_agree_with_finite_differences(heads: int) -> None:
    quadratic, E = binary(3, 10), forms(4)
    V = frame(np.random.default_rng(heads).standard_normal((4, heads)))
    point = project(quadratic, E, V, heads)

    def loss(theta: np.ndarray) -> float:
        moved = V[:, :heads] + V[:, heads:] @ theta.reshape(4 - heads, heads)
        return project(quadratic, E, frame(moved), heads).loss

    steps = 1e-4 * np.eye(point.gradient.size)
    gradient = [(loss(s) - loss(-s)) / 2e-4 for s in steps]
    hessian = [[(loss(s + t) - loss(s - t) - loss(t - s) + loss(-s - t)) / 4e-8 for s in steps] for t in steps]
    assert np.allclose(point.gradient, gradient, rtol=1e-6, atol=1e-7)
    assert np.allclose(point.hessian, hessian, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    J=st.integers(1, 3),
    D=st.integers(2, 4),
    heads=st.integers(1, 4),
    singular=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_projection_equals_dense_least_squares(J: int, D: int, heads: int, singular: bool, seed: int) -> None:
    """The definition: minimize ``f~(sum_s phi(b_s, A_s))`` over every entry of ``A`` by ``lstsq``."""
    heads = min(heads, D)
    system = random_moments(J, D, 4 if singular else None, seed)
    B = np.random.default_rng(seed + 1).standard_normal((heads, D))
    columns = []
    for s in range(heads):
        for k in range(D):
            for j in range(J):
                A = np.zeros((D, J))
                A[k, j] = 1
                columns.append(phi(B[s], A))
    values, vectors = np.linalg.eigh(system.H)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    target = np.linalg.lstsq(root.T, system.h, rcond=1e-10)[0]
    L = np.array(columns).T
    coefficients = np.linalg.lstsq(root @ L, target, rcond=1e-10)[0]
    V = frame(B.T)
    point = project(system, forms(D), V, heads)
    assert point.loss == pytest.approx(system.loss(L @ coefficients), abs=1e-8 * system.y2)
    realized = realize(V[:, :heads].T, point.A)
    assert np.allclose(realized, point.X, atol=1e-9 * (1 + np.abs(point.X).max()))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), J=st.integers(1, 3), D=st.integers(2, 4))
def test_no_feasible_point_nearby_is_better(seed: int, J: int, D: int) -> None:
    system = random_moments(J, D, None, seed)
    fit = best(system, starts=6, seed=seed)
    assert fit.loss == pytest.approx(system.loss(phi(fit.b[0], fit.A[0])), rel=1e-9, abs=1e-9)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        db, dA = 0.05 * rng.standard_normal(D), 0.05 * rng.standard_normal((D, J))
        assert system.loss(phi(fit.b[0] + db, fit.A[0] + dA)) >= fit.loss - 1e-10 * system.y2
    assert system.loss(phi(2 * fit.b[0], fit.A[0] / 2)) == pytest.approx(fit.loss, rel=1e-9, abs=1e-9)


def test_alternating_least_squares_comes_down_to_the_same_minima() -> None:
    """A literal alternation over ``A`` and ``b``, as the paper's problem suggests, ends at a listed minimum."""
    system = binary(2, 10)
    fit = best(system)
    losses = np.array([one.loss for one in fit.minima])
    R = np.linalg.cholesky(system.H).T
    c = np.linalg.solve(R.T, system.h)
    rng = np.random.default_rng(3)
    for _ in range(6):
        b = rng.standard_normal(3)
        for _ in range(4000):
            in_A = np.array([phi(b, one.reshape(3, 2)) for one in np.eye(6)]).T
            A = np.linalg.lstsq(R @ in_A, c)[0].reshape(3, 2)
            in_b = np.array([phi(one, A) for one in np.eye(3)]).T
            new = np.linalg.lstsq(R @ in_b, c)[0]
            moved = np.linalg.norm(new / np.linalg.norm(new) - b / np.linalg.norm(b))
            b = new
            if moved < 1e-10:
                break
        assert np.abs(system.loss(phi(b, A)) - losses).min() < 1e-9


def test_loss_does_not_depend_on_the_units_of_a_prompt() -> None:
    """Rescaling coordinates maps products to products: ``z -> S z``, ``b -> S b``, ``A -> S A``."""
    system = binary(2, 100)
    scale = np.array([3.0, 0.5, 2.0])
    factors = np.tile((scale[:, None] * scale)[np.triu_indices(3)], 2)
    scaled = Moments(system.H * np.outer(factors, factors), system.h * factors, system.y2, 2, 3, system.method)
    assert best(scaled).loss == pytest.approx(best(system).loss, rel=1e-12)
    larger = Moments(system.H, 1e6 * system.h, 1e12 * system.y2, 2, 3, system.method)
    assert [one.loss for one in best(larger).minima] == pytest.approx(
        [1e12 * one.loss for one in best(system).minima], rel=1e-11
    )


@pytest.mark.parametrize(("d", "n"), [(1, 3), (2, 10), (3, 5), (4, 20)])
def test_regression_reaches_its_closed_form(d: int, n: int) -> None:
    fit = best(regression(d, n), starts=8)
    assert fit.loss == pytest.approx(d * (d + 1) / (n + d + 1), abs=1e-13 * d)
    assert fit.b[0] == pytest.approx(np.eye(d + 1)[d], abs=1e-7)
    assert fit.A[0] == pytest.approx(np.eye(d + 1, d) * n / (n + d + 1), abs=1e-7)
    if d <= 2:
        task = compute_moments(RegressionTask(dim=d, context=n))
        assert np.allclose(task.H, regression(d, n).H, atol=1e-12)


def test_singular_moments() -> None:
    """``p = 1``: the loss has flat directions, and one head reaches ``f~*`` at length 3."""
    fit = best(binary(2, 100, "1"), starts=24)
    assert fit.loss == pytest.approx(0.1730895162, abs=1e-9)
    biased = best(binary(2, 10, bias=True), starts=24)
    assert biased.loss == pytest.approx(0.1833394889, abs=1e-9)
    zero = best(Moments(np.zeros((12, 12)), np.zeros(12), 1.0, 2, 3, "random"), starts=2)
    assert zero.loss == 1.0
    assert not zero.X.any()


@pytest.mark.parametrize("seed", range(6))
def test_interpolation_is_one_continuum_of_minima(seed: int) -> None:
    """With few rows the loss is as low as any ``X`` gets everywhere: flat, and no saddle in its rounding."""
    fit = best(random_moments(2, 4, 3, seed), starts=12)
    assert fit.loss == pytest.approx(0.3, abs=1e-12)
    assert (fit.saddles, fit.unconverged, len(fit.minima)) == (0, 0, 1)
    assert fit.minima[0].signature.zero > 0


def test_more_blocks_than_the_plain_task() -> None:
    fit = best(random_moments(5, 3, None, 0), starts=16)
    assert fit.A.shape == (1, 3, 5)
    assert fit.b.shape == (1, 3)
    assert fit.minima[0].signature.negative == 0


def test_search_is_seeded_and_reports_progress() -> None:
    seen: list[tuple[float | None, str]] = []
    system = binary(3, 10)
    fit = best(system, starts=5, seed=7, progress=lambda *told: seen.append(told))
    again = best(system, starts=5, seed=7)
    assert np.array_equal(fit.X, again.X)
    count = fit.informed_starts + 5
    assert [share for share, _ in seen] == [done / count for done in range(1, count + 1)]
    assert seen[-1][1] == f"start {count} of {count}, loss {fit.loss:.10g}"


def test_given_start_is_used() -> None:
    system = binary(2, 10)
    bad = best(system).minima[1]
    fit = best(system, starts=0, informed=False, initial=[bad.b])
    assert fit.loss == pytest.approx(bad.loss, abs=1e-14)
    assert (fit.random_starts, fit.informed_starts) == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "expected 1 <= heads <= 3; got 0"),
        ({"heads": 4}, "expected 1 <= heads <= 3; got 4"),
        ({"starts": -1}, "expected starts >= 0; got -1"),
        ({"starts": 0, "informed": False}, "expected starts >= 1"),
        ({"initial": [np.zeros((1, 3))]}, "expected 1 independent rows of length 3"),
        ({"initial": [np.ones((2, 3))]}, "expected 1 independent rows of length 3"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best(binary(2, 10), **options)


def test_missing_moments_are_refused() -> None:
    system = binary(2, 10)
    with pytest.raises(ValueError, match="expected finite moments"):
        best(Moments(system.H, np.full(12, np.nan), 1.0, 2, 3, "random"))


def test_a_saddle_is_left() -> None:
    """Between two minima of the loss on lines through them a start on the ridge still ends at a minimum."""
    quadratic, E = regression(2, 10), forms(3)
    start = np.array([[1.0], [0.0], [0.0]])
    end = minimize_from(quadratic, E, start)
    assert end.status == "minimum"
    assert end.signature.negative == 0


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 6), seed=st.integers(0, 2**20), radius=st.floats(1e-3, 10), hard=st.booleans())
def test_trust_region_step_is_the_global_one(size: int, seed: int, radius: float, hard: bool) -> None:
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((size, size))
    B = B + B.T
    values, vectors = np.linalg.eigh(B)
    g = rng.standard_normal(size)
    if hard:
        g -= vectors[:, 0] * (vectors[:, 0] @ g)
    step = trust_step(values, vectors, g, radius)
    assert np.linalg.norm(step) <= radius * (1 + 1e-6)
    model = g @ step + step @ B @ step / 2
    others = rng.standard_normal((500, size))
    others *= radius * rng.uniform(0, 1, (500, 1)) ** (1 / size) / np.linalg.norm(others, axis=1, keepdims=True)
    assert model <= (others @ g + np.einsum("ki,ij,kj->k", others, B, others) / 2).min() + 1e-6 * (1 + radius**2)


def test_fit_is_frozen() -> None:
    fit = best(binary(1, 3), starts=1)
    assert isinstance(fit, Fit)
    with pytest.raises(AttributeError):
        fit.loss = 0.0  # type: ignore[misc]
