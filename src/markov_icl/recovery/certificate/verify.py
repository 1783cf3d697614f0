"""Check a certificate: this folder, and what it imports, is what a reader has to trust.

Nothing here knows how a certificate was found. A leaf is accepted when ``Z`` is antisymmetric under
the partial transpose to the last bit, every ``S_c`` is positive semidefinite and ``M`` positive
definite; the tree when its leaves cover every ``b``. Positive definiteness is proved exactly in
rationals, in ball arithmetic, or by a floating-point Cholesky factor whose residual is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from markov_icl.features import phi
from markov_icl.moments.problem import moments_of_header
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.recovery.certificate.certificate import Certificate, Leaf
from markov_icl.recovery.certificate.exact_bound import attained, ball_bound, exact_bound
from markov_icl.recovery.certificate.floating_bound import DATA_ERROR, floating_bound
from markov_icl.recovery.certificate.lift import lift, partial_transpose, unpack
from markov_icl.recovery.certificate.null_columns import certificate_vanishes, moments_vanish

__all__ = ["Verified", "covers", "verify"]

_EXACT_UP_TO = 60
_MATCH = 1e-9


@dataclass(frozen=True)
class Verified:
    """What a check established.

    Attributes:
        lower: rigorous lower bound on the loss over all ``(b, A)``, in squared states.
        upper: the loss at the certificate's ``(b, A)``.
        proof: ``rational``, ``interval`` or ``float``.
        leaves: leaves checked.
        reason: the proof in one line, with what it assumes.
    """

    lower: float
    upper: float
    proof: str
    leaves: int
    reason: str

    @property
    def gap(self) -> float:
        """Return ``upper - lower``, in squared states."""
        return self.upper - self.lower


def verify(
    certificate: Certificate,
    moments: Moments | RationalMoments | None = None,
    proof: str = "auto",
    data_error: float = DATA_ERROR,
) -> Verified:
    """Prove the certificate's lower bound afresh.

    Args:
        certificate: what is to be checked.
        moments: the quadratic it is about; if None, computed afresh from ``certificate.task``, or, where
            there is no task, the quadratic stored in the certificate.
        proof: ``auto`` (rational if the moments are and ``N <= 60``, else float), or one of ``rational``,
            ``interval``, ``float``.
        data_error: relative error allowed in the moments, ``|dH_ij| <= e sqrt(H_ii H_jj)``,
            ``|dh_i| <= e sqrt(y2 H_ii)``, ``|dy2| <= e y2``; rational proofs assume none.

    Raises:
        ValueError: one line, if the certificate is refused.
    """
    if moments is None:
        if certificate.task is not None:
            moments = moments_of_header(dict(certificate.task))
        elif certificate.moments is not None:
            moments = certificate.moments
        else:
            raise ValueError("expected a certificate with a task or with moments; got neither")
    dense = moments.to_float() if isinstance(moments, RationalMoments) else moments
    _check_shapes(certificate, dense)
    kind = _kind(proof, moments, certificate)
    upper = dense.loss(np.asarray(phi(certificate.b, certificate.A), dtype=np.float64))
    if abs(upper - certificate.upper) > _MATCH * max(abs(dense.y2), abs(upper)):
        raise ValueError(
            f"expected the stated upper bound {certificate.upper:.12g} at (b, A); got {upper:.12g}: "
            "another task or altered parameters"
        )
    _check_stored(certificate, dense)
    if not covers([leaf.path for leaf in certificate.leaves]):
        raise ValueError("expected leaves whose cones cover every b; got a leaf missing or doubled")
    lower = min(_leaf_bound(certificate, leaf, moments, dense, kind, data_error) for leaf in certificate.leaves)
    if certificate.verified is not None and lower < certificate.lower - _MATCH * abs(dense.y2):
        raise ValueError(f"expected a lower bound of {certificate.lower:.12g}; proved only {lower:.12g}")
    if isinstance(moments, RationalMoments) and kind == "rational":
        upper = attained(moments, certificate.b, certificate.A)
    reason = _REASONS[kind]
    if kind != "rational":
        reason += f", moments taken to be within {data_error:g} relative"
    reason += _null_reason(certificate, moments)
    return Verified(lower, upper, kind, len(certificate.leaves), reason)


_REASONS = {
    "rational": "exact LDL^T in rationals",
    "interval": "LDL^T in ball arithmetic",
    "float": "floating-point Cholesky with proved residual bounds",
}


def _exact_certificate(certificate: Certificate) -> bool:
    """Return whether every ``Z`` and ``S_c`` vanishes exactly on its leaf's null columns."""
    J, D = certificate.blocks, certificate.dimension
    return all(
        leaf.null is None or certificate_vanishes(unpack(leaf.Z, J, D), leaf.S, leaf.null)
        for leaf in certificate.leaves
    )


def _exact_moments(certificate: Certificate, moments: Moments | RationalMoments) -> bool:
    """Return whether the moments are rational and vanish exactly on all null columns."""
    if not isinstance(moments, RationalMoments):
        return False
    return all(leaf.null is None or moments_vanish(moments, leaf.null) for leaf in certificate.leaves)


def _null_reason(certificate: Certificate, moments: Moments | RationalMoments) -> str:
    """Return what is known about the null columns and what is only assumed."""
    if certificate.null is None:
        return ""
    columns = f", {certificate.null.shape[1]} null directions"
    if not _exact_certificate(certificate):
        return columns + " taken to be exact for H, h and Z"
    if not _exact_moments(certificate, moments):
        return columns + " taken to be exact for H and h"
    return columns + " proved exact"


def covers(paths: Sequence[tuple[tuple[int, int], ...]]) -> bool:
    """Return whether the leaves cover every ``b``: each inner node has exactly the children ``C``, ``-C``."""
    if len(paths) == 1:
        return paths[0] == ()
    if any(path == () for path in paths) or not paths:
        return False
    cone = paths[0][0][0]
    if any(path[0][0] != cone or path[0][1] not in (-1, 1) for path in paths):
        return False
    return all(covers([path[1:] for path in paths if path[0][1] == sign]) for sign in (1, -1))


def _kind(proof: str, moments: Moments | RationalMoments, certificate: Certificate) -> str:
    size = certificate.dimension**2 * certificate.blocks
    exact = isinstance(moments, RationalMoments)
    if certificate.null is not None and exact and (size <= _EXACT_UP_TO or proof == "rational"):
        exact = _exact_certificate(certificate) and _exact_moments(certificate, moments)
    if proof == "auto":
        return "rational" if exact and size <= _EXACT_UP_TO else "float"
    if proof not in _REASONS:
        raise ValueError(f"expected proof 'auto', 'rational', 'interval' or 'float'; got {proof!r}")
    if proof == "rational" and not isinstance(moments, RationalMoments):
        raise ValueError("expected rational moments for a rational proof; got floating-point ones")
    if proof == "rational" and not exact:
        raise ValueError("expected null directions on which M vanishes exactly; got others")
    return proof


def _check_shapes(certificate: Certificate, moments: Moments) -> None:
    have = (certificate.blocks, certificate.dimension)
    want = (moments.blocks, moments.dimension)
    if have != want:
        raise ValueError(f"expected a certificate with (J, D) = {want}; got {have}")
    if not certificate.leaves:
        raise ValueError("expected at least one leaf; got none")
    arrays = [certificate.b, certificate.A, certificate.cones]
    for leaf in certificate.leaves:
        arrays += [leaf.Z, *leaf.S]
        if leaf.null is not None:
            arrays.append(leaf.null)
            if leaf.null.ndim != 2 or len(leaf.null) != certificate.dimension * certificate.A.size:
                raise ValueError(f"expected null directions [N, k]; got shape {leaf.null.shape}")
        if len(leaf.S) != len(leaf.path):
            raise ValueError(f"expected one S for each of {len(leaf.path)} cones; got {len(leaf.S)}")
        if any(not 0 <= cone < len(certificate.cones) for cone, _ in leaf.path):
            raise ValueError(f"expected cones 0..{len(certificate.cones) - 1} on a path; got {leaf.path}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("expected finite numbers; got nan or inf")


def _check_stored(certificate: Certificate, moments: Moments) -> None:
    stored = certificate.moments
    if stored is None or stored is moments:
        return
    scale = float(np.abs(moments.H).max())
    if (
        float(np.abs(stored.H - moments.H).max()) > _MATCH * scale
        or float(np.abs(stored.h - moments.h).max()) > _MATCH * max(scale, abs(moments.y2))
        or abs(stored.y2 - moments.y2) > _MATCH * abs(moments.y2)
    ):
        raise ValueError("expected the moments the certificate was made for; got another task's")


def _leaf_bound(
    certificate: Certificate,
    leaf: Leaf,
    moments: Moments | RationalMoments,
    dense: Moments,
    kind: str,
    data_error: float,
) -> float:
    D = certificate.dimension
    Z = unpack(leaf.Z, certificate.blocks, D)
    if not (np.array_equal(Z, Z.T) and np.array_equal(partial_transpose(Z, D), -Z)):
        raise ValueError("expected Z antisymmetric under the partial transpose; got another matrix")
    signed = [sign * certificate.cones[cone] for cone, sign in leaf.path]
    for C, S in zip(signed, leaf.S, strict=True):
        if not (np.array_equal(C, C.T) and np.array_equal(S, S.T)):
            raise ValueError("expected symmetric cones and S; got another matrix")
    if kind == "rational" and isinstance(moments, RationalMoments):
        return exact_bound(moments, Z, signed, leaf.S, leaf.null)
    if kind == "interval":
        return ball_bound(lift(dense), Z, signed, leaf.S, data_error, leaf.null)
    return floating_bound(lift(dense), Z, signed, leaf.S, data_error, leaf.null)
