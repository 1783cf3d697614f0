"""Check a certificate: this folder, and what it imports, is what a reader has to trust.

Nothing here knows how a certificate was found, and nothing that a file says is believed. ``Z`` is antisymmetric
under the partial transpose by its packing. A leaf is accepted when every ``S_c`` is positive semidefinite and ``M`` is
positive definite outside columns on which it is proved to vanish; the tree when its leaves cover every ``b``. What is
proved, and from what, is said in docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from markov_icl.features import Array
from markov_icl.moments.enclosure import of_exact
from markov_icl.moments.problem import Posed, Problem, pose
from markov_icl.recovery.certificate.attained import attained
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.exact_bound import ball_bound, exact_bound, rounded_down
from markov_icl.recovery.certificate.floating_bound import floating_bound
from markov_icl.recovery.certificate.lift import lift, packed_shape, unpack
from markov_icl.recovery.certificate.null_columns import certificate_vanishes, check_sizes, problem_vanishes
from markov_icl.tasks.spec import task_from_header

__all__ = ["PROOFS", "Verified", "covers", "leaf_bound", "proofs", "verify"]

PROOFS = {
    "rational": "exact LDL^T in fractions",
    "interval": "LDL^T of exact moments in ball arithmetic",
    "float": "floating-point Cholesky with proved residual bounds",
}
_RATIONAL_SIZE, _RATIONAL_BITS = 60, 400
"""``N`` and bits of a moment up to which an ``LDL^T`` in fractions takes about a second."""
_INTERVAL_SIZE = 260
"""``N`` up to which one in ball arithmetic takes some seconds."""
_MATCH = 1e-9
"""Share of ``E y^2`` by which another kind of proof than the certificate's own may prove less than is stated."""


@dataclass(frozen=True)
class Verified:
    """What a check established.

    Attributes:
        lower: proved lower bound on the loss over all ``(b, A)``, in squared states.
        upper: proved upper bound on the loss at the certificate's ``(b, A)``.
        status: ``certified`` if ``upper - lower`` is at most the tolerance times ``E y^2``, else ``bound``;
            ``estimate`` where the task's moments are not proved, so that both ends are about an estimate of it.
        proof: ``rational``, ``interval`` or ``float``.
        moment_error: proved relative error of the moments that the proof allows for; None for an estimate.
        leaves: leaves checked.
        reason: the proof in one line.
    """

    lower: float
    upper: float
    status: str
    proof: str
    moment_error: float | None
    leaves: int
    reason: str

    @property
    def gap(self) -> float:
        """Return ``upper - lower``, in squared states."""
        return self.upper - self.lower


def verify(certificate: Certificate, problem: Problem | Posed | None = None, proof: str = "auto") -> Verified:
    """Prove the certificate's lower bound afresh.

    Args:
        certificate: what is to be checked.
        problem: what it has to be about; if None, the certificate's own task, or, where there is no task, the
            quadratic stored in the certificate.
        proof: ``auto`` (the first that applies and succeeds), ``rational``, ``interval`` or ``float``. Another proof
            than the one that the certificate was made with may prove a little less than is stated there.

    Raises:
        ValueError: one line, if the certificate is refused.
    """
    if proof != "auto" and proof not in PROOFS:
        raise ValueError(f"expected proof 'auto', 'rational', 'interval' or 'float'; got {proof!r:.40}")
    _check_shapes(certificate)
    _check_tree(certificate)
    posed = _posed(certificate, problem)
    size = certificate.dimension**2 * certificate.blocks
    refusal: ValueError | None = None
    for kind in proofs(posed, size, certificate.leaves) if proof == "auto" else [proof]:
        try:
            lowest = _lowest(certificate, posed, kind)
        except ValueError as error:
            refusal = refusal or error
            continue
        slack = _MATCH if proof not in ("auto", certificate.verified) else 0.0
        return _verdict(certificate, posed, kind, lowest, slack)
    assert refusal is not None
    raise refusal


def proofs(posed: Posed, size: int, leaves: Sequence[Leaf] = ()) -> list[str]:
    """Return the proofs worth trying for matrices of order ``size``, in this order."""
    exact = posed.given
    if exact is not None and size <= _RATIONAL_SIZE:
        bits = max(int(entry.q).bit_length() + int(entry.p).bit_length() for entry in exact.H.entries())
        bits = max([bits, *(_spread(array) for leaf in leaves for array in (leaf.Z, *leaf.S))])
        if bits <= _RATIONAL_BITS:
            return ["rational"]
        return ["interval", "rational"] if bits <= 4 * _RATIONAL_BITS else ["interval", "float"]
    return ["float", "interval"] if size <= _INTERVAL_SIZE else ["float"]


def _spread(array: Array) -> int:
    """Return how many bits the common denominator of an array's numbers takes, about."""
    exponents = np.frexp(array[array != 0])[1]
    return int(exponents.max() - exponents.min()) + 53 if len(exponents) else 0


def covers(paths: Sequence[tuple[tuple[int, int], ...]]) -> bool:
    """Return whether the leaves cover every ``b``: each inner node has exactly the children ``C``, ``-C``."""
    waiting = [list(paths)]
    while waiting:
        group = waiting.pop()
        if group == [()]:
            continue
        if not group or any(path == () for path in group):
            return False
        cone = group[0][0][0]
        if any(path[0][0] != cone or path[0][1] not in (-1, 1) for path in group):
            return False
        waiting += [[path[1:] for path in group if path[0][1] == sign] for sign in (1, -1)]
    return True


def leaf_bound(posed: Posed, leaf: Leaf, cones: Array, kind: str) -> float:
    """Return a proved lower bound, in units of ``posed.scale``, where the leaf's cones hold.

    Args:
        posed: the quadratic.
        leaf: in the coordinates of ``posed.moments``.
        cones: the tree's ``C_c``, ``[cones, D, D]``.
        kind: of the proof, a key of :data:`PROOFS`.

    Raises:
        ValueError: if it cannot be proved this way.
    """
    D = posed.moments.dimension
    Z = unpack(leaf.Z, posed.moments.blocks, D)
    signed = [sign * cones[cone] for cone, sign in leaf.path]
    for C, S in zip(signed, leaf.S, strict=True):
        if not (np.array_equal(C, C.T) and np.array_equal(S, S.T)):
            raise ValueError("expected symmetric cones and S; got another matrix")
    if leaf.null is not None:
        check_sizes(leaf.null)
    if leaf.null is not None and not certificate_vanishes(Z, leaf.S, leaf.null):
        raise ValueError("expected Z and S that vanish on the null directions; got others")
    if leaf.null is not None and not problem_vanishes(posed, leaf.null):
        raise ValueError("expected null directions that change no prediction of the task; got others")
    if kind == "float":
        bound = floating_bound(lift(posed.moments), posed.enclosure, Z, signed, leaf.S, leaf.null)
    elif posed.exact is None:
        raise ValueError(f"expected moments in fractions for a proof of kind {kind}; got none that take seconds")
    else:
        bound = (exact_bound if kind == "rational" else ball_bound)(posed.exact, Z, signed, leaf.S, leaf.null)
    if not np.isfinite(bound):
        raise ValueError("expected a bound that is a finite number; got none")
    return bound


def _lowest(certificate: Certificate, posed: Posed, kind: str) -> float:
    """Return the least bound of the leaves; a squared loss is never below 0, whatever they prove, and without any."""
    bounds = [leaf_bound(posed, leaf, certificate.cones, kind) for leaf in certificate.leaves]
    if posed.task is not None and posed.proved:
        return max(min(bounds, default=0.0), 0.0)
    if not bounds:
        raise ValueError("expected at least one leaf; got none")
    return min(bounds)


def _verdict(certificate: Certificate, posed: Posed, kind: str, lowest: float, slack: float) -> Verified:
    """Turn a proved bound into the user's units and compare it with what the certificate states."""
    lower = rounded_down(Fraction(lowest) * posed.scale)
    upper = attained(posed, certificate.b, certificate.A, exactly=kind != "float" or posed.given is not None)
    y2 = abs(float(Fraction(posed.moments.y2) * posed.scale))
    size = max(y2, abs(upper))
    if not upper <= certificate.upper + slack * size:
        raise ValueError(
            f"expected a loss of at most the stated {certificate.upper:.17g} at (b, A); got {upper:.17g}: "
            "another task or altered parameters"
        )
    if not lower >= certificate.lower - slack * size:
        raise ValueError(f"expected a lower bound of {certificate.lower:.17g}; proved only {lower:.17g}")
    if not lower <= upper:
        raise ValueError(f"expected a lower bound of at most the loss {upper:.12g} at (b, A); got {lower:.12g}")
    closed = Fraction(upper) - Fraction(lower) <= Fraction(certificate.tolerance) * Fraction(y2)
    status = "estimate" if not posed.proved else "certified" if closed else "bound"
    error = posed.enclosure.relative if kind == "float" else 0.0
    reason = PROOFS[kind] + _about(posed, error)
    columns = sum(leaf.null.shape[1] for leaf in certificate.leaves if leaf.null is not None)
    if columns:
        reason += f", {columns} null directions proved exact"
    return Verified(lower, upper, status, kind, error if posed.proved else None, len(certificate.leaves), reason)


def _about(posed: Posed, error: float) -> str:
    if not posed.proved:
        return ", of an estimate of the task's moments"
    if posed.task is None:
        return ", of the quadratic itself"
    return f", moments proved within {error:.1e} relative" if error else ", exact moments"


def _posed(certificate: Certificate, problem: Problem | Posed | None) -> Posed:
    """Return what the certificate has to be about, in whole numbers."""
    stored = certificate.moments
    if problem is None and certificate.task is None:
        if stored is None:
            raise ValueError("expected a certificate with a task or with moments; got neither")
        return pose(stored)
    asked = task_from_header(dict(certificate.task or {})) if problem is None else problem
    have, want = (certificate.blocks, certificate.dimension), (asked.blocks, asked.dimension)
    if have != want:
        raise ValueError(f"expected a certificate with (J, D) = {want}; got {have}")
    posed = pose(asked)
    if posed.proved or posed.task is None:
        return posed
    if stored is None:
        raise ValueError("expected the estimated moments beside a task without exact ones; got none")
    return replace(posed, moments=stored, enclosure=of_exact(stored))


def _check_shapes(certificate: Certificate) -> None:
    """Refuse shapes that do not belong together and numbers that are not finite, before anything is computed."""
    J, D = certificate.blocks, certificate.dimension
    m = J * D
    _expect("b", certificate.b, (D,))
    _expect("A", certificate.A, (D, J))
    _expect("cones", certificate.cones, (len(certificate.cones), D, D))
    for leaf in certificate.leaves:
        _expect("Z", leaf.Z, packed_shape(J, D))
        if len(leaf.S) != len(leaf.path):
            raise ValueError(f"expected one S for each of {len(leaf.path)} cones; got {len(leaf.S)}")
        for S in leaf.S:
            _expect("S", S, (m, m))
        if leaf.null is not None:
            _expect("null directions", leaf.null, (D * m, leaf.null.shape[-1] if leaf.null.ndim > 1 else 1))
    if not all(np.isfinite(value) for value in (certificate.upper, certificate.lower, certificate.tolerance)):
        raise ValueError("expected finite bounds and tolerance; got nan or inf")


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float64:
        raise ValueError(f"expected {name} of shape {shape}, float64; got {array.shape}, {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers in {name}; got nan or inf")


def _check_tree(certificate: Certificate) -> None:
    for leaf in certificate.leaves:
        if any(not 0 <= cone < len(certificate.cones) for cone, _ in leaf.path):
            raise ValueError(f"expected cones 0..{len(certificate.cones) - 1} on a path; got {leaf.path[:4]}")
    if certificate.leaves and not covers([leaf.path for leaf in certificate.leaves]):
        raise ValueError("expected leaves whose cones cover every b; got a leaf missing or doubled")
