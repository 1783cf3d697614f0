"""From monotone 1-in-3-SAT to Problem C.10 alone: no objective, no signs, no fixed entries, one column of ``A``.

``b_0 a_0 = 1``, ``b_i a_0 = b_0 a_i`` and ``b_i a_i = b_i a_0`` make ``x_i = b_i a_0`` equal to its square, and
``sum_{i in clause} b_i a_0 = 1`` says that exactly one of a clause's three variables is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Literal

import numpy as np

from markov_icl.features import Numbers
from markov_icl.hardness.program import BilinearProgram, Constraint, Entry, Form
from markov_icl.hardness.scip import GlobalSolution, solve
from markov_icl.memory import DEFAULT_MEMORY_GB

__all__ = ["Formula", "Satisfaction", "assignment", "encode", "pull_back", "push_forward", "random_formula", "satisfy"]


@dataclass(frozen=True)
class Formula:
    """A monotone 1-in-3 formula: of each clause's three variables exactly one must be true.

    Attributes:
        variables: their number.
        clauses: three different variables each, zero-based.
    """

    variables: int
    clauses: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        for clause in self.clauses:
            if len(clause) != 3 or len(set(clause)) != 3 or not all(0 <= i < self.variables for i in clause):
                raise ValueError(f"expected three different variables below {self.variables}; got {clause}")

    def holds(self, truth: tuple[bool, ...]) -> bool:
        """Return whether the assignment makes exactly one variable of each clause true."""
        return all(sum(truth[i] for i in clause) == 1 for clause in self.clauses)


def random_formula(variables: int, clauses: int, seed: int = 0) -> Formula:
    """Draw different clauses uniformly.

    Raises:
        ValueError: if there are not that many.
    """
    every = list(combinations(range(variables), 3))
    if not 0 <= clauses <= len(every):
        raise ValueError(f"expected at most {len(every)} clauses over {variables} variables; got {clauses}")
    order = np.random.default_rng(seed).permutation(len(every))
    return Formula(variables, tuple(every[i] for i in order[:clauses]))


def encode(formula: Formula) -> BilinearProgram:
    """Return the instance of Problem C.10, ``d`` = number of variables; ``b_i`` stands in row ``i + 1``."""
    one = Fraction(1)
    constraints = [Constraint("unit", Form(0, ((0, 0, one),)), "=", one)]
    for i in range(1, formula.variables + 1):
        constraints += [
            Constraint(f"tie {i}", Form(0, ((i, 0, one), (0, i, -one))), "="),
            Constraint(f"whole {i}", Form(0, ((i, i, one), (i, 0, -one))), "="),
        ]
    for k, clause in enumerate(formula.clauses, 1):
        constraints.append(Constraint(f"clause {k}", Form(0, tuple((i + 1, 0, one) for i in clause)), "=", one))
    names = {Entry(i): f"b{i}" for i in range(formula.variables + 1)}
    names |= {Entry(i, 0): f"a{i}" for i in range(formula.variables + 1)}
    return BilinearProgram(max(formula.variables, 1), tuple(constraints), names=names)


def push_forward(formula: Formula, truth: tuple[bool, ...]) -> tuple[Numbers, Numbers]:
    """Return ``b``, ``A`` in fractions with ``b_i = a_i = 1`` where true; feasible if the assignment satisfies."""
    values = {Entry(0): 1, Entry(0, 0): 1}
    for i, true in enumerate(truth, 1):
        values |= {Entry(i): int(true), Entry(i, 0): int(true)}
    return encode(formula).assemble(values, exact=True)


def pull_back(formula: Formula, b: Numbers, A: Numbers) -> tuple[bool, ...] | None:
    """Return the assignment ``x_i = b_i a_0``, rounded; None unless it satisfies the formula."""
    truth = tuple(bool(b[i] * A[0, 0] > 0.5) for i in range(1, formula.variables + 1))
    return truth if formula.holds(truth) else None


def assignment(formula: Formula) -> tuple[bool, ...] | None:
    """Return a satisfying assignment by trying true and false in turn, clause by clause; None if there is none."""
    return _extend(formula, {})


def _extend(formula: Formula, known: dict[int, bool]) -> tuple[bool, ...] | None:
    for clause in formula.clauses:
        true = sum(known.get(i, False) for i in clause)
        unknown = [i for i in clause if i not in known]
        if true > 1 or (not unknown and true != 1):
            return None
        if unknown:
            for value in (True, False):
                found = _extend(formula, {**known, unknown[0]: value})
                if found is not None:
                    return found
            return None
    return tuple(known.get(i, False) for i in range(formula.variables))


@dataclass(frozen=True, eq=False)
class Satisfaction:
    """SCIP's verdict on a formula.

    Attributes:
        status: ``satisfiable`` (the assignment was checked), ``unsatisfiable`` (SCIP found the program
            infeasible, in floating point) or ``undecided``.
        truth: the assignment; None unless satisfiable.
        solution: SCIP's result.
    """

    status: Literal["satisfiable", "unsatisfiable", "undecided"]
    truth: tuple[bool, ...] | None
    solution: GlobalSolution


def satisfy(formula: Formula, time_limit: float | None = None, memory: float = DEFAULT_MEMORY_GB) -> Satisfaction:
    """Decide a formula by Problem C.10, solved by SCIP.

    ``(c b, A / c)`` is feasible with ``(b, A)``, so ``b_0 = a_0 = 1`` may be assumed and a box of 1 suffices.

    Raises:
        ValueError: for a limit out of range, or without pyscipopt.
    """
    solution = solve(encode(formula), 1.0, time_limit, memory)
    truth = None if solution.b is None or solution.A is None else pull_back(formula, solution.b, solution.A)
    if truth is not None:
        return Satisfaction("satisfiable", truth, solution)
    return Satisfaction("unsatisfiable" if solution.status == "infeasible" else "undecided", None, solution)
