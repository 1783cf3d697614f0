"""The best one-layer loss with a proof: sums-of-squares bounds, closed by branching on ``b``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.moments.problem import Problem, pose
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.floating_bound import DATA_ERROR, floating_bound
from markov_icl.recovery.certificate.lift import Lift, lift, unpack, unvec
from markov_icl.recovery.certificate.verify import Verified, verify
from markov_icl.recovery.solver.barrier import Incumbent, TimeUp
from markov_icl.recovery.solver.branch import Node, Progress, Search
from markov_icl.recovery.solver.facial import check_bounded, face_bound
from markov_icl.recovery.solver.singular import SingularSearch
from markov_icl.threads import blas_threads

__all__ = ["Progress", "certify", "require_memory"]

_RANDOM_STARTS = 8
_MATRICES = 30
"""Matrices of order ``N`` alive at once; measured 29 at ``d = 12``."""


def certify(
    problem: Problem,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    task: Mapping[str, Any] | None = None,
    memory: float = DEFAULT_MEMORY_GB,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        problem: a task, or the quadratic ``f~`` as moments; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, in squared states.
        time_limit: seconds; None for none.
        progress: called with ``(lower, upper, nodes, seconds)`` at every better bound; not yet verified.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
        task: the task of given moments as plain data, kept in the certificate in place of the moments.

        memory: refuse a proof that needs more, in gigabytes.

    Returns:
        A verified certificate.

    Raises:
        ValueError: if the arguments do not make sense or ``H`` is not positive semidefinite.
    """
    if not 0 < tolerance < np.inf:
        raise ValueError(f"expected a positive tolerance, finite; got {tolerance}")
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"expected a time limit >= 0; got {time_limit}")
    if method not in ("barrier", "clarabel"):
        raise ValueError(f"expected method 'barrier' or 'clarabel'; got {method!r}")
    began = time.monotonic()
    require_memory(problem.blocks * problem.dimension**2, memory)
    moments, header = pose(problem)
    task = header if task is None else task
    dense = moments.to_float() if isinstance(moments, RationalMoments) else moments
    if not dense.H.any():
        raise ValueError(
            f"expected a query that is not always 0; got H = 0, where every loss is E y^2 = {dense.y2:.10g}"
        )
    lifted = lift(dense)
    least = float(np.linalg.eigvalsh(dense.H)[0])
    if least < -1e-10 * float(np.trace(dense.H)):
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    with blas_threads(lifted.size):
        try:
            search = _search(lifted, tolerance, began, time_limit, progress, seed, most_nodes)
        except (np.linalg.LinAlgError, TimeUp):
            return _singular(lifted, moments, dense, tolerance, began, time_limit, seed, task)
        if method == "barrier" or isinstance(search, SingularSearch):
            search.run()
        else:
            search.solve_conic()
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        certificate = search.certificate(dense, task)
        return _verified(certificate, search, moments, began)


def require_memory(size: int, memory: float) -> None:
    """Refuse a proof with matrices of order ``size = J D^2`` that would not fit.

    Raises:
        ValueError: with the memory that it needs.
    """
    require(_MATRICES * 8 * size**2 / 1e9, memory, f"a proof with matrices of order {size:,}")


def _search(lifted: Lift, *options: Any) -> Search:
    """Return the search for regular or for singular ``H``, with the options of :class:`Search`."""
    try:
        return Search(lifted, *options)
    except np.linalg.LinAlgError:
        check_bounded(lifted)
        return SingularSearch(lifted, *options)


def _verified(
    certificate: Certificate, search: Search, moments: Moments | RationalMoments, began: float
) -> Certificate:
    """Return the certificate with the bound that :func:`verify` proves in place of the solver's."""
    try:
        verdict = verify(certificate, moments)
    except ValueError:
        leaves = tuple(_settled(search, node) for node in search.ordered())
        certificate = replace(certificate, leaves=leaves)
        verdict = verify(certificate, moments)
    return _stamped(certificate, verdict, began)


def _stamped(certificate: Certificate, verdict: Verified, began: float) -> Certificate:
    """Return the certificate with the proved bound."""
    status = "certified" if verdict.gap <= certificate.tolerance else "bound"
    return replace(
        certificate,
        upper=verdict.upper,
        lower=verdict.lower,
        status=status,
        verified=verdict.proof,
        seconds=time.monotonic() - began,
    )


def _singular(
    lifted: Lift,
    moments: Moments | RationalMoments,
    dense: Moments,
    tolerance: float,
    began: float,
    time_limit: float | None,
    seed: int,
    task: Mapping[str, Any] | None,
) -> Certificate:
    """Return the first level's certificate for singular ``H``, without branching."""
    deadline = np.inf if time_limit is None else began + time_limit

    def check() -> None:
        if time.monotonic() > deadline:
            raise KeyboardInterrupt

    rng = np.random.default_rng(seed)
    D, m = lifted.dimension, lifted.size // lifted.dimension
    incumbent = Incumbent(lifted, np.eye(D)[0], np.zeros(m), lifted.y2)
    for _ in range(8 * _RANDOM_STARTS):
        incumbent.offer(rng.standard_normal(D), np.zeros(m), sweeps=30, steps=30)
    null, Z, lower = face_bound(lifted, lambda: incumbent.loss, 0.1 * tolerance, check)
    certificate = Certificate(
        upper=incumbent.loss,
        lower=lower,
        status="bound",
        verified=None,
        nodes=1,
        b=incumbent.b,
        A=unvec(incumbent.a, D),
        seconds=0.0,
        tolerance=tolerance,
        leaves=(Leaf((), Z, (), null),),
        cones=np.zeros((0, D, D)),
        task=task,
        moments=dense if task is None else None,
    )
    return _stamped(certificate, verify(certificate, moments), began)


def _settled(search: Search, node: Node) -> Leaf:
    """Return the leaf mixed with a better conditioned iterate, as little as makes it provable.

    The loss is at most ``theta (gamma - gamma_anchor)``. The strictly feasible start is the last resort.
    """
    leaf = node.leaf
    zeros = tuple(np.zeros_like(s) for s in leaf.S)
    anchor = search.leaf_of(leaf.path, node.warm) if node.ready else leaf
    anchor_S = (*anchor.S, *zeros[len(anchor.S) :])
    same = leaf.null is anchor.null or (
        leaf.null is not None and anchor.null is not None and np.array_equal(leaf.null, anchor.null)
    )
    for theta in (0.0, *(10.0 ** (k / 2) for k in range(-24, 1))) if same else (0.0,):
        Z = (1 - theta) * leaf.Z + theta * anchor.Z
        S = tuple((1 - theta) * s + theta * t for s, t in zip(leaf.S, anchor_S, strict=True))
        mixed = Leaf(leaf.path, Z, S, leaf.null)
        if _provable(search, mixed):
            return mixed
    last = Leaf(leaf.path, search.safe.Z, zeros, search.safe.null)
    if _provable(search, last):
        return last
    raise ValueError("expected H positive definite enough to prove a bound; got one that is not")


def _provable(search: Search, leaf: Leaf) -> bool:
    lifted = search.lifted
    signed = [sign * search.cones[cone] for cone, sign in leaf.path]
    try:
        Z = unpack(leaf.Z, lifted.blocks, lifted.dimension)
        floating_bound(lifted, Z, signed, leaf.S, DATA_ERROR, leaf.null)
    except ValueError:
        return False
    return True
