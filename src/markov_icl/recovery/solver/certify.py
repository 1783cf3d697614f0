"""The best one-layer loss with a proof: sums-of-squares bounds, closed by branching on ``b``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from markov_icl.moments.compute import DEFAULT_MEMORY_GB
from markov_icl.moments.problem import Problem, pose
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.progress import Progress, shown
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.floating_bound import DATA_ERROR, floating_bound
from markov_icl.recovery.certificate.lift import Lift, lift, unpack
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.branch import Bound, Node, Search, SearchOptions
from markov_icl.recovery.solver.null_products import exact_kernel
from markov_icl.recovery.solver.singular import SingularSearch
from markov_icl.threads import blas_threads

__all__ = ["certify", "require_memory"]

_MATRICES = 30
"""Matrices of order ``N`` alive at once; measured 29 at ``d = 12``."""
_GRACE = 0.5
"""Seconds past the limit in which a proof may still be mended or made in fractions."""
_RATIONAL_SECONDS = 3e-8
"""A leaf of order ``N`` is proved in fractions in about this times ``N^4`` seconds: 0.003 at 18, 0.16 at 48."""
_FRACTIONS_UP_TO = 120
"""Largest order proved in fractions where floats prove nothing: 12 s at 100."""


def certify(
    problem: Problem,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress = False,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    task: Mapping[str, Any] | None = None,
    memory: float = DEFAULT_MEMORY_GB,
    trace: list[Bound] | None = None,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        problem: a task, or the quadratic ``f~`` as moments; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, in squared states.
        time_limit: seconds; None for none.
        progress: see :mod:`markov_icl.progress`; the share is that of the gap's decades already closed.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, regular ``H``, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
        task: the task of given moments as plain data, kept in the certificate in place of the moments.
        memory: refuse a proof that needs more, in gigabytes.
        trace: every better bound is appended; not yet verified.

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
    dense = moments.to_float()
    lifted = _checked(dense)
    with blas_threads(lifted.size), shown(progress, "certify") as tell:
        deadline = np.inf if time_limit is None else began + time_limit
        options = SearchOptions(tolerance, began, deadline, tell, seed, most_nodes, [] if trace is None else trace)
        search = _search(lifted, moments, options)
        if method == "barrier":
            search.run()
        elif isinstance(search, SingularSearch):
            raise ValueError("expected H positive definite for method clarabel; got a singular one (use barrier)")
        else:
            search.solve_conic()
        # The search polishes roughly and often; this once the parameters go down to the last digit.
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        return _verified(search, moments, dense, task)


def require_memory(size: int, memory: float) -> None:
    """Refuse a proof with matrices of order ``size = J D^2`` that would not fit.

    Raises:
        ValueError: with the memory that it needs.
    """
    needed = _MATRICES * 8 * size**2 / 1e9
    if not needed <= memory:
        raise ValueError(
            f"expected a proof within {memory:g} GB; got matrices of order {size}, about {needed:.3g} GB in all "
            "(use a shorter length, or allow more memory)"
        )


def _checked(dense: Moments) -> Lift:
    """Return the loss in product coordinates if it is one."""
    if not dense.H.any():
        raise ValueError(
            f"expected a query that is not always 0; got H = 0, where every loss is E y^2 = {dense.y2:.10g}"
        )
    lifted = lift(dense)
    least = float(np.linalg.eigvalsh(dense.H)[0])
    if least < -1e-10 * float(np.trace(dense.H)):  # rounding of sums over nodes reaches 1e-13
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    return lifted


def _search(lifted: Lift, moments: Moments | RationalMoments, options: SearchOptions) -> Search:
    """Return the search for regular or for singular ``H``."""
    exact = exact_kernel(moments)
    if exact is None or not exact.shape[1]:
        try:
            return Search(lifted, options)
        except np.linalg.LinAlgError:
            pass
    return SingularSearch(lifted, options, exact)


def _verified(
    search: Search, moments: Moments | RationalMoments, dense: Moments, task: Mapping[str, Any] | None
) -> Certificate:
    """Return the certificate with the bound that :func:`verify` proves in place of the solver's."""
    deadline, leaves = search.options.deadline + _GRACE, [node.leaf for node in search.ordered()]
    seconds = _RATIONAL_SECONDS * search.lifted.size**4 * len(leaves)
    proof = "auto" if time.monotonic() + seconds <= deadline else "float"
    certificate = search.certificate(dense, task, leaves)
    try:
        verdict = verify(certificate, moments, proof)
    except ValueError:
        try:
            leaves = [_settled(search, node, deadline) for node in search.ordered()]
            certificate = replace(certificate, leaves=tuple(leaves))
            verdict = verify(certificate, moments, proof)
        except ValueError:
            if moments is dense or search.lifted.size > _FRACTIONS_UP_TO or np.isfinite(deadline):
                raise
            # Where floats prove nothing, fractions still prove the first bound.
            certificate = replace(certificate, leaves=(search.safe,), cones=certificate.cones[:0], nodes=1)
            verdict = verify(certificate, moments, "rational")
    return replace(
        certificate,
        upper=verdict.upper,
        lower=verdict.lower,
        status="certified" if verdict.gap <= certificate.tolerance else "bound",
        verified=verdict.proof,
        seconds=time.monotonic() - search.options.began,
    )


def _settled(search: Search, node: Node, deadline: float) -> Leaf:
    """Return the leaf mixed with a better conditioned iterate, as little as makes it provable.

    The loss is at most ``theta (gamma - gamma_anchor)``. The strictly feasible start is the last resort, and the
    next try once the time is up.
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
        if time.monotonic() > deadline:
            break
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
