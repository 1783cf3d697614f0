"""A lower bound on the one-layer loss as data: the object that proves it, and its file.

The proof is a tree over ``b``. Every leaf holds the cones on its path, a packed ``Z`` and one ``S_c`` per
cone; ``M = Q - sum_c sign_c C_c (x) S_c + Z`` positive definite and ``S_c`` positive semidefinite make
``y2 - q^T M^{-1} q`` a lower bound where ``sign_c b^T C_c b >= 0`` for all ``c``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from markov_icl.features import Array
from markov_icl.files import atomic
from markov_icl.moments.system import Moments
from markov_icl.recovery.certificate.header import VERSION, Header, read_header
from markov_icl.recovery.certificate.lift import packed_shape

__all__ = ["Certificate", "Leaf"]

_NUMBERS = ("upper", "lower", "tolerance", "seconds")


@dataclass(frozen=True, eq=False)
class Leaf:
    """One leaf of the tree.

    Attributes:
        path: ``(cone, sign)`` from the root down; the leaf's ``b`` have ``sign b^T C b >= 0`` for each.
        Z: independent entries, ``[D (D - 1) / 2, m (m - 1) / 2]`` with ``m = J D``.
        S: one ``[m, m]`` for every step of the path.
        null: columns ``[N, k]`` on which ``M`` and ``q`` are declared to vanish; None where ``M`` is positive
            definite.
    """

    path: tuple[tuple[int, int], ...]
    Z: Float[np.ndarray, "pairs_b pairs_a"]
    S: tuple[Array, ...]
    null: Array | None = None


@dataclass(frozen=True, eq=False)
class Certificate:
    """The best parameters found and a proof of how far from the best possible they can be.

    Attributes:
        upper: proved upper bound on the loss at ``(b, A)``, in squared states.
        lower: proved lower bound on the loss over all ``(b, A)``.
        status: ``certified`` when ``upper - lower <= tolerance * E y^2``, else ``bound``; ``estimate`` where the task's
            moments could only be estimated: then both ends are about the estimate in ``moments``.
        verified: how ``lower`` was proved: ``rational``, ``interval``, ``float``, or None if it was not.
        nodes: nodes of the tree, leaves included.
        b: ``[D]``.
        A: ``[D, J]``.
        seconds: time spent.
        tolerance: the gap asked for, as a share of ``E y^2``.
        leaves: the tree's leaves, in the whole numbers of :mod:`markov_icl.tasks.units`; their paths define the tree.
        cones: the ``C_c``, ``[cones, D, D]``, likewise.
        task: the task as plain data, if it came from one.
        moments: the quadratic itself, if there is no task, or the estimate that the bound is about.
        moment_error: proved relative error of the moments, which the proof allows for; None if nothing is verified.
    """

    upper: float
    lower: float
    status: str
    verified: str | None
    nodes: int
    b: Float[np.ndarray, "D"]
    A: Float[np.ndarray, "D J"]
    seconds: float
    tolerance: float
    leaves: tuple[Leaf, ...]
    cones: Float[np.ndarray, "cones D D"]
    task: Mapping[str, Any] | None = None
    moments: Moments | None = None
    moment_error: float | None = None

    @property
    def gap(self) -> float:
        """Return ``upper - lower``, in squared states."""
        return self.upper - self.lower

    @property
    def null(self) -> Array | None:
        """Return the null columns of all leaves side by side; None if no leaf has any."""
        columns = [leaf.null for leaf in self.leaves if leaf.null is not None]
        return np.hstack(columns) if columns else None

    @property
    def dimension(self) -> int:
        """Return ``D``."""
        return int(self.b.shape[0])

    @property
    def blocks(self) -> int:
        """Return ``J``."""
        return int(self.A.shape[1])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the certificate: tensors, and a JSON header with a SHA-256 over everything.

        The file is written under a temporary name and renamed.
        """
        tensors = _tensors(self)
        header = _header(self)
        header["sha256"] = _digest(header, tensors)
        with atomic(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"certificate": json.dumps(header, sort_keys=True)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificate:
        """Read a certificate written by :meth:`save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is truncated, altered, of another version, or not a certificate.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected a certificate file; got no file at {path}")
        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            text = metadata["certificate"]
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            words = " ".join(str(error).split())
            raise ValueError(f"expected a certificate file; got {type(error).__name__}: {words:.100}") from None
        header, digested = read_header(text)
        if _digest(digested, tensors) != header.sha256:
            raise ValueError("expected contents with the stated SHA-256; got an altered certificate")
        return _build(cls, header, tensors)


def _header(certificate: Certificate) -> dict[str, Any]:
    header: dict[str, Any] = {name: float(getattr(certificate, name)) for name in _NUMBERS}
    header |= {name: int(getattr(certificate, name)) for name in ("blocks", "dimension", "nodes")}
    header |= {name: getattr(certificate, name) for name in ("status", "verified", "moment_error")}
    header["version"] = VERSION
    header["task"] = None if certificate.task is None else dict(certificate.task)
    header["y2"] = None if certificate.moments is None else float(certificate.moments.y2)
    return header


def _tensors(certificate: Certificate) -> dict[str, np.ndarray]:
    m = certificate.blocks * certificate.dimension
    leaves = certificate.leaves
    matrices = [S for leaf in leaves for S in leaf.S]
    steps = [step for leaf in leaves for step in leaf.path]
    out = {
        "b": certificate.b,
        "A": certificate.A,
        "cones": certificate.cones,
        "Z": np.stack([leaf.Z for leaf in leaves]),
        "S": np.stack(matrices) if matrices else np.zeros((0, m, m)),
        "paths": np.array(steps, dtype=np.int64).reshape(-1, 2),
        "depths": np.array([len(leaf.path) for leaf in leaves], dtype=np.int64),
    }
    null = certificate.null
    if null is not None:
        out["null"] = null
        out["null_counts"] = np.array([0 if x.null is None else x.null.shape[1] for x in leaves], dtype=np.int64)
    if certificate.moments is not None:
        out |= {"H": certificate.moments.H, "h": certificate.moments.h}
    return {name: np.ascontiguousarray(value) for name, value in out.items()}


def _digest(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}:{value.dtype.str}:{value.shape};".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _expect(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...], kind: str) -> None:
    if name not in tensors:
        raise ValueError(f"expected a tensor {name}; got none")
    value = tensors[name]
    fits = len(shape) == value.ndim and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if not fits or value.dtype != np.dtype(kind):
        raise ValueError(f"expected {name} of shape {shape} and type {kind}; got {value.shape} {value.dtype}")
    if kind == "float64" and not np.isfinite(value).all():
        raise ValueError(f"expected finite numbers in {name}; got nan or inf")


def _build(cls: type[Certificate], header: Header, tensors: Mapping[str, np.ndarray]) -> Certificate:
    J, D = header.blocks, header.dimension
    m, size = J * D, J * D * (D + 1) // 2
    shapes: dict[str, tuple[tuple[int | None, ...], str]] = {
        "b": ((D,), "float64"),
        "A": ((D, J), "float64"),
        "cones": ((None, D, D), "float64"),
        "Z": ((None, *packed_shape(J, D)), "float64"),
        "S": ((None, m, m), "float64"),
        "paths": ((None, 2), "int64"),
        "depths": ((None,), "int64"),
    }
    if "null" in tensors:
        shapes |= {"null": ((m * D, None), "float64"), "null_counts": ((None,), "int64")}
    if header.y2 is not None:
        shapes |= {"H": ((size, size), "float64"), "h": ((size,), "float64")}
    for name in tensors:
        if name not in shapes:
            raise ValueError(f"expected only the tensors of a certificate; got {name!r:.40}")
    for name, (shape, kind) in shapes.items():
        _expect(tensors, name, shape, kind)
    moments = None
    if header.y2 is not None:
        if not np.array_equal(tensors["H"], tensors["H"].T):
            raise ValueError("expected a symmetric H; got another matrix")
        moments = Moments(tensors["H"], tensors["h"], header.y2, J, D, "given")
    numbers = {name: getattr(header, name) for name in (*_NUMBERS, "status", "verified", "nodes", "moment_error")}
    return cls(
        b=tensors["b"],
        A=tensors["A"],
        leaves=_leaves(tensors),
        cones=tensors["cones"],
        task=header.task,
        moments=moments,
        **numbers,
    )


def _leaves(tensors: Mapping[str, np.ndarray]) -> tuple[Leaf, ...]:
    depths, Z = tensors["depths"], tensors["Z"]
    total = int(depths.sum())
    if len(depths) != len(Z) or (depths < 0).any():
        raise ValueError(f"expected one depth for each of {len(Z)} leaves; got {len(depths)}")
    if total != len(tensors["paths"]) or total != len(tensors["S"]):
        raise ValueError(f"expected {total} steps and S; got {len(tensors['paths'])}, {len(tensors['S'])}")
    nulls = _nulls(tensors, len(Z))
    leaves, at = [], 0
    for depth, z, null in zip(depths, Z, nulls, strict=True):
        steps = tensors["paths"][at : at + depth]
        S = tuple(tensors["S"][at : at + depth])
        leaves.append(Leaf(tuple((int(c), int(s)) for c, s in steps), z, S, null))
        at += int(depth)
    return tuple(leaves)


def _nulls(tensors: Mapping[str, np.ndarray], leaves: int) -> list[Array | None]:
    """Return the null columns of every leaf."""
    if "null" not in tensors:
        return [None] * leaves
    counts, null = tensors["null_counts"], tensors["null"]
    if len(counts) != leaves or (counts < 0).any() or int(counts.sum()) != null.shape[1]:
        raise ValueError(f"expected null counts of {leaves} leaves, {null.shape[1]} in all; got others")
    ends = np.cumsum(counts)
    return [null[:, end - k : end] if k else None for k, end in zip(counts, ends, strict=True)]
