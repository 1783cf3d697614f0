"""The best one-layer loss with a proof: sums-of-squares bounds, closed by branching on ``b``."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from markov_icl.landscape.realizable import in_gauge
from markov_icl.memory import DEFAULT_MEMORY_GB, require
from markov_icl.moments.problem import Posed, Problem, pose
from markov_icl.moments.system import Moments
from markov_icl.progress import Progress, shown
from markov_icl.recovery.certificate.attained import attained
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.lift import Lift, lift, unvec
from markov_icl.recovery.certificate.verify import Verified, leaf_bound, proofs, verify
from markov_icl.recovery.solver.branch import Bound, Node, Search, SearchOptions
from markov_icl.recovery.solver.null_products import exact_kernel
from markov_icl.recovery.solver.singular import SingularSearch
from markov_icl.tasks.spec import task_to_dict
from markov_icl.threads import blas_threads

__all__ = ["certify", "require_memory"]

_MATRICES = 30
"""Matrices of order ``N`` alive at once; measured 29 at ``d = 12``."""
_GRACE = 0.5
"""Seconds past the limit in which a proof may still be mended or made in fractions."""
_RATIONAL_SECONDS = 3e-8
"""A leaf of order ``N`` is proved in fractions in about this times ``N^4`` seconds: 0.003 at 18, 0.16 at 48."""
_MARGIN = 1e-12
"""Share of ``E y^2``. Bounds of the same file under four BLAS kernels differed by 1e-14 of it at most."""


def certify(
    problem: Problem | Posed,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    progress: Progress = False,
    seed: int = 0,
    method: str = "barrier",
    most_nodes: int = 10_000,
    memory: float = DEFAULT_MEMORY_GB,
    trace: list[Bound] | None = None,
) -> Certificate:
    """Find the best one-layer loss over all ``(b, A)`` and prove how good it is.

    A time limit, or Ctrl-C, ends the search early with the valid bound reached so far.

    Args:
        problem: a task, or the quadratic ``f~`` as moments; any ``J >= 1``, ``D >= 2``.
        tolerance: gap to reach, as a share of ``E y^2``.
        time_limit: seconds; None for none.
        progress: see :mod:`markov_icl.progress`; the share is that of the gap's decades already closed.
        seed: of the random starts and of the rounding.
        method: ``barrier``, or ``clarabel`` (small sizes, regular ``H``, first level only; needs the extra ``sdp``).
        most_nodes: nodes of the tree.
        memory: refuse a proof that needs more, in gigabytes.
        trace: every better bound is appended, in units of :attr:`markov_icl.moments.problem.Posed.scale`; not verified.

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
    lifted = _checked(posed.moments)
    with blas_threads(lifted.size), shown(progress, "certify") as tell:
        deadline = np.inf if time_limit is None else began + time_limit
        absolute = tolerance * abs(posed.moments.y2)
        options = SearchOptions(absolute, began, deadline, tell, seed, most_nodes, [] if trace is None else trace)
        search = _search(lifted, posed, options)
        if method == "barrier":
            search.run()
        elif isinstance(search, SingularSearch):
            raise ValueError("expected H positive definite for method clarabel; got a singular one (use barrier)")
        else:
            search.solve_conic()
        # The search polishes roughly and often; this once the parameters go down to the last digit.
        search.incumbent.offer(search.incumbent.b, search.incumbent.a, sweeps=1, steps=100)
        return _verified(search, posed, tolerance)


def require_memory(size: int, memory: float) -> None:
    """Refuse a proof with matrices of order ``size = J D^2`` that would not fit.

    Raises:
        ValueError: with the memory that it needs.
    """
    require(_MATRICES * 8 * size**2 / 1e9, memory, f"a proof with matrices of order {size:,}")


def _checked(dense: Moments) -> Lift:
    """Return the loss in product coordinates if it is one."""
    if not dense.H.any():
        raise ValueError(
            f"expected a query that is not always 0; got H = 0, where every loss is E y^2 = {dense.y2:.10g}"
        )
    lifted = lift(dense)
    least = float(np.linalg.eigvalsh(dense.H)[0])
    if not least >= -1e-10 * float(np.trace(dense.H)):  # rounding of sums over nodes reaches 1e-13
        raise ValueError(f"expected H positive semidefinite; got eigenvalue {least:.3g}")
    return lifted


def _search(lifted: Lift, posed: Posed, options: SearchOptions) -> Search:
    """Return the search for regular or for singular ``H``; where it looks singular, fractions decide."""
    exact = None if posed.given is None else exact_kernel(posed.given)
    if exact is None or not exact.shape[1]:
        try:
            return Search(lifted, options)
        except np.linalg.LinAlgError:
            exact = None if posed.exact is None else exact_kernel(posed.exact)
    return SingularSearch(lifted, options, exact)


def _verified(search: Search, posed: Posed, tolerance: float) -> Certificate:
    """Return the certificate with the bound that :func:`verify` proves in place of the solver's."""
    deadline, leaves = search.options.deadline + _GRACE, [node.leaf for node in search.ordered()]
    seconds = _RATIONAL_SECONDS * search.lifted.size**4 * len(leaves)
    proof = "auto" if time.monotonic() + seconds <= deadline else "float"
    certificate = _certificate(search, posed, tolerance, leaves)
    try:
        verdict = verify(certificate, posed, proof)
    except ValueError:
        try:
            leaves = [_settled(search, posed, node, deadline) for node in search.ordered()]
            certificate = replace(certificate, leaves=tuple(leaves))
            verdict = verify(certificate, posed, proof)
        except ValueError:
            # Where floats prove nothing, fractions still prove the first bound.
            certificate = replace(certificate, leaves=(search.safe,), cones=certificate.cones[:0], nodes=1)
            verdict = _first_bound(certificate, posed)
            certificate = replace(certificate, leaves=certificate.leaves[: verdict.leaves])
    # Another machine rounds otherwise: ends from floats are stated a little weaker than they are proved here.
    margin = _MARGIN * abs(posed.moments.y2) * float(posed.scale) if verdict.proof == "float" else 0.0
    lower = verdict.lower - margin
    if posed.task is not None and posed.proved:
        lower = max(lower, 0.0)
    return replace(
        certificate,
        upper=verdict.upper + margin,
        lower=lower,
        status=verdict.status,
        verified=verdict.proof,
        moment_error=verdict.moment_error,
        seconds=time.monotonic() - search.options.began,
    )


def _first_bound(certificate: Certificate, posed: Posed) -> Verified:
    """Return what the tree's first leaf proves, and for a task at the worst that a squared loss is not negative."""
    try:
        return verify(certificate, posed)
    except ValueError:
        if posed.task is not None and posed.proved:
            return verify(replace(certificate, leaves=()), posed)
        raise ValueError(
            "expected H positive definite, or singular exactly; got one that rounding makes neither "
            "(give the task, or moments in fractions)"
        ) from None


def _certificate(search: Search, posed: Posed, tolerance: float, leaves: list[Leaf]) -> Certificate:
    """Return the tree as a certificate that nobody has verified yet, its parameters in the user's coordinates."""
    D = search.lifted.dimension
    b, A = posed.units.from_whole(search.incumbent.b, unvec(search.incumbent.a, D))
    (b,), (A,) = in_gauge(b[None], A[None])
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
        leaves=tuple(leaves),
        cones=np.stack(search.cones) if search.cones else np.zeros((0, D, D)),
        task=None if posed.task is None else task_to_dict(posed.task),
        moments=posed.moments if kept else None,
    )


def _settled(search: Search, posed: Posed, node: Node, deadline: float) -> Leaf:
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
        if _provable(search, posed, mixed):
            return mixed
        if time.monotonic() > deadline:
            break
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
