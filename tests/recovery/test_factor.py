from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markov_icl.features import phi, to_symmetric, vech_size
from markov_icl.landscape.minimizer import minimizer
from markov_icl.recovery.factor import recover
from markov_icl.recovery.surd import Surd
from markov_icl.tasks.prompts import MarkovTask

KINDS = ["random", "rank-one", "zero-blocks", "sparse-b", "last-entry", "all-zero"]


def planted(kind, J, D, rng):
    b, A = rng.integers(-4, 5, D), rng.integers(-4, 5, (D, J))
    if kind == "rank-one":
        A = np.outer(b, rng.integers(-2, 3, J))
    elif kind == "zero-blocks":
        A = A * (rng.random(J) < 0.4)
    elif kind == "sparse-b":
        b = b * (rng.random(D) < 0.3)
    elif kind == "last-entry":
        b = (np.arange(D) == D - 1).astype(int)
    elif kind == "all-zero":
        A = 0 * A
    return b, A


def as_fractions(array):
    return np.array([F(int(v)) for v in array.ravel()] + [None], dtype=object)[:-1].reshape(array.shape)


def same_ray(u, v):
    u, v = np.array(u, dtype=float), np.array(v, dtype=float)
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return np.abs(np.outer(u, u) - np.outer(v, v)).max()


def shared_factor_is_unique(b, A):
    """Whether b is the only linear factor that all blocks share: two blocks differ, or all are b times b."""
    live = A[:, np.any(A != 0, axis=0)]
    rank = np.linalg.matrix_rank(live)
    return rank > 1 or (rank == 1 and np.linalg.matrix_rank(np.column_stack([b, live])) == 1)


@given(st.sampled_from(KINDS), st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_planted_parameters_come_back_exactly(kind, J, D, seed):
    b, A = planted(kind, J, D, np.random.default_rng(seed))
    X = phi(as_fractions(b), as_fractions(A))
    result = recover(X, blocks=J)
    assert result.recoverable
    assert result.exact
    assert (phi(result.b_exact, result.A_exact) == X).all()
    if b.any() and A.any() and shared_factor_is_unique(b, A):
        assert same_ray(result.b, b) < 1e-12


@given(st.sampled_from(KINDS), st.integers(1, 12), st.integers(1, 13), st.integers(0, 2**32 - 1))
def test_planted_parameters_come_back_from_floats(kind, J, D, seed):
    rng = np.random.default_rng(seed)
    b, A = planted(kind, J, D, rng)
    b, A = b * rng.normal(), A * rng.normal()
    X = phi(b, A)
    result = recover(X, blocks=J)
    assert result.recoverable
    assert not result.exact
    scale = np.abs(X).max() or 1.0
    np.testing.assert_allclose(phi(result.b, result.A), X, atol=1e-12 * scale)
    if b.any() and A.any() and shared_factor_is_unique(b, A):
        assert same_ray(result.b, b) < 1e-6


@given(st.integers(1, 6), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_witnesses_check_out(J, D, seed):
    rng = np.random.default_rng(seed)
    X = as_fractions(phi(*planted("random", J, D, rng)))
    X[rng.integers(len(X))] += int(rng.integers(1, 3))
    result = recover(X, blocks=J)
    numeric = recover(X.astype(float), blocks=J)
    assert numeric.recoverable == result.recoverable
    if result.recoverable:
        assert (phi(result.b_exact, result.A_exact) == X).all()
        return
    w, M = result.witness, to_symmetric(X, J)
    block = M[w.block]
    if w.kind in ("rank", "definite"):
        minor = block[np.ix_(w.rows, w.columns)].tolist()
        import sympy

        value = sympy.Matrix([[sympy.Rational(v.numerator, v.denominator) for v in row] for row in minor]).det()
        assert value == sympy.Rational(w.value.numerator, w.value.denominator)
        assert value != 0
        assert len(w.rows) == (3 if w.kind == "rank" else 2)
        if w.kind == "definite":
            assert value > 0
            assert w.rows == w.columns
    elif w.vector is not None:
        assert w.vector @ block @ w.vector == w.value != 0
    assert str(w.block + 1) in w.text


def test_irrational_factors_stay_exact():
    form = minimizer(MarkovTask(context=10))
    result = recover(form.X_exact)
    assert result.recoverable
    assert [str(v) for v in result.b_exact] == ["1", "13/2 + 1/2*sqrt(145)"]
    assert (phi(result.b_exact, result.A_exact) == form.X_exact).all()
    np.testing.assert_allclose(phi(result.b, result.A), form.X, rtol=1e-12)


def test_irrational_factors_need_every_block_to_be_a_multiple():
    block = [F(1), F(1), F(-1), F(0), F(0), F(0)]  # v1^2 + v1 v2 - v1 v3: rational; next one is not
    golden = [F(1), F(1), F(0), F(-1), F(0), F(0)]  # v1^2 + v1 v2 - v2^2
    assert recover(golden + [3 * v for v in golden], blocks=2).recoverable
    result = recover(golden + block, blocks=2)
    assert not result.recoverable
    assert result.witness.kind == "mismatch"


@pytest.mark.parametrize(("n", "wanted"), [(1, False), (2, False), (5, False), (6, True), (10, True), (100, True)])
def test_length_two_is_realizable_exactly_from_six_chains_on(n, wanted):
    form = minimizer(MarkovTask(context=n))
    assert recover(form.X_exact).recoverable == recover(form.X).recoverable == wanted


def test_optimum_of_length_three_is_out_of_reach():
    form = minimizer(MarkovTask(length=3, context=100))
    for X in (form.X_exact, form.X):
        result = recover(X)
        assert not result.recoverable
        assert result.witness.kind == "rank"


def test_torch_tensors_and_strings():
    torch = __import__("torch")
    b, A = np.array([1.0, 2.0, 0.5]), np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
    assert recover(torch.tensor(phi(b, A))).recoverable
    assert recover(["1", "0", "-1/4"]).b_exact.tolist() == [1, F(1, 2)]
    assert recover([1, 0, -4]).exact


@pytest.mark.parametrize(
    ("X", "fields", "message"),
    [
        ([1.0, 2.0], {}, "expected d"),
        ([1.0, np.nan, 2.0], {}, "finite numbers"),
        (["1", "x", "2"], {}, "finite number such as"),
        ([1.0, 2.0, 3.0], {"tolerance": 0.0}, "tolerance"),
        ([1.0, 2.0, 3.0], {"blocks": 2}, "divisible by 2"),
        ([[1.0, 2.0], [3.0, 4.0]], {}, "expected a block"),
        ([], {}, "expected a vector"),
        ([1j, 0, 0], {}, "real numbers"),
    ],
)
def test_bad_points_are_explained(X, fields, message):
    with pytest.raises(ValueError, match=message):
        recover(X, **fields)


@given(*(st.fractions(max_denominator=9, min_value=-5, max_value=5) for _ in range(4)))
def test_surds(a, b, c, d):
    x, y = Surd(a, b, F(7)), Surd(c, d, F(7))
    assert abs(float(x * y) - float(x) * float(y)) < 1e-9
    assert abs(float(x + y) - float(x) - float(y)) < 1e-9
    assert x * x.conjugate() == a * a - 7 * b * b
    assert (x == y) == ((a, b) == (c, d))
    assert vech_size(3) == 6
