"""Alternating linear programs: the classical heuristic for bilinear programs, which often ends too high."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.optimize import linprog

from markov_icl.hardness.program import BilinearProgram, Entry

__all__ = ["Alternation", "alternate"]

_MOST_ROUNDS = 100
"""A guard only: every round lowers the objective at a vertex, so a start ends by itself."""


@dataclass(frozen=True, eq=False)
class Alternation:
    """Where every start ended: upper bounds, never proofs.

    Attributes:
        values: final objective of each start, infinite where a linear program failed, ``[starts]``.
        b: best point, ``[D]``; None if every start failed.
        A: ``[D, d]``.
        rounds: linear programs solved.
        seconds: time spent.
    """

    values: Float[np.ndarray, " starts"]
    b: Float[np.ndarray, "D"] | None
    A: Float[np.ndarray, "D d"] | None
    rounds: int
    seconds: float

    def reached(self, value: float, tolerance: float = 1e-6) -> int:
        """Return how many starts ended at most ``tolerance`` above ``value``."""
        return int((self.values <= value + tolerance).sum())


def alternate(
    program: BilinearProgram, starts: int = 20, seed: int = 0, time_limit: float | None = None
) -> Alternation:
    """Minimize over one factor of the objective's products with the other fixed, in turn, until nothing improves.

    Each step is a linear program (HiGHS). A start is the optimum of a random positive cost on the factors.

    Args:
        program: of the form of Problem C.11, products of free entries only in the objective.
        starts: number of random starts.
        seed: of the random costs.
        time_limit: seconds after which no further start is made; at least one is.

    Raises:
        ValueError: if a constraint has products, there is no objective, or ``starts < 1``.

    Source: Bennett & Mangasarian (1993), the uncoupled bilinear program algorithm.
    """
    if program.objective is None or any(program.expand(c.form).products for c in program.constraints):
        raise ValueError("expected an objective and products of free entries nowhere else; got another program")
    if starts < 1:
        raise ValueError(f"expected starts >= 1; got {starts}")
    began = time.monotonic()
    polyhedron = _Polyhedron(program)
    rng = np.random.default_rng(seed)
    best: tuple[float, dict[Entry, float] | None] = (np.inf, None)
    values = []
    for start in range(starts):
        if start and time_limit is not None and time.monotonic() - began > time_limit:
            break
        value, point = polyhedron.alternate(rng)
        values.append(value)
        if value < best[0]:
            best = (value, point)
    b, A = (None, None) if best[1] is None else program.assemble(best[1])
    return Alternation(np.array(values), b, A, polyhedron.solved, time.monotonic() - began)


class _Polyhedron:
    """The linear constraints as sparse arrays, and the objective's products."""

    def __init__(self, program: BilinearProgram) -> None:
        self.entries = program.free
        self.place = {entry: i for i, entry in enumerate(self.entries)}
        self.bounds = [(0, None) if entry in program.nonnegative else (None, None) for entry in self.entries]
        rows: dict[str, list[tuple[Mapping[Entry, object], float]]] = {"<=": [], "=": []}
        for one in program.constraints:
            form = program.expand(one.form)
            rows[one.sense].append((form.linear, float(one.right - form.constant)))
        self.upper, self.equal = self._matrix(rows["<="]), self._matrix(rows["="])
        assert program.objective is not None
        objective = program.expand(program.objective)
        self.constant = float(objective.constant)
        self.linear = np.zeros(len(self.entries))
        for entry, coefficient in objective.linear.items():
            self.linear[self.place[entry]] = float(coefficient)
        self.products = [(self.place[e], self.place[f], float(c)) for (e, f), c in objective.products.items()]
        self.solved = 0

    def _matrix(self, rows: list[tuple[Mapping[Entry, object], float]]) -> tuple[sp.csr_array, np.ndarray] | None:
        if not rows:
            return None
        table = sp.lil_array((len(rows), len(self.entries)))
        for r, (linear, _) in enumerate(rows):
            for entry, coefficient in linear.items():
                table[r, self.place[entry]] = float(coefficient)  # type: ignore[arg-type]
        return table.tocsr(), np.array([right for _, right in rows])

    def value(self, x: np.ndarray) -> float:
        return float(self.constant + self.linear @ x + sum(c * x[i] * x[k] for i, k, c in self.products))

    def minimize(self, cost: np.ndarray, fixed: dict[int, float]) -> np.ndarray | None:
        """Return a minimizer of ``cost`` with some entries fixed; None if HiGHS finds none."""
        bounds = [(fixed[i], fixed[i]) if i in fixed else bound for i, bound in enumerate(self.bounds)]
        A_ub, b_ub = self.upper or (None, None)
        A_eq, b_eq = self.equal or (None, None)
        found = linprog(  # type: ignore[call-overload]
            cost, A_ub=A_ub, b_ub=b_ub, A_eq=A_eq, b_eq=b_eq, bounds=bounds, method="highs"
        )
        self.solved += 1
        return np.asarray(found.x) if found.status == 0 and found.x is not None else None

    def alternate(self, rng: np.random.Generator) -> tuple[float, dict[Entry, float] | None]:
        cost = np.zeros(len(self.entries))
        factors = sorted({i for pair in self.products for i in pair[:2]})
        cost[factors] = rng.uniform(0.1, 1.0, len(factors))
        x = self.minimize(cost, {})
        if x is None:
            return np.inf, None
        value, idle = self.value(x), 0
        for step in range(_MOST_ROUNDS):
            side = step % 2
            fixed, cost = {}, self.linear.copy()
            for i, k, c in self.products:
                held, moved = (k, i) if side else (i, k)
                fixed[held] = float(x[held])
                cost[moved] += c * x[held]
            y = self.minimize(cost, fixed)
            if y is None or self.value(y) > value - 1e-9 * max(1.0, abs(value)):
                idle += 1
                if idle == 2:
                    break
                continue
            x, value, idle = y, self.value(y), 0
        return value, {entry: float(v) for entry, v in zip(self.entries, x, strict=True)}
