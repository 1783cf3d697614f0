from __future__ import annotations

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest

from markov_icl.features import phi
from markov_icl.moments.system import Moments
from markov_icl.recovery.certificate.lift import antisymmetric, lift, pack, partial_transpose, unpack, unvec, vec
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver import branch as module
from markov_icl.recovery.solver.barrier import TimeUp
from markov_icl.recovery.solver.branch import Bound
from markov_icl.recovery.solver.certify import certify
from tests.recovery.search.quadratics import chain_moments, cycle_blocks, nearest_moments, random_moments
from tests.recovery.solver.random_instances import excess

# theory.md section 5 and the tables of certify.md
BEST = [
    (1, 100, 0.5, 0.3364292773),
    (2, 100, 0.5, 0.2347244554),
    (3, 100, 0.5, 0.2099710363),
    (4, 100, 0.5, 0.1990923572),
    (5, 100, 0.5, 0.1917262404),
    (2, 10, 0.5, 0.2546047767),
    (3, 10, 0.5, 0.2322094974),
    (4, 10, 0.5, 0.2201852550),
    (1, 1, 0.5, 0.4111289240),
    (2, 1, 0.5, 0.3406091582),
    (3, 1, 0.5, 0.3154052679),
]


@pytest.mark.parametrize(("d", "context", "p", "best"), BEST)
def test_known_values(d: int, context: int, p: float, best: float) -> None:
    certificate = certify(chain_moments(d, context, p))
    assert certificate.status == "certified"
    assert certificate.verified == "float"
    assert certificate.lower <= best + 1e-10
    assert certificate.gap <= 1e-6
    assert certificate.upper == pytest.approx(best, abs=2e-10)


@pytest.mark.parametrize(("d", "most"), [(2, 15), (3, 41)])
def test_loose_first_level_is_closed_by_branching(d: int, most: int) -> None:
    certificate = certify(chain_moments(d, 50, 0.99))
    assert certificate.status == "certified"
    assert 3 <= certificate.nodes <= most
    assert certificate.nodes == 2 * len(certificate.leaves) - 1
    if d == 2:
        assert certificate.upper == pytest.approx(0.1777922743, abs=1e-9)


@pytest.mark.parametrize("seed", range(300))
def test_no_bound_lies_above_a_feasible_value(seed: int) -> None:
    over, _ = excess(seed)
    assert over <= 0


@pytest.mark.slow
def test_ten_thousand_random_instances() -> None:
    assert all(excess(seed)[0] <= 0 for seed in range(10_000))


@pytest.mark.parametrize(("J", "D"), [(1, 2), (2, 3), (3, 2), (4, 3)])
def test_lift_reproduces_the_loss(J: int, D: int) -> None:
    rng = np.random.default_rng(0)
    size = J * D * (D + 1) // 2
    H = rng.standard_normal((size, size))
    moments = Moments(H + H.T, rng.standard_normal(size), 1.3, J, D, "sampled")
    b, A = rng.standard_normal(D), rng.standard_normal((D, J))
    lifted = lift(moments)
    assert lifted.loss(b, vec(A)) == pytest.approx(moments.loss(phi(b, A)), rel=1e-13)
    assert np.array_equal(unvec(vec(A), D), A)


def test_projection_and_packing_are_exact() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((18, 18))
    Z = antisymmetric(X + X.T, 3)
    assert np.array_equal(partial_transpose(Z, 3), -Z)
    assert np.array_equal(unpack(pack(Z, 3), 2, 3), Z)
    w = np.outer(rng.standard_normal(3), rng.standard_normal(6)).ravel()
    assert abs(w @ Z @ w) < 1e-13


@pytest.mark.parametrize("seed", range(4))
def test_clarabel_agrees_with_the_barrier_method(seed: int) -> None:
    pytest.importorskip("clarabel")
    moments = random_moments(7 * seed + 2)
    ours = certify(moments, tolerance=1e-7, most_nodes=1)
    theirs = certify(moments, tolerance=1e-7, method="clarabel")
    assert ours.lower == pytest.approx(theirs.lower, abs=2e-6 * moments.y2)


def test_clarabel_agrees_where_the_first_level_is_loose() -> None:
    pytest.importorskip("clarabel")
    moments = chain_moments(2, 50, 0.99)
    level = certify(moments, method="clarabel")
    assert level.status == "bound"
    assert level.lower == pytest.approx(0.1776263, abs=2e-6)


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.3])
def test_time_limit_returns_a_valid_bound(limit: float) -> None:
    moments = chain_moments(5, 100)
    began = time.monotonic()
    certificate = certify(moments, time_limit=limit)
    assert time.monotonic() - began < limit + 3
    assert certificate.verified == "float"
    assert certificate.lower <= 0.19172624044


def test_interrupt_returns_a_valid_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = chain_moments(3, 50, 0.99)
    calls = itertools.count()

    def progress(share: float | None, words: str) -> None:
        if next(calls) == 20:
            raise KeyboardInterrupt

    certificate = certify(moments, progress=progress)
    assert certificate.status == "bound"
    assert 0.16 < certificate.lower <= 0.1694274378
    assert 0 <= verify(certificate).lower - certificate.lower < 1e-11


def test_out_of_time_between_two_children(monkeypatch: pytest.MonkeyPatch) -> None:
    moments, calls, solve = chain_moments(2, 50, 0.99), itertools.count(), module.solve_node

    def third_fails(*arguments: object) -> object:
        if next(calls) == 2:
            raise TimeUp
        return solve(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "solve_node", third_fails)
    certificate = certify(moments)
    assert len(certificate.leaves) == 2
    assert verify(certificate).lower >= 0.1776


def test_progress_reports_rising_bounds() -> None:
    told: list[tuple[float | None, str]] = []
    trace: list[Bound] = []
    certificate = certify(chain_moments(2, 50, 0.99), progress=lambda *one: told.append(one), trace=trace)
    assert [one.lower for one in trace] == sorted(one.lower for one in trace)
    assert [one.upper for one in trace] == sorted((one.upper for one in trace), reverse=True)
    assert len(told) == len(trace)
    assert told[-1][0] == pytest.approx(1, abs=0.05)
    assert told[-1][1] == f"gap {trace[-1].upper - trace[-1].lower:.1e}, {certificate.nodes} nodes"


def test_same_seed_same_certificate() -> None:
    one, two = (certify(chain_moments(3, 10), seed=5) for _ in range(2))
    assert one.lower == two.lower
    assert np.array_equal(one.leaves[0].Z, two.leaves[0].Z)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "positive tolerance"),
        ({"time_limit": -1.0}, "time limit >= 0"),
        ({"method": "magic"}, "method 'barrier' or 'clarabel'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certify(chain_moments(1, 10), **options)  # type: ignore[arg-type]


def test_indefinite_quadratic_is_refused() -> None:
    moments = random_moments(1)
    broken = Moments(-moments.H, moments.h, moments.y2, moments.blocks, moments.dimension, "sampled")
    with pytest.raises(ValueError, match="positive semidefinite"):
        certify(broken)


def test_zero_correlation_is_certified() -> None:
    moments = random_moments(1)
    flat = Moments(moments.H, 0 * moments.h, 0.5, moments.blocks, moments.dimension, "sampled")
    certificate = certify(flat)
    assert certificate.status == "certified"
    assert certificate.upper == pytest.approx(0.5, abs=1e-12)


@pytest.mark.slow
def test_five_cycle_nearest_recovery() -> None:
    certificate = certify(nearest_moments(cycle_blocks(5)), tolerance=1e-3 / 13, time_limit=600.0)
    assert certificate.upper == pytest.approx(13, abs=1e-8)
    assert certificate.status == "certified"


@pytest.mark.parametrize(("d", "tight"), [(1, True), (2, True), (3, False)])
def test_singular_quadratic(d: int, tight: bool) -> None:
    moments = chain_moments(d, 10, 1.0)
    certificate = certify(moments, time_limit=10.0)
    assert certificate.null is not None
    assert certificate.verified in ("float", "interval")  # which one succeeds first depends on the BLAS
    assert -1e-12 <= certificate.gap <= (1e-6 if tight else 3e-3)
    assert "null directions" in verify(certificate, moments).reason


@pytest.mark.slow
@pytest.mark.parametrize(("d", "context", "p", "best"), [(6, 3, 0.7, 0.2331142207), (5, 50, 0.99, 0.1670114616)])
def test_ill_conditioned_tasks(d: int, context: int, p: float, best: float) -> None:
    certificate = certify(chain_moments(d, context, p))
    assert certificate.status == "certified"
    assert certificate.upper == pytest.approx(best, abs=2e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "context", "p", "best", "seconds"),
    [
        (6, 100, 0.5, 0.1873013855, 10),
        (8, 100, 0.5, 0.1813237969, 30),
        (10, 100, 0.5, 0.1774694138, 90),
        (10, 10, 0.5, 0.1948702645, 90),
        (10, 1, 0.5, 0.2726055553, 90),
        (10, 20, 0.3, 0.1870588794, 90),
        (12, 100, 0.5, 0.1749653360, 400),
    ],
)
def test_long_chains(d: int, context: int, p: float, best: float, seconds: float) -> None:
    certificate = certify(chain_moments(d, context, p))
    assert certificate.status == "certified"
    assert certificate.upper == pytest.approx(best, abs=1e-9)
    assert certificate.seconds < seconds


def test_verify_never_imports_the_solver() -> None:
    code = (
        "import sys, markov_icl.recovery.certificate.verify;"
        "bad = [m for m in sys.modules if m == 'torch' or m.startswith('markov_icl.recovery.solver')];"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
