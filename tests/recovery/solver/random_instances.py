"""Certify random quadratics and hold every verified bound against feasible values.

Run: ``python -m tests.recovery.solver.random_instances 10000`` from the repository root.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from markov_icl.features import phi
from markov_icl.recovery.solver.certify import certify
from tests.recovery.search.quadratics import random_moments


def excess(seed: int, points: int = 20) -> tuple[float, float]:
    """Return the verified bound minus the smallest feasible value seen, and the certified gap."""
    moments = random_moments(seed)
    certificate = certify(moments, tolerance=1e-5, most_nodes=15, seed=seed)
    rng = np.random.default_rng(seed + 10**6)
    values = [moments.loss(phi(certificate.b, certificate.A))]
    for _ in range(points):
        b = rng.standard_normal(moments.dimension)
        A = rng.standard_normal((moments.dimension, moments.blocks))
        values.append(moments.loss(phi(b, A)))
        mixed = phi(certificate.b + 1e-3 * b, certificate.A + 1e-3 * A)
        values.append(moments.loss(mixed))
    return certificate.lower - min(values), certificate.gap / moments.y2


def main(count: int) -> int:
    """Run ``count`` instances and print how many bounds were above a feasible value."""
    began, worst, wrong, closed = time.monotonic(), -np.inf, 0, 0
    for seed in range(count):
        over, gap = excess(seed)
        worst, wrong, closed = max(worst, over), wrong + (over > 0), closed + (gap <= 1e-5)
        if over > 0 or seed % 500 == 499:
            print(
                f"{seed + 1} instances, {wrong} wrong, {closed} closed, largest excess {worst:.2e}, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
