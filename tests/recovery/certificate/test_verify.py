"""Certificates that pass every check but one, under every kind of proof, and the words of that one."""

from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.moments.problem import pose
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.rationals import rational, rational_matrix
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.exact_bound import ball_bound, exact_bound, rounded_down
from markov_icl.recovery.certificate.verify import covers, verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart
from tests.recovery.certificate.examples import BIAS, KINDS, LOOSE, PLAIN, biased, halves, plain, posed, tree

CASES = {"plain": (plain, PLAIN), "tree": (tree, LOOSE), "biased": (biased, BIAS)}
M_REFUSED = "positive definite M|positive definite matrix"
S_REFUSED = "positive semidefinite S|positive definite S|positive definite matrix"


def unstamped(certificate: Certificate, **changes: object) -> Certificate:
    """The same without a stated bound: what it proves is then all that is looked at."""
    return replace(certificate, verified=None, **changes)


def forced(certificate: Certificate, **changes: object) -> Certificate:
    """A copy with fields that its constructor, type-checked in the tests, would not take."""
    out = replace(certificate)
    for name, value in changes.items():
        object.__setattr__(out, name, value)
    return out


def with_leaf(certificate: Certificate, number: int = 0, **changes: object) -> Certificate:
    leaves = list(certificate.leaves)
    leaves[number] = replace(leaves[number], **changes)
    return unstamped(certificate, leaves=tuple(leaves))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_right_is_proved_whatever_the_proof(name: str, kind: str) -> None:
    make, task = CASES[name]
    found, exact = verify(make(), posed(task), proof=kind), verify(make(), posed(task), proof="rational")
    assert found.proof == kind
    assert found.status == "certified"
    assert exact.lower - 1e-9 < found.lower <= exact.lower
    assert found.upper == exact.upper  # in fractions, which are at hand
    assert found.moment_error == (posed(task).enclosure.relative if kind == "float" else 0)
    assert found.leaves == len(make().leaves)
    assert ("null directions proved exact" in found.reason) == (name == "biased")


@pytest.mark.parametrize("name", CASES)
def test_the_task_in_the_header_is_enough(name: str) -> None:
    make, task = CASES[name]
    assert verify(make()).lower == verify(make(), task).lower == make().lower


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(6))
def test_an_indefinite_multiplier_is_refused_wherever_it_is_negative(at: int, kind: str) -> None:
    m = plain().blocks * plain().dimension
    S = np.diag([1e-9] * m)
    S[at, at] = -0.05
    cones, leaves = halves(S, np.zeros((m, m)))
    with pytest.raises(ValueError, match=S_REFUSED):
        verify(unstamped(plain(), cones=cones, leaves=leaves), posed(PLAIN), proof=kind)
    cones, leaves = halves(np.zeros((m, m)), 0.05 * np.eye(m))  # the same the right way round proves something
    assert verify(unstamped(plain(), cones=cones, leaves=leaves), posed(PLAIN), proof=kind).lower <= plain().upper


@pytest.mark.parametrize("kind", KINDS)
def test_a_negative_multiplier_would_lift_the_bound_above_the_truth(kind: str) -> None:
    """What the check of S is for: without it this proves 0.2599 where 0.2546 is attained."""
    m = plain().blocks * plain().dimension
    cones, leaves = halves(-0.002 * np.eye(m), np.eye(m))
    with pytest.raises(ValueError, match=S_REFUSED):
        verify(unstamped(plain(), cones=cones, leaves=leaves), posed(PLAIN), proof=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["plain", "tree"])
def test_an_indefinite_matrix_is_refused_in_every_leaf(name: str, kind: str) -> None:
    make, task = CASES[name]
    for number, leaf in enumerate(make().leaves):
        with pytest.raises(ValueError, match=M_REFUSED):
            verify(with_leaf(make(), number, Z=20 * leaf.Z), posed(task), proof=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_asymmetric_cones_and_multipliers_are_refused_each_alone(kind: str) -> None:
    one = np.zeros((tree().dimension,) * 2)
    one[0, 1] = 1e-9
    cones = tree().cones.copy()
    cones[0] += one
    with pytest.raises(ValueError, match="symmetric cones and S"):
        verify(unstamped(tree(), cones=cones), posed(LOOSE), proof=kind)
    leaf = tree().leaves[0]
    S = leaf.S[0].copy()
    S[0, 1] += 1e-9
    with pytest.raises(ValueError, match="symmetric cones and S"):
        verify(with_leaf(tree(), S=(S, *leaf.S[1:])), posed(LOOSE), proof=kind)


def other_sign(leaf: Leaf) -> tuple[tuple[int, int], ...]:
    return ((leaf.path[0][0], -leaf.path[0][1]), *leaf.path[1:])


TREES = {
    "a leaf missing": lambda t: replace(t, leaves=t.leaves[1:]),
    "a leaf doubled": lambda t: replace(t, leaves=(*t.leaves, t.leaves[0])),
    "no leaf": lambda t: replace(t, leaves=()),
    "one side twice": lambda t: with_leaf(t, path=other_sign(t.leaves[0])),
    "sign 0": lambda t: with_leaf(t, path=tuple((c, 0) for c, _ in t.leaves[0].path)),
    "sign 2": lambda t: with_leaf(t, path=tuple((c, 2 * s) for c, s in t.leaves[0].path)),
    "cone -1": lambda t: with_leaf(t, path=tuple((-1, s) for _, s in t.leaves[0].path)),
    "cone beyond": lambda t: with_leaf(t, path=tuple((len(t.cones), s) for _, s in t.leaves[0].path)),
    "S missing": lambda t: with_leaf(t, S=t.leaves[0].S[1:]),
    "S too many": lambda t: with_leaf(t, S=(*t.leaves[0].S, t.leaves[0].S[0])),
    "S of another size": lambda t: with_leaf(t, S=tuple(s[:-1, :-1] for s in t.leaves[0].S)),
    "Z of another size": lambda t: with_leaf(t, Z=t.leaves[0].Z[:-1]),
    "Z in single precision": lambda t: with_leaf(t, Z=t.leaves[0].Z.astype(np.float32)),
    "A of another size": lambda t: forced(t, A=t.A[:-1]),
    "Z nan": lambda t: with_leaf(t, Z=t.leaves[0].Z * np.nan),
    "S inf": lambda t: with_leaf(t, S=tuple(s + np.inf for s in t.leaves[0].S)),
    "null directions of another size": lambda t: with_leaf(t, null=np.ones((17, 1))),
    "null directions flat": lambda t: with_leaf(t, null=np.ones(18)),
    "null directions of three axes": lambda t: with_leaf(t, null=np.ones((18, 1, 1))),
    "null directions nan": lambda t: with_leaf(t, null=np.full((18, 1), np.nan)),
    "cones nan": lambda t: replace(t, cones=t.cones * np.nan),
    "b nan": lambda t: replace(t, b=t.b * np.nan),
    "upper nan": lambda t: replace(t, upper=np.nan),
    "lower nan": lambda t: replace(t, lower=np.nan),
    "tolerance inf": lambda t: replace(t, tolerance=np.inf),
}
TREE_WORDS = {
    "a leaf missing": "missing or doubled",
    "a leaf doubled": "missing or doubled",
    "no leaf": "proved only",
    "one side twice": "missing or doubled",
    "sign 0": "missing or doubled",
    "sign 2": "missing or doubled",
    "cone -1": "cones 0..",
    "cone beyond": "cones 0..",
    "S missing": "one S for each",
    "S too many": "one S for each",
    "S of another size": "expected S of shape",
    "Z of another size": "expected Z of shape",
    "Z in single precision": "expected Z of shape .* float64",
    "A of another size": "expected A of shape",
    "Z nan": "finite numbers in Z",
    "S inf": "finite numbers in S",
    "null directions of another size": "expected null directions of shape",
    "null directions flat": "expected null directions of shape",
    "null directions of three axes": "expected null directions of shape",
    "null directions nan": "finite numbers in null directions",
    "cones nan": "finite numbers in cones",
    "b nan": "finite numbers in b",
    "upper nan": "finite bounds",
    "lower nan": "finite bounds",
    "tolerance inf": "finite bounds",
}


@pytest.mark.parametrize("name", TREES)
def test_trees_and_shapes_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=TREE_WORDS[name]) as error:
        verify(TREES[name](tree()), posed(LOOSE))
    assert "\n" not in str(error.value)


def test_coverage() -> None:
    a, b = ((0, 1),), ((0, -1),)
    assert covers([()])
    assert covers([a, b])
    assert covers([(*a, (1, 1)), (*a, (1, -1)), b])
    assert covers([(*a, (1, 1)), (*a, (1, -1)), (*b, (2, 1)), (*b, (2, -1))])
    assert covers([((0, 1),) * k + ((0, -1),) for k in range(600)] + [((0, 1),) * 600])  # deep, and no recursion
    assert not covers([])
    assert not covers([a])
    assert not covers([b])
    assert not covers([a, a])
    assert not covers([a, a, b])
    assert not covers([(), ()])
    assert not covers([(*a, (1, 1)), b])
    assert not covers([(*a, (1, -1)), b])
    assert not covers([(*a, (1, 1)), (*a, (2, -1)), b])
    assert not covers([(), a, b])
    assert not covers([a, ((1, -1),)])
    assert not covers([a, ((0, 0),)])
    assert not covers([a, b, ((0, 2),)])


@pytest.mark.parametrize("kind", KINDS)
def test_stated_ends_are_compared_with_what_is_proved(kind: str) -> None:
    for change in ({"upper": plain().upper - 1e-6}, {"b": plain().b * 1.01}):
        with pytest.raises(ValueError, match="another task or altered parameters"):
            verify(replace(plain(), **change), posed(PLAIN), proof=kind)
    with pytest.raises(ValueError, match="proved only"):
        verify(replace(plain(), lower=plain().lower + 1e-8), posed(PLAIN), proof=kind)
    assert plain().verified == "rational"
    if kind != "rational":  # another proof than the certificate's own may prove less by 1e-9 of E y^2 = 1/2
        assert verify(replace(plain(), lower=plain().lower + 0.4e-9), posed(PLAIN), proof=kind).lower < plain().upper
        with pytest.raises(ValueError, match="proved only"):
            verify(replace(plain(), lower=plain().lower + 0.6e-9), posed(PLAIN), proof=kind)
    weaker = replace(plain(), lower=plain().lower - 1e-3, upper=plain().upper + 1e-3)  # true, and less
    assert verify(weaker, posed(PLAIN), proof=kind).upper < plain().upper + 1e-9


@pytest.mark.parametrize("pivot", [3, 7, 11, 13, 19, 23])
def test_balls_give_their_lower_end(pivot: int) -> None:
    """``y2 - 1/pivot`` is 1/2 less 2^-330, which 320 bits cannot tell from 1/2: the bound is below all the same."""
    for tiny in (F(0), F(1, 2**330), -F(1, 2**330)):
        y2 = F(1, 2) + F(1, pivot) - tiny
        H = rational_matrix([[pivot, 0, 0], [0, 1, 0], [0, 0, 1]])
        moments = RationalMoments(H, rational_matrix([[1], [0], [0]]), rational(y2), 1, 2, "given")
        Z = np.diag([0.0, 1.0, 1.0, 0.0])  # the two products of one coordinate apart: any Z will do here
        bound = ball_bound(moments, Z, (), ())
        assert F(bound) <= F(1, 2) - tiny
        assert bound == pytest.approx(0.5, rel=1e-15)
        assert exact_bound(moments, Z, (), ()) == rounded_down(F(1, 2) - tiny)


def test_another_task_is_refused() -> None:
    for task in (MarkovTask(length=3, context=11), MarkovTask(length=3, context=10, values=(0, 2))):
        with pytest.raises(ValueError, match="expected"):
            verify(plain(), task)
    for other in (MarkovTask(length=4), MarkovTask(length=2)):
        with pytest.raises(ValueError, match=r"certificate with \(J, D\)"):
            verify(plain(), other)


def test_a_bound_above_the_loss_is_refused_even_if_every_check_were_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "markov_icl.recovery.certificate.verify"
    monkeypatch.setattr(f"{module}.leaf_bound", lambda *_: 0.3)
    with pytest.raises(ValueError, match="at most the loss"):
        verify(plain(), posed(PLAIN))
    monkeypatch.setattr(f"{module}.leaf_bound", lambda *_: plain().upper)
    assert verify(plain(), posed(PLAIN)).gap == 0


def test_not_a_number_from_one_leaf_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "markov_icl.recovery.certificate.verify"
    for kind, name in (("rational", "exact_bound"), ("interval", "ball_bound"), ("float", "floating_bound")):
        for nothing in (np.nan, np.inf, -np.inf):
            monkeypatch.setattr(f"{module}.{name}", lambda *_, value=nothing: value)
            with pytest.raises(ValueError, match="finite number"):
                verify(plain(), posed(PLAIN), proof=kind)


def test_unknown_proofs_and_proofs_that_do_not_apply() -> None:
    with pytest.raises(ValueError, match="expected proof"):
        verify(plain(), posed(PLAIN), proof="magic")
    large = MarkovTask(length=9, context=10)
    bare = certify(pose(large), time_limit=0.0)
    for kind in ("rational", "interval"):
        with pytest.raises(ValueError, match="moments in fractions"):
            verify(bare, large, proof=kind)
    assert verify(bare, large).proof == "float"


def test_a_quadratic_is_what_its_file_says_and_a_task_is_not_negative() -> None:
    moments = posed(PLAIN).moments
    given = Moments(moments.H, moments.h, moments.y2 - 1, moments.blocks, moments.dimension, "given")
    found = certify(given)
    assert found.task is None
    assert found.lower < 0  # a quadratic may be negative
    assert "quadratic itself" in verify(found).reason
    with pytest.raises(ValueError, match="neither"):
        verify(replace(found, moments=None))


def test_estimates_are_never_certified() -> None:
    task = MarkovTask(length=2, context=10, initial=StationaryStart())
    found = certify(task)
    assert found.status == verify(found).status == "estimate"
    assert found.moment_error is None
    assert found.moments is not None
    assert "estimate" in verify(found).reason
    assert verify(replace(found, status="certified")).status == "estimate"
    with pytest.raises(ValueError, match="estimated moments beside a task"):
        verify(replace(found, moments=None))
    sampled = certify(MarkovTask(states=4, length=4, context=10), time_limit=1.0)
    assert sampled.status == "estimate"


def test_tolerance_is_a_share_of_the_answers_size() -> None:
    for scale in (F(1, 10**6), F(1), F(10**6)):
        found = certify(MarkovTask(length=3, context=10, values=(0, scale)))
        assert found.status == "certified"
        assert found.lower / float(scale) ** 2 == pytest.approx(plain().lower, rel=1e-12)
    y2 = posed(PLAIN).moments.y2
    assert y2 == 0.5  # so that the next quotient is exact, and the gap as large as may be
    found = verify(plain(), posed(PLAIN))
    equal = (found.upper - found.lower) / y2
    assert F(equal) * F(y2) == F(found.upper) - F(found.lower)
    assert verify(replace(plain(), tolerance=equal), posed(PLAIN)).status == "certified"
    assert verify(replace(plain(), tolerance=float(np.nextafter(equal, 0))), posed(PLAIN)).status == "bound"
    gap = plain().gap / y2
    assert verify(replace(plain(), tolerance=1.01 * gap), posed(PLAIN)).status == "certified"
    assert verify(replace(plain(), tolerance=0.99 * gap), posed(PLAIN)).status == "bound"


def test_a_task_that_is_predicted_without_loss_is_certified() -> None:
    from markov_icl.tasks.kernels import fixed_kernel

    cycle = fixed_kernel([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    found = certify(MarkovTask(states=3, length=3, context=2, bias=True, prior=cycle), time_limit=20.0)
    assert found.status == "certified"
    assert 0 <= found.lower <= found.upper < 1e-9


def test_regression_is_certified_and_proved() -> None:
    found = certify(RegressionTask(2, 10))
    assert found.status == "certified"
    assert found.lower <= 6 / 13 <= found.upper  # d (d + 1) / (n + d + 1)
    large = certify(RegressionTask(7, 20), time_limit=30.0)
    assert large.verified == "float"
    assert large.lower <= 56 / 28 <= large.upper
