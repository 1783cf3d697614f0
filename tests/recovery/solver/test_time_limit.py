"""A proof keeps its time limit to within a second, and what it returns then is verified."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from markov_icl.moments.compute import cheapest_exact
from markov_icl.moments.problem import Problem, float_moments
from markov_icl.moments.system import Moments
from markov_icl.recovery.certificate.lift import lift
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.recovery.solver.null_products import lifted_kernel
from markov_icl.tasks.prompts import MarkovTask
from tests.recovery.search.quadratics import chain_moments
from tests.recovery.solver.test_singular import cube_moments


def low_rank(rank: int, D: int = 4, J: int = 3) -> Moments:
    """A quadratic so singular that its null directions fill surfaces."""
    rng = np.random.default_rng(rank)
    size = J * D * (D + 1) // 2
    G, X = rng.integers(-3, 4, (rank, size)).astype(float), rng.integers(-3, 4, size) / 4.0
    H = G.T @ G  # singular in fractions too, not only to rounding
    return Moments(H, H @ X, float(X @ H @ X) + 1.0, J, D, "sampled")


SINGULAR: dict[str, Callable[[], Problem]] = {
    "bias, length 3, fractions": lambda: cheapest_exact(MarkovTask(length=3, context=10, bias=True)),
    "bias, length 4, fractions": lambda: cheapest_exact(MarkovTask(length=4, context=10, bias=True)),
    "bias, length 5": lambda: MarkovTask(length=5, context=10, bias=True),
    "order 225": lambda: cube_moments(1, D=5, J=9),
    "infinitely many null directions": lambda: low_rank(3),
    "a partial trace is singular": lambda: chain_moments(3, 10, 0.0),
    "rank one": lambda: low_rank(1),
}


@pytest.mark.timed
@pytest.mark.parametrize("limit", [0.0, 1.0])
@pytest.mark.parametrize("name", SINGULAR)
def test_singular_quadratics_keep_the_limit(name: str, limit: float) -> None:
    moments = SINGULAR[name]()
    certify(chain_moments(1, 10))  # what is imported at first use is not the proof's time
    began = time.monotonic()
    certificate = certify(moments, time_limit=limit)
    assert time.monotonic() - began < limit + 1.0
    dense = float_moments(moments)
    floor = lifted_kernel(lift(dense)).floor
    assert certificate.lower >= floor - 1e-9 * dense.y2
    assert certificate.lower <= certificate.upper
    assert verify(certificate, moments).lower == pytest.approx(certificate.lower, abs=1e-9 * dense.y2)


@pytest.mark.timed
@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_clarabel_keeps_the_limit(limit: float) -> None:
    pytest.importorskip("clarabel")
    moments = chain_moments(4, 100)
    began = time.monotonic()
    certificate = certify(moments, time_limit=limit, method="clarabel")
    assert time.monotonic() - began < limit + 1.0
    assert certificate.verified == "float"
    assert certificate.lower <= 0.1990923572


def test_clarabel_refuses_a_singular_quadratic() -> None:
    with pytest.raises(ValueError, match="expected H positive definite for method clarabel"):
        certify(chain_moments(2, 10, 1.0), method="clarabel")


def test_a_loss_without_lower_bound_is_refused() -> None:
    moments = low_rank(3)
    tilted = Moments(moments.H, moments.h + 1.0, moments.y2, moments.blocks, moments.dimension, "sampled")
    with pytest.raises(ValueError, match="loss without lower bound"):
        certify(tilted)


def test_a_quadratic_that_is_singular_to_rounding_only_is_no_proof() -> None:
    """Its exact numbers may have a negative eigenvalue: then there is no lower bound, however small that is."""
    rng = np.random.default_rng(5)
    G, X = rng.standard_normal((3, 30)), rng.standard_normal(30)
    H = G.T @ G
    with pytest.raises(ValueError, match="rounding makes neither"):
        certify(Moments(H, H @ X, float(X @ H @ X) + 1.0, 3, 4, "sampled"), time_limit=0.5)
