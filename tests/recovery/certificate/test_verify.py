from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import flint
import numpy as np
import pytest

from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.floating_bound import smallest_eigenvalue_bound
from markov_icl.recovery.certificate.verify import covers, verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask
from tests.recovery.search.quadratics import chain_moments


@pytest.fixture(scope="module")
def moments() -> Moments:
    return chain_moments(2, 50, 0.99)


@pytest.fixture(scope="module")
def tree(moments: Moments) -> Certificate:
    certificate = certify(moments)
    assert len(certificate.leaves) >= 3
    return certificate


def rational_copy(moments: Moments) -> RationalMoments:
    """The floating-point moments taken as exact numbers."""

    def exact(value: float) -> flint.fmpq:
        fraction = Fraction(float(value))
        return flint.fmpq(fraction.numerator, fraction.denominator)

    size = moments.size
    H = flint.fmpq_mat(size, size, [exact(e) for e in moments.H.ravel()])
    h = flint.fmpq_mat(size, 1, [exact(e) for e in moments.h])
    return RationalMoments(H, h, exact(moments.y2), moments.blocks, moments.dimension, "enumeration")


@pytest.mark.parametrize("d", [1, 2, 3])
def test_three_proofs_agree(d: int) -> None:
    moments = chain_moments(d, 100)
    exact = rational_copy(moments)
    certificate = certify(exact)
    assert certificate.verified == "rational"
    rational = verify(certificate, exact)
    floating, interval = (verify(certificate, moments, proof=kind) for kind in ("float", "interval"))
    assert rational.proof == "rational"
    assert rational.lower - 1e-9 < floating.lower <= rational.lower
    assert rational.lower - 1e-9 < interval.lower <= rational.lower


def test_branch_tree_in_rationals(moments: Moments, tree: Certificate) -> None:
    rational = verify(tree, rational_copy(moments))
    assert rational.proof == "rational"
    assert tree.lower <= rational.lower <= tree.lower + 1e-9
    assert rational.gap <= 1e-6


@pytest.mark.parametrize("with_task", [False, True])
def test_file_round_trip(tmp_path: Path, moments: Moments, with_task: bool) -> None:
    task = {"length": 3, "context": 50} if with_task else None
    certificate = certify(moments, task=task)
    certificate.save(tmp_path / "a.certificate")
    loaded = Certificate.load(tmp_path / "a.certificate")
    assert [path.name for path in tmp_path.iterdir()] == ["a.certificate"]
    assert (loaded.lower, loaded.upper, loaded.status) == (certificate.lower, certificate.upper, "certified")
    assert loaded.task == task
    if with_task:
        with pytest.raises(ValueError, match="another task"):
            verify(loaded)  # the header's task, computed afresh, is not the one that was certified
    assert verify(loaded, moments if with_task else None).lower == certificate.lower


def test_every_altered_byte_is_refused(tmp_path: Path, tree: Certificate) -> None:
    path = tmp_path / "a.certificate"
    tree.save(path)
    good = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(good), 200):
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << (at % 8)
        path.write_bytes(bytes(spoiled))
        with pytest.raises(ValueError, match="expected") as error:
            Certificate.load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, -1])
def test_truncated_file_is_refused(tmp_path: Path, tree: Certificate, keep: float) -> None:
    path = tmp_path / "a.certificate"
    tree.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="expected"):
        Certificate.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a certificate file"):
        Certificate.load(tmp_path / "none")


def spoil_leaf(tree: Certificate, **changes: object) -> Certificate:
    first, *rest = tree.leaves
    return replace(tree, leaves=(replace(first, **changes), *rest))


def raised(array: np.ndarray, amount: float) -> np.ndarray:
    out = array.copy()
    out.ravel()[np.argmax(np.abs(out))] += amount
    return out


SPOILED = {
    "Z": lambda t: spoil_leaf(t, Z=raised(t.leaves[0].Z, 1.0)),
    "Z not finite": lambda t: spoil_leaf(t, Z=t.leaves[0].Z * np.nan),
    "S not semidefinite": lambda t: spoil_leaf(t, S=tuple(-s for s in t.leaves[0].S)),
    "S not symmetric": lambda t: spoil_leaf(t, S=tuple(s + np.triu(s, 1) for s in t.leaves[0].S)),
    "S missing": lambda t: spoil_leaf(t, S=t.leaves[0].S[1:]),
    "cone": lambda t: replace(t, cones=t.cones[:, ::-1, ::-1] * 2),
    "cone not symmetric": lambda t: replace(t, cones=t.cones + np.triu(np.ones(t.cones.shape[1:]), 1)),
    "no cones": lambda t: replace(t, cones=t.cones[:0]),
    "missing leaf": lambda t: replace(t, leaves=t.leaves[1:]),
    "doubled leaf": lambda t: replace(t, leaves=(*t.leaves, t.leaves[0])),
    "no leaves": lambda t: replace(t, leaves=()),
    "sign": lambda t: spoil_leaf(t, path=tuple((c, -s) for c, s in t.leaves[0].path)),
    "sign zero": lambda t: spoil_leaf(t, path=tuple((c, 0) for c, _ in t.leaves[0].path)),
    "upper": lambda t: replace(t, upper=t.upper - 1e-4),
    "lower": lambda t: replace(t, lower=t.lower + 1e-6),
    "b": lambda t: replace(t, b=raised(t.b, 0.1)),
    "A": lambda t: replace(t, A=raised(t.A, 0.1)),
    "shape": lambda t: replace(t, A=t.A[:, :1]),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_certificates_are_refused(name: str, moments: Moments, tree: Certificate) -> None:
    spoiled = SPOILED[name](tree)
    with pytest.raises(ValueError, match="expected") as error:
        verify(spoiled, moments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("other", [(2, 50, 0.98), (2, 51, 0.99), (3, 50, 0.99)])
def test_another_task_is_refused(other: tuple[int, int, float], tree: Certificate) -> None:
    with pytest.raises(ValueError, match="expected"):
        verify(tree, chain_moments(*other))


def test_coverage() -> None:
    a, b = ((0, 1),), ((0, -1),)
    assert covers([()])
    assert covers([a, b])
    assert covers([(*a, (1, 1)), (*a, (1, -1)), b])
    assert not covers([])
    assert not covers([a])
    assert not covers([a, a, b])
    assert not covers([(*a, (1, 1)), b])
    assert not covers([(*a, (1, 1)), (*a, (2, -1)), b])
    assert not covers([(), a, b])


@pytest.mark.parametrize("exponent", range(-12, 1, 2))
def test_eigenvalue_bound_is_below_the_truth(exponent: int) -> None:
    rng = np.random.default_rng(exponent + 20)
    n = 40
    G = flint.fmpq_mat(n, n, [flint.fmpq(int(v)) for v in rng.integers(-9, 10, n * n)])
    square = G * G.transpose()
    M = np.array([float(Fraction(int(e.p), int(e.q))) for e in square.entries()]).reshape(n, n)
    M[np.diag_indices(n)] += 10.0**exponent
    bound = smallest_eigenvalue_bound(M, None)
    assert bound <= np.linalg.eigvalsh(M)[0] + 1e-9


def test_a_matrix_just_indefinite_is_never_accepted() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        V = np.linalg.qr(rng.standard_normal((12, 12)))[0]
        M = (V * np.concatenate([[-1e-14], rng.uniform(0.5, 2, 11)])) @ V.T
        M = (M + M.T) / 2
        try:
            bound = smallest_eigenvalue_bound(M, None)
        except ValueError:
            continue
        assert bound < 0


def test_leaf_holds_what_it_is_given() -> None:
    leaf = Leaf(((0, 1),), np.zeros((1, 1)), (np.eye(2),))
    assert leaf.path == ((0, 1),)


def test_no_rounding_lifts_a_rational_bound_above_the_loss_it_bounds() -> None:
    for task in (MarkovTask(bias=True), MarkovTask(length=2, values=(-1, 1)), MarkovTask(length=3)):
        verdict = verify(certify(task))
        assert verdict.proof == "rational"
        assert verdict.lower <= verdict.upper
