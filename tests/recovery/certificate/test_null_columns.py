"""Null directions: proved from the task, or refused. Each forgery here passes every other check."""

from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.moments.problem import pose
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import rational, rational_matrix
from markov_icl.recovery.certificate import null_columns as module
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.exact_bound import rounded_down, rounded_up
from markov_icl.recovery.certificate.null_columns import (
    certificate_vanishes,
    kept,
    kept_of_S,
    problem_vanishes,
)
from markov_icl.recovery.certificate.verify import leaf_bound, verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.kernels import FinitePrior, beta_prior, fixed_kernel
from markov_icl.tasks.prompts import CorrelatedStart, MarkovTask, RegressionTask, StationaryStart, independent_start
from tests.recovery.certificate.examples import BIAS, KINDS, PLAIN, biased, plain, posed

VANISH = "null directions that change no prediction|null directions of short numbers"
EXACT = "vanish on the null directions"


def with_null(certificate: Certificate, null: np.ndarray | None) -> Certificate:
    leaves = tuple(replace(leaf, null=null) for leaf in certificate.leaves)
    return replace(certificate, leaves=leaves, verified=None)


def unit_columns(places: list[int], scale: float = 1.0) -> np.ndarray:
    size = plain().dimension * plain().A.size
    return scale * np.eye(size)[:, places]


def bare(null: np.ndarray) -> Certificate:
    """No ``Z`` and no ``S``, so that both vanish on whatever columns are invented."""
    leaf = Leaf((), np.zeros_like(plain().leaves[0].Z), (), null)
    return replace(plain(), leaves=(leaf,), verified=None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-300])
def test_invented_columns_are_refused_at_any_size(kind: str, scale: float) -> None:
    for place in (0, 4, 9, 17):
        with pytest.raises(ValueError, match=VANISH):
            verify(bare(unit_columns([place], scale)), posed(PLAIN), proof=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_directions_of_tiny_loss_are_refused(kind: str) -> None:
    """Eigenvectors of ``Q`` that cost 1e-9 or less are not null: along them the loss still grows."""
    task = MarkovTask(length=3, context=10, initial=independent_start(["999999/1000000", "1/1000000"], 2, 1))
    about = pose(task)
    from markov_icl.recovery.certificate.lift import lift

    values, vectors = np.linalg.eigh(lift(about.moments).Q)
    tiny = (values > 1e-12) & (values < 1e-6)
    assert tiny.any()
    found = certify(task, time_limit=1.0)
    leaf = Leaf((), np.zeros_like(found.leaves[0].Z), (), vectors[:, tiny])
    with pytest.raises(ValueError, match=VANISH):
        verify(replace(found, leaves=(leaf,), verified=None), about, proof=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_vanish_for_another_prior_only(kind: str) -> None:
    """A bias makes these null for values 0, 1; for 0, 1, 2 they are not, nor without the bias."""
    three = MarkovTask(states=3, length=2, context=10, bias=True)
    found = certify(three, time_limit=5.0)
    forged = with_null(found, biased().leaves[0].null)
    with pytest.raises(ValueError, match=f"{VANISH}|{EXACT}"):
        verify(forged, pose(three), proof=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_true_columns_beside_a_certificate_that_does_not_vanish(kind: str) -> None:
    null = biased().leaves[0].null
    for leaf in biased().leaves:
        moved = leaf.Z.copy()
        moved[0, 0] += 2.0**-40
        with pytest.raises(ValueError, match=EXACT):
            leaf_bound(posed(BIAS), replace(leaf, Z=moved, null=null), biased().cones, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_no_columns_where_they_are_needed(kind: str) -> None:
    with pytest.raises(ValueError, match="positive definite"):
        verify(with_null(biased(), None), posed(BIAS), proof=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_columns_are_refused(kind: str) -> None:
    null = biased().leaves[0].null
    for columns in (np.hstack([null, null]), np.hstack([null, null[:, :1] + null[:, 1:2]]), null[:, :0]):
        with pytest.raises(ValueError, match="independent null directions"):
            verify(with_null(biased(), columns), posed(BIAS), proof=kind)


def test_fewer_columns_prove_less_or_nothing_and_never_more() -> None:
    null = biased().leaves[0].null
    with pytest.raises(ValueError, match="positive definite"):
        verify(with_null(biased(), null[:, :-1]), posed(BIAS))


def column(task: MarkovTask, b: list[int], j: int, k: int, sign: int = 1) -> np.ndarray:
    """``b (x) e_(j,k)``, plus or minus a second one is added by the caller."""
    a = np.zeros(task.blocks * task.dimension)
    a[j * task.dimension + k] = sign
    return np.kron(np.array(b, dtype=float), a)[:, None]


def x_times_one_minus_x(task: MarkovTask) -> np.ndarray:
    """``b = e_1``, ``a`` such that the prediction is ``u_1 (u_1 - u_1 u_1) = 0`` for values 0 and 1: needs the bias."""
    D, J = task.dimension, task.blocks
    bias = task.times.index(0)
    a = np.zeros((J, D))
    a[0, 0], a[0, bias] = 1, -1  # x_1 (G_11 - G_1,bias)
    b = np.zeros(D)
    b[0] = 1
    return np.kron(b, a.ravel())[:, None]


@pytest.mark.parametrize(
    ("task", "null"),
    [
        (BIAS, True),
        (replace(BIAS, values=(0, 100)), True),
        (replace(BIAS, values=(F(1, 3), F(1, 300))), True),
        (replace(BIAS, values=(7, 8), length=3, order=2, prior=None, initial=None), True),
        (replace(BIAS, initial=CorrelatedStart(F(1, 3), (F(1, 7), 0))), True),
        (replace(BIAS, prior=fixed_kernel([[F(1, 2), F(1, 2)], [0, 1]])), True),
        (replace(BIAS, initial=StationaryStart(), prior=fixed_kernel([[F(1, 2), F(1, 2)], [F(1, 3), F(2, 3)]])), True),
        (MarkovTask(states=3, length=2, bias=True), False),
        (MarkovTask(states=3, length=2, bias=True, initial=independent_start(["1/2", "0", "1/2"], 3, 1)), False),
        (MarkovTask(states=3, length=2, bias=True, initial=independent_start(["1/2", "1/2", "0"], 3, 1)), True),
    ],
)
def test_a_column_is_null_iff_no_prompt_shows_it(task: MarkovTask, null: bool) -> None:
    about = pose(task)
    columns = x_times_one_minus_x(about.whole)
    assert problem_vanishes(about, columns) == null
    if about.exact is not None:  # the definition: Q and q vanish in fractions
        merged = module._merged(columns, about.blocks, about.dimension)
        zero = all(e == 0 for e in (about.exact.H * merged).entries())
        assert zero == null


def test_what_starts_never_show_is_null_and_what_one_in_a_million_shows_is_not() -> None:
    """First states are always 1: then x_1 = 1 on every chain, and x_1 G_11 - x_1 G_11 x_1 ... vanish with it."""
    for p, null in ((F(1), True), (F(999_999, 1_000_000), False), (F(0), True)):
        task = MarkovTask(length=3, context=5, initial=independent_start([1 - p, p], 2, 1))
        D = task.dimension
        first = np.kron(np.eye(D)[0], np.kron(np.eye(2)[0], np.eye(D)[1]))  # x_1 G_12
        other = np.kron(np.eye(D)[0], np.kron(np.eye(2)[1], np.eye(D)[0]))  # x_2 G_11
        columns = (
            first[:, None] if p == 0 else (first - np.kron(np.eye(D)[1], np.kron(np.eye(2)[0], np.eye(D)[1])))[:, None]
        )
        assert problem_vanishes(pose(task), columns) == null
        assert not problem_vanishes(pose(task), (first + 2 * other)[:, None]) or p == 0


def test_supports_of_kernels_and_correlated_starts_are_joint() -> None:
    """A pair that cannot occur together may be as it likes; one that can may not."""
    never = FinitePrior((((F(1), F(0)), (F(0), F(1))), ((F(0), F(1)), (F(1), F(0)))), (F(1, 2), F(1, 2)))
    task = MarkovTask(length=2, context=3, prior=never)
    about = pose(task)
    # staying kernel: z = (s, s); changing one: (s, 1 - s). x_1 G_12 is seen under the first kernel only
    seen = column(task, [1, 0], 0, 1)
    assert not problem_vanishes(about, seen)
    assert not problem_vanishes(about, column(task, [0, 1], 0, 1))  # x_1 G_22: kernel 2, query 1, context 0
    only_changing = MarkovTask(length=2, context=3, prior=fixed_kernel([[0, 1], [1, 0]]))
    assert problem_vanishes(pose(only_changing), seen)
    tied = replace(only_changing, initial=CorrelatedStart(F(1, 2), (0, 1)))  # contexts start like the query
    assert problem_vanishes(pose(tied), column(task, [0, 1], 0, 1))  # x_1 = 1: contexts (1, 0), so G_22 = 0
    assert not problem_vanishes(pose(tied), column(task, [1, 0], 0, 0))
    loose = replace(tied, initial=CorrelatedStart(F(1, 2), (0, F(1, 2))))
    assert not problem_vanishes(pose(loose), column(task, [0, 1], 0, 1))
    longer = replace(tied, length=3)
    last = column(longer, [1, 0, 0], 1, 0)  # x_2 G_11: queries (0, 1, 0), and contexts (0, 1, 0), so G_11 = 0
    assert problem_vanishes(pose(longer), last)
    assert not problem_vanishes(pose(replace(longer, initial=CorrelatedStart(F(1, 2), (F(1, 9), 1)))), last)
    certain = replace(tied, initial=CorrelatedStart(0, (0, 1)))  # the query never starts in 1
    assert problem_vanishes(pose(certain), column(task, [1, 0], 0, 0))


def test_quadratics_answer_by_their_own_fractions() -> None:
    H = np.diag([1.0, 1.0, 1e-15])
    moments = Moments(H, np.array([0.5, 0.0, -1e-10]), 0.5, 1, 2, "given")
    last = np.zeros((4, 1))
    last[3] = 1.0
    assert not problem_vanishes(pose(moments), last)
    assert not problem_vanishes(pose(replace(moments, h=np.array([0.5, 0.0, 0.0]))), last)
    flat = replace(moments, H=np.diag([1.0, 1.0, 0.0]), h=np.array([0.5, 0.0, 0.0]))
    assert problem_vanishes(pose(flat), last)
    assert not problem_vanishes(pose(replace(flat, h=np.array([0.5, 0.0, 1e-300]))), last)
    both = np.array([[0.0], [1.0], [-1.0], [0.0]])  # the two products that share a coordinate
    assert problem_vanishes(pose(moments), both)
    exact = RationalMoments(
        rational_matrix(H.tolist()), rational_matrix([[v] for v in moments.h.tolist()]), rational(0.5), 1, 2, "given"
    )
    assert not problem_vanishes(pose(exact), last)
    assert problem_vanishes(pose(exact), both)


def test_regression_has_no_null_directions_and_large_chains_are_refused() -> None:
    assert not problem_vanishes(pose(RegressionTask(1, 3)), np.array([[0.0], [1.0], [-1.0], [0.0]]))
    long = MarkovTask(length=16, context=3, prior=beta_prior([1, 1, 1, 1]), bias=True)
    with pytest.raises(ValueError, match="chains to prove null directions"):
        problem_vanishes(pose(long), _first(long))


def _first(task: MarkovTask) -> np.ndarray:
    out = np.zeros((task.dimension * task.blocks * task.dimension, 1))
    out[0] = 1
    return out


def test_the_flat_quadratic_of_the_report() -> None:
    """Plain moments H = diag(1, 1, 1e-15), X = (.5, 0, -1e5): 0.1 is attained, 0.10001 was once certified."""
    H, X = np.diag([1.0, 1.0, 1e-15]), np.array([0.5, 0.0, -1e5])
    h = H @ X
    found = certify(Moments(H, h, 0.1 + float(X @ h), 1, 2, "given"), time_limit=10.0)
    assert found.lower <= 0.1 + 1e-12


def test_rows_that_go_are_independent_and_rows_that_stay_are_the_rest() -> None:
    null = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0], [2, 0, 0]])
    keep = kept(null)
    assert keep.sum() == 2
    assert keep[3]
    assert abs(np.linalg.det(null[~keep])) > 0.5
    for scale in (2.0**-300, 2.0**300):
        assert kept(null * scale).tolist() == keep.tolist()
    S = np.diag([0.0, 0.0, 3.0])
    columns = np.kron(np.array([1.0, 2.0])[:, None], np.eye(3)[:, :2])
    assert kept_of_S(S, columns).tolist() == [False, False, True]
    assert kept_of_S(np.eye(3), columns).tolist() == [True, True, True]
    assert kept_of_S(S, np.kron(np.ones((2, 1)), np.array([[1.0], [1.0], [0.0]]))).sum() == 2
    assert certificate_vanishes(np.zeros((6, 6)), (S, np.zeros((3, 3))), columns)
    assert not certificate_vanishes(np.zeros((6, 6)), (S, np.eye(3)), columns)
    assert not certificate_vanishes(np.eye(6) * 1e-300, (), columns)


def test_which_rows_a_factor_in_floats_picks_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that it calls independent and that are not: fractions choose others, whatever it says of their size."""
    null = np.array([[1.0, 0], [0, 1], [2, 0], [0, 0]])
    rows = np.array([[1.0, 0, 2, 0], [0, 1, 0, 0]])  # of W: S vanishes on both
    S = np.diag([0.0, 0.0, 0.0, 5.0])
    for pivots in ([0, 2, 1, 3], [1, 3, 0, 2], [2, 3, 0, 1]):
        monkeypatch.setattr(module.sla, "qr", lambda *_, pivots=pivots, **__: (np.eye(2, 4), np.array(pivots)))
        assert kept(null).tolist() == [False, False, True, True]
        assert kept_of_S(S, np.kron(np.ones((2, 1)), rows.T)).tolist() == [False, False, True, True]
    monkeypatch.setattr(module.sla, "qr", lambda *_, **__: (np.eye(2, 4), np.array([0, 1, 2, 3])))
    assert kept(null).tolist() == [False, False, True, True]
    assert kept_of_S(S, np.kron(np.ones((2, 1)), rows.T)).tolist() == [False, False, True, True]


def test_rounding_goes_the_right_way() -> None:
    for value in (F(1, 3), -F(1, 3), F(1, 2), F(10) ** 30 + F(1, 7), F(2) ** -1080, -(F(2) ** -1080), F(0)):
        low, high = rounded_down(value), rounded_up(value)
        assert F(low) <= value <= F(high)
        assert (low == high) == (F(float(value)) == value)
        assert high <= np.nextafter(low, np.inf)
    with pytest.raises(ValueError, match="fits in a double"):
        rounded_down(F(10) ** 400)
