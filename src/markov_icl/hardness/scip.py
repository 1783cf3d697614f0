"""Global optimization by SCIP, through pyscipopt (extra ``global``).

Spatial branch and bound needs bounded unknowns: without them SCIP ends with status ``optimal`` at values that are
too low, because a violation of ``1e-6`` may stand beside numbers of ``1e9``. So every program is solved in a box
that the caller proves large enough, and what comes back is the best value inside it.
"""

from __future__ import annotations

import io
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from markov_icl.hardness.program import BilinearProgram, Entry, Expansion
from markov_icl.memory import DEFAULT_MEMORY_GB

__all__ = [
    "GlobalSolution",
    "Stop",
    "as_bound",
    "check_limits",
    "new_model",
    "require_scip",
    "run_scip",
    "solve",
]

SolverStatus = Literal["optimal", "infeasible", "unbounded", "enough", "limit", "failed"]

_ATTEMPTS = 3
"""Random seeds tried where SCIP's linear programs break down."""
_NAMES: dict[str, SolverStatus] = {
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
            (time, memory, nodes or an interrupt), or ``failed`` (its linear programs broke down; ``dual`` is then
            minus infinity).
        primal: objective at ``(b, A)``, evaluated from the program's data; infinite without a point.
        dual: SCIP's lower bound on the objective in the box; infinite if infeasible.
        b: ``[D]``; None without a point.
        A: ``[D, d]``.
        violation: largest violation of a constraint at ``(b, A)``; nan without a point.
        nodes: of the branch and bound tree.
        seconds: building the model included.
    """

    status: SolverStatus
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
    nodes: int | None = None,
) -> GlobalSolution:
    """Minimize the program's objective, or find a feasible point, over free entries within ``[-box, box]``.

    Args:
        program: an instance of Problem C.10 or C.11.
        box: positive; one bound for all free entries, or one for each.
        time_limit: seconds; None for none.
        memory: SCIP's limit, in gigabytes.
        stop: bounds at which to end early.
        nodes: limit of the branch and bound tree, which, unlike seconds, ends equal runs at the same place.

    Raises:
        ValueError: for a box or limit out of range, or without pyscipopt.
    """
    scip = require_scip()
    began = time.monotonic()
    bounds = {entry: float(box if isinstance(box, int | float) else box[entry]) for entry in program.free}
    if not all(0 < bound < 1e15 for bound in bounds.values()):
        raise ValueError("expected a positive box for every free entry, below 1e15; got another")
    status: SolverStatus = "failed"
    check_limits(time_limit, memory)
    for attempt in range(_ATTEMPTS):
        left = None if time_limit is None else max(time_limit - (time.monotonic() - began), 0.0)
        model = new_model(scip, left, memory, stop, attempt, nodes)
        variables = _build(scip, model, program, bounds)
        status = "infeasible" if variables is None else run_scip(model)
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


def check_limits(time_limit: float | None, memory: float) -> None:
    """Refuse limits that make no sense.

    Raises:
        ValueError: unless the time limit is None or at least 0 and the memory positive.
    """
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"expected a time limit >= 0; got {time_limit}")
    if not memory > 0:
        raise ValueError(f"expected a positive memory limit; got {memory}")


def new_model(
    scip: Any,
    time_limit: float | None,
    memory: float,
    stop: Stop | None = None,
    seed: int = 0,
    nodes: int | None = None,
) -> Any:
    """Return an empty model that is silent, keeps the limits and lets Ctrl-C through."""
    model = scip.Model()
    model.redirectOutput()  # errors too; what reaches Python is dropped in run_scip
    model.hideOutput()
    model.setParam("limits/memory", min(memory * 1000.0, 1e9))
    model.setParam("misc/catchctrlc", False)
    _listen(scip, model)
    model.setParam("randomization/randomseedshift", seed)
    if time_limit is not None:
        model.setParam("limits/time", min(time_limit, 1e15))
    if nodes is not None:
        model.setParam("limits/totalnodes", nodes)
    if stop is not None:
        model.setParam("limits/dual", stop.above)
        model.setParam("limits/primal", stop.below)
    return model


def _expression(scip: Any, form: Expansion, variables: Mapping[Entry, Any]) -> Any:
    """Return the form in SCIP's variables, or a number where it has no free entry."""
    terms = [float(c) * variables[e] for e, c in form.linear.items() if c]
    terms += [float(c) * variables[e] * variables[f] for (e, f), c in form.products.items() if c]
    return scip.quicksum(terms) + float(form.constant) if terms else float(form.constant)


def run_scip(model: Any) -> SolverStatus:
    """Run SCIP without a word on any stream and return how it ended; Ctrl-C ends it like a limit."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _interruptible(model):
        try:
            model.optimize()
        except Exception as error:  # pyscipopt raises nothing more specific
            if not str(error).startswith("SCIP:"):
                raise
            return "failed"
    return _NAMES.get(model.getStatus(), "limit")


@contextmanager
def _interruptible(model: Any) -> Iterator[None]:
    """Turn Ctrl-C into SCIP's status ``userinterrupt``; SCIP's own handler would write on stdout.

    Python notices signals when it runs, which the listener sees to after every linear program.
    """
    if current_thread() is not main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, lambda *_: model.interruptSolve())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _listen(scip: Any, model: Any) -> None:
    kind = scip.SCIP_EVENTTYPE.LPEVENT

    class Listener(scip.Eventhdlr):  # type: ignore[misc]
        def eventinit(self) -> None:
            self.model.catchEvent(kind, self)

        def eventexit(self) -> None:
            self.model.dropEvent(kind, self)

        def eventexec(self, event: Any) -> None:
            del event

    model.includeEventhdlr(Listener(), "listener", "lets Python notice Ctrl-C")


def as_bound(model: Any, value: float) -> float:
    """Return a bound of SCIP's, whose infinity is 1e20."""
    return math.copysign(math.inf, value) if abs(value) >= model.infinity() else float(value)


def _solution(
    model: Any, status: SolverStatus, program: BilinearProgram, variables: Mapping[Entry, Any] | None, began: float
) -> GlobalSolution:
    b = A = None
    primal, violation = math.inf, math.nan
    if variables is None:
        return GlobalSolution(status, primal, math.inf, b, A, violation, 0, time.monotonic() - began)
    unknown = {"infeasible": math.inf, "failed": -math.inf}
    dual = unknown[status] if status in unknown else as_bound(model, model.getDualbound())
    if model.getNSols() > 0:
        best = model.getBestSol()
        b, A = program.assemble({entry: best[variable] for entry, variable in variables.items()})
        primal, violation = float(program.value(b, A)), float(program.violation(b, A))
    nodes = int(model.getNTotalNodes())
    return GlobalSolution(status, primal, dual, b, A, violation, nodes, time.monotonic() - began)
