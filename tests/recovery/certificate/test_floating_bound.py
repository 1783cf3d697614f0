"""Bounds from floats are below the exact worst case over all they allow for, and below fractions."""

from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.features import phi, vech_size
from markov_icl.moments.enclosure import Enclosure
from markov_icl.moments.problem import pose
from markov_icl.moments.system import Moments
from markov_icl.rationals import exact_array, fraction, rational_matrix
from markov_icl.recovery.certificate import floating_bound as module
from markov_icl.recovery.certificate.attained import attained, enlarged
from markov_icl.recovery.certificate.floating_bound import (
    floating_bound,
    gamma,
    minimum_bound,
    smallest_eigenvalue_bound,
)
from markov_icl.recovery.certificate.lift import antisymmetric, lift, pack, packed_shape, partial_transpose, unpack
from tests.recovery.certificate.examples import BIAS, KINDS, LOOSE, PLAIN, biased, plain, posed, tree


def scalar(y2: float, q: float, m: float, e: float, root: float, size: float) -> float:
    zero = np.zeros((1, 1))
    return minimum_bound(y2, np.array([q]), np.array([[m]]), zero, Enclosure(e, np.array([root]), size))


def worst(y2: float, q: float, m: float, e: float, root: float, size: float) -> F:
    """The least ``y2' - q'^2 / m'`` over all data within the enclosure, exactly."""
    y2, q, m, e, root, size = (F(v) for v in (y2, q, m, e, root, size))
    return y2 - e * size**2 - (abs(q) + e * root * size) ** 2 / (m - e * root**2)


@pytest.mark.parametrize("e", [2.0**-5, 2.0**-8, 2.0**-20])
@pytest.mark.parametrize(
    ("q", "root", "size"),
    [(0.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.5), (0.5, 1.0, 0.0), (0.5, 1.0, 1.0), (0.5, 0.0, 0.0)],
    ids=["y2 and q", "y2", "q", "M", "all", "none"],
)
def test_each_error_of_the_data_is_charged_and_not_much_more(e: float, q: float, root: float, size: float) -> None:
    for y2, m in ((1.0, 1.0), (0.75, 2.0), (3.0, 0.6)):
        bound, truth = scalar(y2, q, m, e, root, size), worst(y2, q, m, e, root, size)
        assert F(bound) <= truth
        slack = 4 * (e * (q / m * root + size)) ** 2 * (1 + 1 / m) + e * (e * size**2 + 2e-6 * (size + q) ** 2) + 1e-14
        assert float(truth) - bound <= slack + 4 * e**2 + 1e-5 * e


def test_data_that_may_be_indefinite_is_refused() -> None:
    assert scalar(1.0, 0.1, 1.0, 0.4, 1.0, 1.0) < 1
    for e in (1.0, 1.1, 7.0):
        with pytest.raises(ValueError, match="none that could be proved so"):
            scalar(1.0, 0.1, 1.0, e, 1.0, 1.0)
    with pytest.raises(ValueError, match="diagonal entry that is not positive"):
        scalar(1.0, 0.1, 0.0, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="diagonal entry that is not positive"):
        scalar(1.0, 0.1, np.nan, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="finite number"):
        scalar(np.nan, 0.1, 1.0, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="finite number"):
        scalar(1.0, 1e308, 1e-308, 0.0, 0.0, 0.0)


def test_quadratics_of_the_smallest_numbers_are_bounded_too() -> None:
    """Where products underflow, by the absolute amount that each can lose."""
    rng = np.random.default_rng(8)
    for _ in range(50):
        q, m, y2 = 2.0**-535 * rng.uniform(1, 2), rng.uniform(1, 2), 2.0**-1060
        assert F(scalar(y2, q, m, 0.0, 0.0, 0.0)) <= worst(y2, q, m, 0.0, 0.0, 0.0)


def test_errors_of_the_matrix_are_charged_in_every_entry() -> None:
    """``M = I``, one entry known to 1/100 only: the bound holds for both ends of it."""
    q = np.array([0.3, 0.4])
    for place in ((0, 0), (0, 1), (1, 1)):
        error = np.zeros((2, 2))
        error[place] = error[place[::-1]] = 0.01
        bound = minimum_bound(1.0, q, np.eye(2), error, Enclosure(0.0, np.zeros(2), 0.0))
        least = min(1.0 - q @ np.linalg.solve(np.eye(2) + sign * error, q) for sign in (-1, 1))
        assert least - 1e-3 < bound <= least
    with pytest.raises(ValueError, match="none that could be proved so"):
        minimum_bound(1.0, q, np.eye(2), np.eye(2), Enclosure(0.0, np.zeros(2), 0.0))


def exact_minimum(y2: float, q: np.ndarray, M: np.ndarray) -> F:
    matrix, right = rational_matrix(M.tolist()), rational_matrix([[v] for v in q.tolist()])
    return F(y2) - fraction((right.transpose() * matrix.solve(right))[0, 0])


def gram(rng: np.random.Generator, n: int, exponent: int) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((n + 3, n)) * 2.0 ** rng.integers(-exponent, exponent + 1, n)
    M = X.T @ X
    return (M + M.T) / 2, M @ rng.standard_normal(n) / np.abs(M).max()


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_no_rounding_lifts_a_bound_above_the_exact_minimum(n: int) -> None:
    rng = np.random.default_rng(n)
    nothing = Enclosure(0.0, np.zeros(n), 0.0)
    for _ in range(40):
        M, q = gram(rng, n, 6)
        q *= 100
        y2 = float(rng.uniform(0.5, 2)) * 1e-3 + float(q @ np.linalg.solve(M, q))
        bound, truth = minimum_bound(y2, q, M, np.zeros((n, n)), nothing), exact_minimum(y2, q, M)
        assert F(bound) <= truth
        assert float(truth) - bound < 1e-10 * y2


def test_without_the_terms_for_rounding_some_bounds_would_be_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test before this one bites: it fails as soon as no rounding is charged."""
    monkeypatch.setattr(module, "UNIT", 0.0)
    monkeypatch.setattr(module, "TINY", 0.0)
    rng, n = np.random.default_rng(12), 12
    over = 0
    for _ in range(40):
        M, q = gram(rng, n, 6)
        q *= 100
        y2 = 1e-3 + float(q @ np.linalg.solve(M, q))
        bound = minimum_bound(y2, q, M, np.zeros((n, n)), Enclosure(0.0, np.zeros(n), 0.0))
        over += F(bound) > exact_minimum(y2, q, M)
    assert over > 3


@pytest.mark.parametrize("exponent", range(-15, 1, 3))
@pytest.mark.parametrize("n", [2, 8, 40])
def test_eigenvalue_bound_is_below_the_truth_by_little(n: int, exponent: int) -> None:
    """``M - bound I`` is positive semidefinite in fractions, and not by much."""
    rng = np.random.default_rng(exponent + 20)
    M = rng.integers(-9, 10, (n, n)).astype(float)
    M = M @ M.T + np.diag(10.0**exponent * rng.uniform(1, 2, n))
    try:
        bound = smallest_eigenvalue_bound(M, None)
    except ValueError:
        assert exponent <= -12
        return
    shifted = rational_matrix((exact_array(M) - np.diag([F(bound)] * n)).tolist())
    pivots = [shifted[0, 0]]
    for k in range(2, min(n, 12) + 1):
        leading = rational_matrix((exact_array(M[:k, :k]) - np.diag([F(bound)] * k)).tolist())
        pivots.append(leading.det())
    assert all(pivot > 0 for pivot in pivots)
    assert shifted.det() > 0
    assert bound > np.linalg.eigvalsh(M)[0] / 4 - 1e-11 * np.abs(M).max() * n


def test_a_matrix_just_indefinite_is_never_accepted() -> None:
    """An exact zero or a negative eigenvalue of the size of roundings: no bound of at least 0."""
    rng, reached = np.random.default_rng(3), 0
    for trial in range(300):
        n = 2 + trial % 9
        X = rng.integers(-3, 4, (n - 1, n)).astype(float)
        M = X.T @ X  # singular, exactly
        M[0, 0] -= 2.0 ** -(40 + trial % 14) if trial % 2 else 0.0
        try:
            bound = smallest_eigenvalue_bound(M, None)
        except ValueError:
            continue
        reached += 1
        assert bound < 0
    assert reached > 20


def test_errors_lower_the_eigenvalue_bound_by_their_norm() -> None:
    M, error = 2 * np.eye(3), np.full((3, 3), 0.25)
    plainly, less = smallest_eigenvalue_bound(M, None), smallest_eigenvalue_bound(M, error)
    assert 0.75 <= plainly - less < 0.76
    for broken in (np.full((2, 2), np.nan), np.full((2, 2), np.inf), -np.eye(2), np.array([[1.0, 2.0], [2.0, 1.0]])):
        with pytest.raises(ValueError, match="expected"):
            smallest_eigenvalue_bound(broken, None)


COARSE = 2.0**-20
"""Roundings as if arithmetic were this coarse: what is charged has to grow with it as the theorems say."""


def test_roundings_of_a_factor_are_charged_as_the_theorem_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """``|fl(R^T R) - R^T R| <= gamma_n |R|^T |R|`` (Higham, section 3.5), whose norm is at most ``gamma_n |R|^2``."""
    rng = np.random.default_rng(1)
    for n in (1, 5, 40):
        M = 3 * np.eye(n) + gram(rng, n, 1)[0]
        plainly = smallest_eigenvalue_bound(M, None)
        trace = float(np.trace(M)) - n * plainly  # |R|^2, but for roundings
        with monkeypatch.context() as patch:
            patch.setattr(module, "UNIT", COARSE)
            coarse = smallest_eigenvalue_bound(M, None)
        assert n * COARSE * trace <= plainly - coarse <= (n + 20) * COARSE * (trace + 8 * np.abs(M).max())


def test_roundings_of_a_bound_are_charged_as_the_theorem_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner products ``gamma_n |q|.|x|``, a residual ``gamma_(n+1) (|q| + |M| |x|)`` each entry, three sums."""
    rng = np.random.default_rng(2)
    for n in (1, 5, 40):
        M, q = gram(rng, n, 0)[0] + 9 * np.eye(n), rng.standard_normal(n)
        x = np.linalg.solve(M, q)
        y2, zero, nothing = 3 + float(q @ x), np.zeros((n, n)), Enclosure(0.0, np.zeros(n), 0.0)
        plainly = minimum_bound(y2, q, M, zero, nothing)
        with monkeypatch.context() as patch:
            patch.setattr(module, "UNIT", COARSE)
            coarse = minimum_bound(y2, q, M, zero, nothing)
        inner = float(np.abs(q) @ np.abs(x))
        residual = float(np.abs(x) @ (np.abs(q) + np.abs(M) @ np.abs(x)))
        need = n * inner + (n + 1) * residual + y2 + 2 * inner
        assert COARSE * need <= plainly - coarse <= COARSE * (need + 10 * (y2 + inner + residual)) * 1.1


def test_roundings_of_the_matrix_are_charged_in_every_entry() -> None:
    """``Q + Z - sum C (x) S`` in fractions: off by at most what is said, and not by nothing."""
    rng = np.random.default_rng(3)
    for steps in (0, 1, 2, 5):
        Q, Z = rng.standard_normal((6, 6)), rng.standard_normal((6, 6))
        cones = [rng.standard_normal((2, 2)) for _ in range(steps)]
        S = [rng.standard_normal((3, 3)) for _ in range(steps)]
        M, error = module._assemble(Q, Z, cones, S)
        exact = exact_array(Q) + exact_array(Z)
        size = np.abs(Q) + np.abs(Z)
        for C, s in zip(cones, S, strict=True):
            exact = exact - np.kron(exact_array(C), exact_array(s))
            size = size + np.abs(np.kron(C, s))
        assert (abs(exact_array(M) - exact) <= exact_array(error)).all()
        least = (1 + steps) * 2.0**-53 * size  # a sum each, and half a unit of each product
        assert (error >= least).all()
        assert (error <= 4 * least).all()


def test_neither_the_estimate_nor_the_factor_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an estimate that is too large, and the factor of another matrix, the bound is still below the truth."""
    rng = np.random.default_rng(4)
    M = gram(rng, 6, 1)[0]
    least = np.linalg.eigvalsh(M)[0]
    cholesky = module.sla.cholesky
    monkeypatch.setattr(module, "_estimate", lambda _: 3 * least)
    with pytest.raises(ValueError, match="no Cholesky factor"):
        smallest_eigenvalue_bound(M, None)
    for more in (2 * least, 10.0):
        monkeypatch.setattr(
            module.sla, "cholesky", lambda matrix, more=more, **of: cholesky(matrix + more * np.eye(6), **of)
        )
        assert smallest_eigenvalue_bound(M, None) <= least
    monkeypatch.setattr(module, "_estimate", lambda _: least)
    for factor in (0.0, 0.5, 1.5):
        monkeypatch.setattr(module.sla, "cholesky", lambda matrix, factor=factor, **of: factor * cholesky(matrix, **of))
        assert smallest_eigenvalue_bound(M, None) <= least


def test_any_solution_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that is wrong, and so a residual that is not small: the bound only gets lower."""
    rng, n = np.random.default_rng(5), 5
    M, q = gram(rng, n, 1)[0] + np.eye(n), rng.standard_normal(n)
    truth = exact_minimum(2.0, q, M)
    solve, zero, nothing = module.sla.cho_solve, np.zeros((n, n)), Enclosure(0.0, np.zeros(n), 0.0)
    plainly = minimum_bound(2.0, q, M, zero, nothing)
    monkeypatch.setattr(module, "_estimate", lambda matrix: float(np.linalg.eigvalsh(matrix)[0]))
    for spoiled in (
        lambda x: 0 * x,
        lambda x: 0.7 * x,
        lambda x: 1.3 * x,
        lambda x: x + 0.1,
        lambda x: x - 0.3 * np.arange(n),
    ):
        monkeypatch.setattr(module.sla, "cho_solve", lambda *of, spoiled=spoiled, **more: spoiled(solve(*of, **more)))
        bound = minimum_bound(2.0, q, M, zero, nothing)
        assert F(bound) <= truth
        assert bound <= plainly
        # q.x + x.r + |r|^2 / lambda, with what the bound takes for lambda
        x = spoiled(solve((np.linalg.cholesky(M).T, False), q))
        x = x + spoiled(solve((np.linalg.cholesky(M).T, False), q - M @ x))
        r = q - M @ x
        assert bound > 2.0 - q @ x - x @ r - 3 * (r @ r) / np.linalg.eigvalsh(M)[0] * np.diag(M).max() - 1e-9


def test_gamma_counts_up() -> None:
    for k in (1, 7, 1000):
        assert F(gamma(k)) >= F(k) * F(2) ** -53 / (1 - F(k) * F(2) ** -53)
        assert gamma(k) < 1.00001 * k * 2.0**-53


@pytest.mark.parametrize("steps", [1, 2])
def test_what_underflows_in_a_product_of_a_cone_and_a_multiplier_is_charged(steps: int) -> None:
    """``C (x) S`` is 2^-1080 in floats, so 0, for an ``M`` of 2^-1060: the bound may not look at the 0."""
    H = np.array([[2.0**-1060, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    lifted = lift(Moments(H, np.array([2.0**-1000, 0.0, 0.0]), 1.0, 1, 2, "given"))
    tiny, S = np.diag([2.0**-540, 0.0]), np.diag([2.0**-540, 2.0**-540])
    Z = np.zeros((4, 4))
    with pytest.raises(ValueError, match="expected"):
        floating_bound(lifted, Enclosure(0.0, np.zeros(3), 0.0), Z, [tiny] * steps, [S] * steps)


def test_pieces_of_the_lift() -> None:
    rng = np.random.default_rng(0)
    for J, D in ((1, 2), (2, 3), (3, 2), (4, 3)):
        z = rng.standard_normal(packed_shape(J, D))
        Z = unpack(z, J, D)
        assert np.array_equal(pack(Z, D), z)
        assert np.array_equal(Z, Z.T)
        assert np.array_equal(partial_transpose(Z, D), -Z)
        assert np.array_equal(antisymmetric(Z, D), Z)
        size = J * vech_size(D)
        H = rng.standard_normal((size, size))
        lifted = lift(Moments(H + H.T, rng.standard_normal(size), 1.3, J, D, "given"))
        b, a = rng.standard_normal(D), rng.standard_normal(J * D)
        w = np.kron(b, a)
        moments = Moments(H + H.T, np.zeros(size), 0.0, J, D, "given")
        assert w @ lifted.Q @ w == pytest.approx(moments.loss(phi(b, a.reshape(J, D).T)), rel=1e-12)
        assert abs(w @ Z @ w) < 1e-12 * np.abs(Z).max() * (w @ w)
    for H, h, words in (
        (np.eye(3), np.zeros(2), "H \\[3, 3\\] and h \\[3\\]"),
        (np.eye(2), np.zeros(3), "H \\[3, 3\\] and h \\[3\\]"),
        (np.eye(3) * np.nan, np.zeros(3), "finite moments"),
        (np.diag([1.0, np.inf, 1.0]), np.zeros(3), "finite moments"),
        (np.eye(3), np.full(3, np.inf), "finite moments"),
        (np.eye(3), np.array([0.0, np.inf, 0.0]), "finite moments"),
        (np.eye(3) + np.triu(np.ones((3, 3)), 1), np.zeros(3), "symmetric H"),
    ):
        moments = object.__new__(Moments)
        for name, value in {"H": H, "h": h, "y2": 1.0, "blocks": 1, "dimension": 2}.items():
            object.__setattr__(moments, name, value)
        with pytest.raises(ValueError, match=words):
            lift(moments)
    for y2 in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="finite moments"):
            lift(Moments(np.eye(3), np.zeros(3), float(y2), 1, 2, "given"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_end_is_above_the_exact_loss_by_little(kind: str) -> None:
    for make, task in ((plain, PLAIN), (tree, LOOSE), (biased, BIAS)):
        found, about = make(), posed(task)
        exact = about.exact.loss(rational_matrix([[v] for v in phi(exact_array(found.b), exact_array(found.A))]))
        for b, A in ((found.b, found.A), (found.b * 1e3, found.A * 1e3), (found.b * 0, found.A)):
            X = rational_matrix([[v] for v in phi(exact_array(b), exact_array(A))])
            exact = about.exact.loss(X)
            upper = attained(about, b, A, exactly=kind == "rational")
            assert F(upper) >= exact
            assert upper - float(exact) <= 1e-9 * float(abs(exact)) + 1e-12 * (1 + float(np.abs(A).max())) ** 4
    with pytest.raises(ValueError, match="expected"):
        attained(posed(PLAIN), plain().b * 1e200, plain().A * 1e200, exactly=kind == "rational")


def test_the_upper_end_counts_the_errors_of_the_moments() -> None:
    from dataclasses import replace

    about = posed(PLAIN)
    for e in (1e-3, 1e-2):
        rough = replace(about, enclosure=replace(about.enclosure, relative=e))
        X = phi(plain().b, plain().A)
        size = about.enclosure.size + about.enclosure.roots @ np.abs(X)
        more = attained(rough, plain().b, plain().A, exactly=False) - attained(
            about, plain().b, plain().A, exactly=False
        )
        assert more == pytest.approx(e * size**2, rel=1e-5)


@pytest.mark.parametrize("e", [2.0**-10, 2.0**-3])
def test_the_upper_end_is_above_all_losses_that_the_enclosure_allows(e: float) -> None:
    """``f + e (s + r.|X|)^2`` in fractions, of which the float bound may not fall short by anything."""
    from dataclasses import replace

    rng, about = np.random.default_rng(6), posed(PLAIN)
    rough = replace(about, enclosure=replace(about.enclosure, relative=e))
    roots, size = exact_array(about.enclosure.roots), F(about.enclosure.size)
    for _ in range(5):
        b, A = rng.standard_normal(plain().b.shape), rng.standard_normal(plain().A.shape)
        X = phi(exact_array(b), exact_array(A))
        f = about.exact.loss(rational_matrix([[v] for v in X]))
        most = f + F(e) * (size + sum(r * abs(v) for r, v in zip(roots, X, strict=True))) ** 2
        assert most <= F(attained(rough, b, A, exactly=False)) <= most * (1 + F(1, 10**5))


def test_no_rounding_puts_the_upper_end_below_the_loss() -> None:
    """Quadratics that are the problem themselves, so that only roundings are charged, close to where they are small."""
    rng, below = np.random.default_rng(7), 0
    for _ in range(40):
        H = gram(rng, 6, 2)[0][:6, :6]
        b, A = rng.standard_normal(3), rng.standard_normal((3, 1))
        X = phi(b, A)
        moments = Moments(H, H @ X, float(X @ H @ X) * (1 + 1e-9), 1, 3, "given")
        about = pose(moments)
        exact = about.exact.loss(rational_matrix([[v] for v in phi(exact_array(b), exact_array(A))]))
        upper = attained(about, b, A, exactly=False)
        assert F(upper) >= exact
        assert upper - float(exact) < 1e-13 * moments.y2
        below += F(moments.loss(X)) < exact
    assert below > 5  # without any charge


def test_parameters_that_underflow_are_charged() -> None:
    """A parameter of 2^-1076 is 0 in floats; where ``h`` is 1e300 it is worth 1e-24, more than 1e-30."""
    H, h = np.diag([1.0, 1.0, 1.0]), np.array([-1e300, 0.0, 0.0])
    about = pose(Moments(H, h, 1e-30, 1, 2, "given"))
    b, A = np.array([2.0**-538, 0.0]), np.array([[2.0**-538], [0.0]])
    X = rational_matrix([[v] for v in phi(exact_array(b), exact_array(A))])
    exact = pose(Moments(H, h, 1e-30, 1, 2, "given")).exact.loss(X)
    assert exact > F(1, 10**25)
    assert F(attained(about, b, A, exactly=False)) >= exact


def test_the_enlarged_minimum_is_enclosed() -> None:
    for task in (PLAIN, LOOSE, BIAS):
        about = posed(task)
        low, high = enlarged(about)
        in_floats = type(about)(about.moments, about.enclosure, about.units, about.task, about.whole, True)
        lower, upper = enlarged(in_floats)
        assert lower <= low <= high <= upper
        assert upper - low < 1e-11
        assert low - lower < 1e-9 or lower == 0  # 0: H is singular, so nothing is proved in floats
        assert (lower == 0) == (task is BIAS)
