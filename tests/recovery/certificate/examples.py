"""Certificates that every test of the checker may take and spoil: made once, never altered."""

from functools import cache

import numpy as np

from markov_icl.moments.problem import Posed, pose
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask, independent_start

KINDS = ("rational", "interval", "float")
PLAIN = MarkovTask(length=3, context=10)
LOOSE = MarkovTask(length=3, context=50, initial=independent_start(["1/100", "99/100"], 2, 1))
BIAS = MarkovTask(length=2, context=10, bias=True)


@cache
def posed(task: MarkovTask) -> Posed:
    return pose(task)


@cache
def plain() -> Certificate:
    """One leaf, no cones, 0.2546047767 attained."""
    return certify(posed(PLAIN))


@cache
def tree() -> Certificate:
    """Several leaves with cones, 0.177792 attained."""
    found = certify(posed(LOOSE))
    assert len(found.leaves) >= 3
    return found


@cache
def biased() -> Certificate:
    """Null directions, the enlarged optimum is reached."""
    found = certify(posed(BIAS))
    assert found.null is not None
    return found


def halves(S: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, tuple[Leaf, ...]]:
    """The cones and leaves of :func:`plain` split by the cone ``b^T b >= 0``, which is everything, with ``S`` there."""
    leaf = plain().leaves[0]
    cones = np.eye(plain().dimension)[None]
    return cones, (Leaf(((0, 1),), leaf.Z, (S,)), Leaf(((0, -1),), leaf.Z, (other,)))
