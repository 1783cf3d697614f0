from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import flint
import numpy as np
import pytest

from markov_icl.features import phi, vech_indices
from markov_icl.landscape.convexity import convexity
from markov_icl.landscape.direct import solve_rational
from markov_icl.moments.compute import compute_moments, rational_moments
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.certificate.certificate import Certificate
from markov_icl.recovery.certificate.lift import lift
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.recovery.solver.null_products import exact_kernel, kernel_of, lifted_kernel, null_directions
from markov_icl.recovery.solver.polish import polish
from markov_icl.tasks.kernels import fixed_kernel
from markov_icl.tasks.prompts import MarkovTask
from tests.recovery.search.quadratics import chain_moments


def cube_moments(seed: int, D: int = 3, J: int = 2) -> Moments:
    """A random quadratic with the null space of columns (1, binary, ...): ``v_i^2 = v_i``, integral entries."""
    rng = np.random.default_rng(seed)
    rows, columns = vech_indices(D)
    merge = np.zeros((len(rows), len(rows)))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        target = np.flatnonzero((rows == 0) & (columns == i))[0] if i == j else k
        merge[target, k] = 1
    merge = np.kron(np.eye(J), merge[merge.any(axis=1)])
    G = rng.integers(-3, 4, (len(merge) + 2, len(merge))).astype(float)
    core = G.T @ G / 8 + np.eye(len(merge)) / 16
    H = merge.T @ core @ merge
    X = rng.integers(-4, 5, H.shape[0]) / 4.0
    h = H @ X
    return Moments(H, h, float(X @ h) + 0.125, J, D, "sampled")


def rational_copy(moments: Moments) -> RationalMoments:
    def exact(value: float) -> flint.fmpq:
        fraction = Fraction(float(value))
        return flint.fmpq(fraction.numerator, fraction.denominator)

    size = moments.size
    H = flint.fmpq_mat(size, size, [exact(e) for e in moments.H.ravel()])
    h = flint.fmpq_mat(size, 1, [exact(e) for e in moments.h])
    return RationalMoments(H, h, exact(moments.y2), moments.blocks, moments.dimension, "enumeration")


@pytest.fixture(scope="module")
def moments() -> Moments:
    return cube_moments(1)


@pytest.fixture(scope="module")
def certificate(moments: Moments) -> Certificate:
    return certify(moments, tolerance=1e-5, time_limit=5.0)


def test_null_directions_of_a_bias_column() -> None:
    lifted = lift(compute_moments(MarkovTask(length=3, context=10, bias=True)))
    kernel = lifted_kernel(lifted)
    found = null_directions(lifted, kernel, lambda: None)
    assert len(found) == 12
    for null in found:
        assert np.abs(lifted.Q @ null.columns).max() < 1e-13
    assert np.abs(lifted.Q @ kernel.columns).max() < 1e-13
    assert np.abs(kernel.root.T @ kernel.root - lifted.Q).max() < 1e-13


@pytest.mark.parametrize("seed", range(8))
def test_no_bound_above_a_feasible_value(seed: int) -> None:
    moments = cube_moments(seed)
    certificate = certify(moments, tolerance=1e-4, time_limit=3.0, most_nodes=31, seed=seed)
    rng = np.random.default_rng(seed)
    lifted = lift(moments)
    for null in null_directions(lifted, lifted_kernel(lifted), lambda: None):
        for size in (1e-1, 1e-2, 1e-3):
            b = null.b + size * rng.standard_normal(len(null.b))
            b, a, loss = polish(lifted, b, np.zeros(lifted.size // len(b)), sweeps=1, steps=3)
            if np.linalg.norm(b) * np.linalg.norm(a) < 100:  # else rounding of the loss shows
                assert certificate.lower <= loss + 1e-11
            A = rng.standard_normal((len(b), moments.blocks))
            assert certificate.lower <= moments.loss(phi(b, A))
    plain = moments.y2 - moments.h @ np.linalg.lstsq(moments.H, moments.h, rcond=1e-11)[0]
    assert certificate.lower >= plain - 1e-9


def test_branches_beat_the_plain_bound(certificate: Certificate, moments: Moments) -> None:
    assert len(certificate.leaves) > 1
    assert verify(certificate, moments).lower >= certificate.lower


def test_null_columns_are_exact(moments: Moments, certificate: Certificate) -> None:
    assert verify(certificate, moments).reason.endswith("null directions proved exact")
    exact = verify(certificate, rational_copy(moments))
    assert exact.proof == "rational"
    assert exact.reason.endswith("proved exact")
    assert certificate.lower <= exact.lower <= certificate.lower + 1e-8
    assert verify(certificate, moments, proof="interval").lower <= exact.lower


def test_other_rational_moments_are_refused(moments: Moments, certificate: Certificate) -> None:
    changed = replace(moments, H=moments.H + np.eye(moments.size) / 1024)
    with pytest.raises(ValueError, match="expected"):
        verify(certificate, rational_copy(changed))


def test_file_round_trip(tmp_path: Path, moments: Moments, certificate: Certificate) -> None:
    certificate.save(tmp_path / "a.certificate")
    loaded = Certificate.load(tmp_path / "a.certificate")
    assert 0 <= verify(loaded, moments).lower - certificate.lower < 1e-10
    for one, other in zip(loaded.leaves, certificate.leaves, strict=True):
        assert (one.null is None) == (other.null is None)


SPOILED = {
    "no null columns": lambda leaf: replace(leaf, null=None),
    "other null columns": lambda leaf: replace(leaf, null=np.roll(leaf.null, 1, axis=0)),
    "doubled null columns": lambda leaf: replace(leaf, null=np.hstack([leaf.null, leaf.null])),
    "wrong shape": lambda leaf: replace(leaf, null=leaf.null[1:]),
    "not finite": lambda leaf: replace(leaf, null=leaf.null * np.nan),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_null_columns_are_refused(name: str, moments: Moments, certificate: Certificate) -> None:
    leaves = tuple(x if x.null is None else SPOILED[name](x) for x in certificate.leaves)
    with pytest.raises(ValueError, match="expected"):
        verify(replace(certificate, leaves=leaves), moments)


def test_certain_start() -> None:
    certificate = certify(chain_moments(2, 10, 1.0))
    assert certificate.status == "certified"


@pytest.mark.slow
def test_bias_column_closes() -> None:
    certificate = certify(compute_moments(MarkovTask(length=3, context=10, bias=True)), time_limit=300.0)
    assert certificate.status == "certified"
    assert certificate.upper == pytest.approx(0.1833394889, abs=1e-9)


def test_the_rank_does_not_depend_on_units() -> None:
    """``D A D`` has the kernel ``D^{-1} ker A``, however far apart the entries of ``D`` are."""
    rng = np.random.default_rng(0)
    G, D = rng.standard_normal((6, 8)), 10.0 ** np.linspace(-6, 3, 8)
    matrix = D[:, None] * (G.T @ G) * D
    kernel, root = kernel_of(matrix, np.sqrt(np.diag(matrix)))
    assert kernel.shape == (8, 2)
    assert np.abs(G @ (D[:, None] * kernel)).max() < 1e-12 * np.abs(D[:, None] * kernel).max()
    assert np.abs((root.T @ root - matrix) / np.outer(D, D)).max() < 1e-12
    regular = matrix + np.diag(D**2)
    assert kernel_of(regular, np.sqrt(np.diag(regular)))[0].shape == (8, 0)


def test_exact_kernels_are_integral_and_hold_exactly() -> None:
    moments = rational_moments(MarkovTask(length=3, context=10, bias=True))
    columns = exact_kernel(moments)
    assert columns is not None
    assert columns.shape[1] == len(convexity(moments).free)
    assert np.array_equal(columns, np.round(columns))
    certificate = certify(moments, time_limit=0.0)
    assert certificate.verified == "rational"
    assert "null directions proved exact" in verify(certificate, moments).reason
    assert exact_kernel(moments.to_float()) is None


def test_nearly_absorbing_chains_are_proved_in_fractions() -> None:
    """At ``1 - 1e-6`` floats see a kernel that is not there; fractions know that ``H`` is positive definite."""
    stay = Fraction(10**6 - 1, 10**6)
    task = MarkovTask(length=3, context=2, prior=fixed_kernel([[stay, 1 - stay], [1 - stay, stay]]))
    moments = rational_moments(task)
    assert not exact_kernel(moments).shape[1]  # type: ignore[union-attr]
    certificate = certify(moments, time_limit=1.0)
    assert certificate.verified == "rational"
    assert certificate.lower <= float(solve_rational(moments).loss) + 1e-15 <= certificate.upper
