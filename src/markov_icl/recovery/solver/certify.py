"""The best one-layer loss with a proof: sums-of-squares bounds, closed by branching on ``b``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.moments.problem import Posed, Problem, pose
from markov_icl.recovery.certificate.attained import attained
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.lift import Lift, lift, unvec
from markov_icl.recovery.certificate.verify import leaf_bound, proofs, verify
from markov_icl.recovery.solver.branch import Node, Progress, Search
from markov_icl.recovery.solver.singular import SingularSearch
from markov_icl.tasks.spec import task_to_dict
from markov_icl.threads import blas_threads

__all__ = ["Progress", "certify", "require_memory"]

_MARGIN = 1e-12
"""Share of ``E y^2``. Bounds of the same file under four BLAS kernels differed by 1e-14 of it at most."""
_MATRICES = 30
"""Matrices of order ``N`` alive at once; measured 29 at ``d = 12``."""


def certify(
    problem: Problem | Posed,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    memory: float = DEFAULT_MEMORY_GB,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        problem: a task, or the quadratic ``f~`` as moments; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, as a share of ``E y^2``.
        time_limit: seconds; None for none.
        progress: called with ``(lower, upper, nodes, seconds)`` at every better bound; not yet verified.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
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
    posed = pose(problem, memory)
    moments = posed.moments
    if not moments.H.any():
        raise ValueError(
            f"expected a query that is not always 0; got H = 0, where every loss is E y^2 = {moments.y2:.10g}"
        )
    lifted = lift(moments)
    least = float(np.linalg.eigvalsh(moments.H)[0])
    if not least >= -1e-10 * float(np.trace(moments.H)):
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    absolute = tolerance * abs(moments.y2)
    with blas_threads(lifted.size):
        search = _search(lifted, absolute, began, time_limit, progress, seed, most_nodes)
        if method == "barrier" or isinstance(search, SingularSearch):
            search.run()
        else:
            search.solve_conic()
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        return _verified(_certificate(search, posed, tolerance), search, posed, began)


def _certificate(search: Search, posed: Posed, tolerance: float) -> Certificate:
    """Return the tree as a certificate that nobody has verified yet, its parameters in the user's coordinates."""
    D = search.lifted.dimension
    b, A = posed.units.from_whole(search.incumbent.b, unvec(search.incumbent.a, D))
    kept = posed.task is None or not posed.proved
    return Certificate(
        upper=attained(posed, b, A, exactly=posed.given is not None),
        lower=-np.finfo(float).max,
        status="bound",
        verified=None,
        nodes=search.nodes,
        b=b,
        A=A,
        seconds=0.0,
        tolerance=tolerance,
        leaves=tuple(node.leaf for node in search.ordered()),
        cones=np.stack(search.cones) if search.cones else np.zeros((0, D, D)),
        task=None if posed.task is None else task_to_dict(posed.task),
        moments=posed.moments if kept else None,
    )


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
        return SingularSearch(lifted, *options)


def _verified(certificate: Certificate, search: Search, posed: Posed, began: float) -> Certificate:
    """Return the certificate with the bound that :func:`verify` proves in place of the solver's."""
    try:
        verdict = verify(certificate, posed)
    except ValueError:
        leaves = tuple(_settled(search, posed, node) for node in search.ordered())
        certificate = replace(certificate, leaves=leaves)
        verdict = verify(certificate, posed)
    # Another machine rounds otherwise: the ends are stated a little weaker than they are proved here.
    margin = _MARGIN * abs(posed.moments.y2) * float(posed.scale) if verdict.proof == "float" else 0.0
    lower = verdict.lower - margin if posed.task is None else max(verdict.lower - margin, 0.0)
    return replace(
        certificate,
        upper=verdict.upper + margin,
        lower=lower,
        status=verdict.status,
        verified=verdict.proof,
        moment_error=verdict.moment_error,
        seconds=time.monotonic() - began,
    )


def _settled(search: Search, posed: Posed, node: Node) -> Leaf:
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
        if _provable(search, posed, mixed):
            return mixed
    last = Leaf(leaf.path, search.safe.Z, zeros, search.safe.null)
    if _provable(search, posed, last):
        return last
    raise ValueError("expected H positive definite enough to prove a bound; got one that is not")


def _provable(search: Search, posed: Posed, leaf: Leaf) -> bool:
    for kind in proofs(posed, search.lifted.size):
        try:
            leaf_bound(posed, leaf, np.array(search.cones), kind)
        except ValueError:
            continue
        return True
    return False
