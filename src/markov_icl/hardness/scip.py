"""Global optimization by SCIP, through pyscipopt (extra ``global``).

Spatial branch and bound needs bounded unknowns: without them SCIP ends with status ``optimal`` at values that are
too low, because a violation of ``1e-6`` may stand beside numbers of ``1e9``. So every program is solved in a box
that the caller proves large enough, and what comes back is the best value inside it.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from markov_icl.features import to_symmetric
from markov_icl.hardness.program import BilinearProgram, Entry, Expansion

__all__ = ["GlobalNearest", "GlobalSolution", "Stop", "nearest_globally", "require_scip", "solve"]

DEFAULT_MEMORY_GB = 4.0
Status = Literal["optimal", "infeasible", "unbounded", "enough", "limit", "failed"]

_ATTEMPTS = 3
"""Random seeds tried where SCIP's linear programs break down."""
_NAMES: dict[str, Status] = {
    "optimal": "optimal",
    "gaplimit": "optimal",
    "infeasible": "infeasible",
    "unbounded": "unbounded",
    "inforunbd": "unbounded",
    "primallimit": "enough",
    "duallimit": "enough",
}


@dataclass(frozen=True)
class Stop:
    """When bounds are good enough to end early.

    Attributes:
        above: end when the dual bound reaches this.
        below: end when a feasible value is at most this.
    """

    above: float
    below: float


@dataclass(frozen=True, eq=False)
class GlobalSolution:
    """What SCIP found inside the box; floating point, so never a proof by itself.

    Attributes:
        status: ``optimal``, ``infeasible``, ``unbounded``, ``enough`` (a :class:`Stop` was met), ``limit``
            (time, memory or an interrupt), or ``failed`` (its linear programs broke down; ``dual`` is then
            minus infinity).
        primal: objective at ``(b, A)``, evaluated from the program's data; infinite without a point.
        dual: SCIP's lower bound on the objective in the box; infinite if infeasible.
        b: ``[D]``; None without a point.
        A: ``[D, d]``.
        violation: largest violation of a constraint at ``(b, A)``; nan without a point.
        nodes: of the branch and bound tree.
        seconds: building the model included.
    """

    status: Status
    primal: float
    dual: float
    b: Float[np.ndarray, "D"] | None
    A: Float[np.ndarray, "D d"] | None
    violation: float
    nodes: int
    seconds: float


def require_scip() -> Any:
    """Return the module ``pyscipopt``.

    Raises:
        ValueError: with the extra to install, if it is missing.
    """
    try:
        import pyscipopt
    except ImportError:
        raise ValueError(
            "expected pyscipopt, which solves programs to global optimality; got no such package "
            "(install the extra: pip install 'markov-icl[global]')"
        ) from None
    return pyscipopt


def solve(
    program: BilinearProgram,
    box: float | Mapping[Entry, float],
    time_limit: float | None = None,
    memory: float = DEFAULT_MEMORY_GB,
    stop: Stop | None = None,
) -> GlobalSolution:
    """Minimize the program's objective, or find a feasible point, over free entries within ``[-box, box]``.

    Args:
        program: an instance of Problem C.10 or C.11.
        box: positive; one bound for all free entries, or one for each.
        time_limit: seconds; None for none.
        memory: SCIP's limit, in gigabytes.
        stop: bounds at which to end early.

    Raises:
        ValueError: for a box or limit out of range, or without pyscipopt.
    """
    scip = require_scip()
    began = time.monotonic()
    bounds = {entry: float(box if isinstance(box, int | float) else box[entry]) for entry in program.free}
    if not all(0 < bound < 1e15 for bound in bounds.values()):
        raise ValueError("expected a positive box for every free entry, below 1e15; got another")
    status: Status = "failed"
    _check_limits(time_limit, memory)
    for attempt in range(_ATTEMPTS):
        left = None if time_limit is None else max(time_limit - (time.monotonic() - began), 0.0)
        model = _model(scip, left, memory, stop, attempt)
        variables = _build(scip, model, program, bounds)
        status = "infeasible" if variables is None else _optimize(model)
        if status != "failed":
            break
    return _solution(model, status, program, variables, began)


def _build(scip: Any, model: Any, program: BilinearProgram, bounds: Mapping[Entry, float]) -> dict[Entry, Any] | None:
    """Add the program to the model and return its variables; None if a constraint without unknowns is violated."""
    variables = {
        entry: model.addVar(lb=0.0 if entry in program.nonnegative else -bound, ub=bound)
        for entry, bound in bounds.items()
    }
    for one in program.constraints:
        left, right = _expression(scip, program.expand(one.form), variables), float(one.right)
        if isinstance(left, float):
            if (left != right) if one.sense == "=" else left > right:
                return None
        else:
            model.addCons(left == right if one.sense == "=" else left <= right)
    if program.objective is not None:
        value = model.addVar(lb=None)
        model.addCons(_expression(scip, program.expand(program.objective), variables) <= value)
        model.setObjective(value, "minimize")
    return variables


def _check_limits(time_limit: float | None, memory: float) -> None:
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"expected a time limit >= 0; got {time_limit}")
    if not memory > 0:
        raise ValueError(f"expected a positive memory limit; got {memory}")


def _model(scip: Any, time_limit: float | None, memory: float, stop: Stop | None = None, seed: int = 0) -> Any:
    model = scip.Model()
    model.redirectOutput()  # errors too; what reaches Python is dropped in _optimize
    model.hideOutput()
    model.setParam("limits/memory", min(memory * 1000.0, 1e9))
    model.setParam("randomization/randomseedshift", seed)
    if time_limit is not None:
        model.setParam("limits/time", min(time_limit, 1e15))
    if stop is not None:
        model.setParam("limits/dual", stop.above)
        model.setParam("limits/primal", stop.below)
    return model


def _expression(scip: Any, form: Expansion, variables: Mapping[Entry, Any]) -> Any:
    """Return the form in SCIP's variables, or a number where it has no free entry."""
    terms = [float(c) * variables[e] for e, c in form.linear.items() if c]
    terms += [float(c) * variables[e] * variables[f] for (e, f), c in form.products.items() if c]
    return scip.quicksum(terms) + float(form.constant) if terms else float(form.constant)


def _optimize(model: Any) -> Status:
    """Run SCIP without a word on any stream and return how it ended."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            model.optimize()
        except Exception as error:  # pyscipopt raises nothing more specific
            if not str(error).startswith("SCIP:"):
                raise
            return "failed"
    return _NAMES.get(model.getStatus(), "limit")


def _bound(model: Any, value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= model.infinity() else float(value)


def _solution(
    model: Any, status: Status, program: BilinearProgram, variables: Mapping[Entry, Any] | None, began: float
) -> GlobalSolution:
    b = A = None
    primal, violation = math.inf, math.nan
    if variables is None:
        return GlobalSolution(status, primal, math.inf, b, A, violation, 0, time.monotonic() - began)
    unknown = {"infeasible": math.inf, "failed": -math.inf}
    dual = unknown[status] if status in unknown else _bound(model, model.getDualbound())
    if model.getNSols() > 0:
        best = model.getBestSol()
        b, A = program.assemble({entry: best[variable] for entry, variable in variables.items()})
        primal, violation = float(program.value(b, A)), float(program.violation(b, A))
    nodes = int(model.getNTotalNodes())
    return GlobalSolution(status, primal, dual, b, A, violation, nodes, time.monotonic() - began)


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
) -> GlobalNearest:
    """Minimize ``sum_j |M_j - sym(b a_j^T)|_F^2`` over all ``b`` and ``A`` by SCIP.

    With ``A`` eliminated it is ``sum_j |M_j|^2 - 2 |M_j b|^2 + (b^T M_j b)^2`` over unit ``b``.

    Args:
        X: ``[J m]``.
        blocks: ``J``, where ``X`` is not a plain task's.
        time_limit: seconds; None for none.
        memory: SCIP's limit, in gigabytes.

    Raises:
        ValueError: for a malformed shape or limit, or without pyscipopt.
    """
    scip = require_scip()
    began = time.monotonic()
    M = np.asarray(to_symmetric(np.asarray(X, dtype=float), blocks), dtype=float)
    size, square = float((M**2).sum()), np.einsum("jik,jkl->il", M, M)
    _check_limits(time_limit, memory)
    model = _model(scip, time_limit, memory)
    b = [model.addVar(lb=-1.0, ub=1.0) for _ in range(M.shape[1])]
    model.addCons(_quadratic(scip, np.eye(len(b)), b) == 1)
    forms = []
    for block in M:
        reach = float(np.abs(np.linalg.eigvalsh(block)).max())
        forms.append(model.addVar(lb=-reach, ub=reach))
        if reach > 0:
            model.addCons(_quadratic(scip, block, b) == forms[-1])
    value = model.addVar(lb=0.0, ub=size)
    model.addCons(size - 2 * _quadratic(scip, square, b) + scip.quicksum(q * q for q in forms) <= value)
    model.setObjective(value, "minimize")
    ended = _optimize(model)
    status: Literal["optimal", "limit"] = "optimal" if ended == "optimal" else "limit"
    dual = 0.0 if ended == "failed" else max(_bound(model, model.getDualbound()), 0.0)
    nodes = int(model.getNTotalNodes())
    if model.getNSols() == 0:
        return GlobalNearest("limit", math.inf, dual, None, nodes, time.monotonic() - began)
    best = model.getBestSol()
    u = np.array([best[v] for v in b])
    u /= np.linalg.norm(u)
    P = np.eye(len(u)) - np.outer(u, u)
    return GlobalNearest(status, float(((P @ M @ P) ** 2).sum()), dual, u, nodes, time.monotonic() - began)


def _quadratic(scip: Any, matrix: Float[np.ndarray, "D D"], b: list[Any]) -> Any:
    pairs = [(i, k) for i in range(len(b)) for k in range(i + 1) if matrix[i, k] != 0]
    return scip.quicksum(float(matrix[i, k]) * (1 + (i != k)) * b[i] * b[k] for i, k in pairs)
