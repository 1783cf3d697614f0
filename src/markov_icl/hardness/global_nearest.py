"""Nearest recovery to global optimality by SCIP: the generic way, for a handful of blocks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from markov_icl.features import to_symmetric
from markov_icl.hardness.scip import as_bound, check_limits, new_model, require_scip, run_scip
from markov_icl.memory import DEFAULT_MEMORY_GB

__all__ = ["GlobalNearest", "nearest_globally"]


@dataclass(frozen=True, eq=False)
class GlobalNearest:
    """Nearest recovery by SCIP.

    Attributes:
        status: ``optimal`` or ``limit``.
        primal: squared distance at ``b``; infinite without a point.
        dual: SCIP's lower bound on the squared distance.
        b: of unit length, ``[D]``; None without a point.
        nodes: of the branch and bound tree.
        seconds: building the model included.
    """

    status: Literal["optimal", "limit"]
    primal: float
    dual: float
    b: Float[np.ndarray, "D"] | None
    nodes: int
    seconds: float


def nearest_globally(
    X: Float[np.ndarray, " N"],
    blocks: int | None = None,
    time_limit: float | None = None,
    memory: float = DEFAULT_MEMORY_GB,
    nodes: int | None = None,
) -> GlobalNearest:
    """Minimize ``sum_j |M_j - sym(b a_j^T)|_F^2`` over all ``b`` and ``A`` by SCIP.

    With ``A`` eliminated it is ``sum_j |M_j|^2 - 2 |M_j b|^2 + (b^T M_j b)^2`` over unit ``b``.

    Args:
        X: ``[J m]``.
        blocks: ``J``, where ``X`` is not a plain task's.
        time_limit: seconds; None for none.
        memory: SCIP's limit, in gigabytes.
        nodes: limit of the branch and bound tree; None for none.

    Raises:
        ValueError: for a malformed shape or limit, or without pyscipopt.
    """
    scip = require_scip()
    began = time.monotonic()
    M = np.asarray(to_symmetric(np.asarray(X, dtype=float), blocks), dtype=float)
    size, square = float((M**2).sum()), np.einsum("jik,jkl->il", M, M)
    check_limits(time_limit, memory)
    # The formula's fourth power enters as q_j = b^T M_j b, bounded by the spectrum of M_j: SCIP branches on quadratics.
    model = new_model(scip, time_limit, memory, nodes=nodes)
    b = [model.addVar(lb=-1.0, ub=1.0) for _ in range(M.shape[1])]
    model.addCons(_quadratic(scip, np.eye(len(b)), b) == 1)
    forms = []
    for block in M:
        reach = float(np.abs(np.linalg.eigvalsh(block)).max())
        forms.append(model.addVar(lb=-reach, ub=reach))
        if reach > 0:
            model.addCons(_quadratic(scip, block, b) == forms[-1])
    # SCIP's objective is linear, so the distance becomes a variable that the constraint holds up.
    value = model.addVar(lb=0.0, ub=size)
    model.addCons(size - 2 * _quadratic(scip, square, b) + scip.quicksum(q * q for q in forms) <= value)
    model.setObjective(value, "minimize")
    ended = run_scip(model)
    status: Literal["optimal", "limit"] = "optimal" if ended == "optimal" else "limit"
    dual = 0.0 if ended == "failed" else max(as_bound(model, model.getDualbound()), 0.0)
    visited = int(model.getNTotalNodes())
    if model.getNSols() == 0:
        return GlobalNearest("limit", math.inf, dual, None, visited, time.monotonic() - began)
    # SCIP's point has |b| = 1 to a tolerance only: the distance is computed anew at the point scaled to length one.
    best = model.getBestSol()
    u = np.array([best[v] for v in b])
    u /= np.linalg.norm(u)
    P = np.eye(len(u)) - np.outer(u, u)
    return GlobalNearest(status, float(((P @ M @ P) ** 2).sum()), dual, u, visited, time.monotonic() - began)


def _quadratic(scip: Any, matrix: Float[np.ndarray, "D D"], b: list[Any]) -> Any:
    pairs = [(i, k) for i in range(len(b)) for k in range(i + 1) if matrix[i, k] != 0]
    return scip.quicksum(float(matrix[i, k]) * (1 + (i != k)) * b[i] * b[k] for i, k in pairs)
