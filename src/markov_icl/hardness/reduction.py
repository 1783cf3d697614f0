"""From bilinear separability to the general class (Example C.13, Theorem C.14), for any sizes.

Bennett & Mangasarian's program is ``min z1.z2`` subject to ``-A'w1 + g1 + 1 <= 0``, ``-A'w2 + g2 + 1 <= 0``,
``B w1 - g1 + 1 <= z1``, ``B w2 - g2 + 1 <= z2``, ``z >= 0``. Its minimum is 0 if two planes separate and at least
4 if none do (docs/hardness.md), so every feasible point with a value below 4 gives two planes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from markov_icl.choices import PLACEMENTS, unknown
from markov_icl.features import Numbers
from markov_icl.hardness.program import BilinearProgram, Constraint, Entry, Form
from markov_icl.hardness.scip import GlobalSolution, Stop, solve
from markov_icl.hardness.separability import Instance, Planes, Separability, planes_along
from markov_icl.memory import DEFAULT_MEMORY_GB

__all__ = [
    "GAP",
    "Decision",
    "Reduction",
    "decide",
    "example",
    "plane_box",
    "reduce",
    "required_dimension",
]

GAP = 4
"""The program's minimum is 0 or at least this."""
LARGEST_BOX = 1e6
"""Bounds on the planes beyond which floating point is not trusted."""
_EARLY = Stop(above=1.0, below=3.0)


@dataclass(frozen=True)
class Reduction:
    """An instance placed into ``b`` and ``A``.

    Attributes:
        instance: of bilinear separability.
        program: of the form of Problem C.11, ``d = required_dimension(m', k', n')``.
        placement: ``working``, or ``printed``, where the constraints on ``z2`` stand in columns without it.
    """

    instance: Instance
    program: BilinearProgram
    placement: str

    def pull_back(self, b: Numbers) -> Planes | None:
        """Return two planes from a point whose objective is below 4, verified in fractions; None if it has none.

        A plane cuts off the outer points that lie strictly below all inner points along its normal.
        """
        rows = _Rows.of(self.instance)
        for whole in (True, False):
            exact = [Fraction(v) for v in b.tolist()]
            if whole:  # short fractions where they will do
                exact = [v.limit_denominator(10**6) for v in exact]
            normals = [tuple(exact[rows.w(plane, axis)] for axis in range(rows.axes)) for plane in (0, 1)]
            planes = planes_along(self.instance, normals, [_below(self.instance, w) for w in normals])
            if planes is not None:
                return planes
        return None

    def push_forward(self, planes: Planes) -> tuple[Numbers, Numbers]:
        """Return a feasible point, in fractions, for two planes with the inner points on their near sides.

        ``z = max(B w - g + 1, 0)``: the objective is 0 if the planes separate. In the printed placement what
        must be ``z2`` goes to the unknowns that stand in its row, and ``z2 = 0``: the objective is 0 anyway.
        """
        rows, values = _Rows.of(self.instance), dict[Entry, Fraction]()
        shift = 0 if self.placement == "working" else 1 + len(self.instance.inner)
        for plane, (w, g) in enumerate(zip(planes.w, planes.g, strict=True)):
            values[Entry(rows.g(plane))] = g
            values |= {Entry(rows.w(plane, axis)): v for axis, v in enumerate(w)}
            for i, point in enumerate(self.instance.outer):
                height = sum((u * v for u, v in zip(w, point, strict=True)), 1 - g)
                place = Entry(i, shift and shift + i) if plane else Entry(i)
                values[place] = max(height, Fraction(0))
        return self.program.assemble(values, exact=True)

    @property
    def box(self) -> dict[Entry, float]:
        """Return bounds on the free entries that planes need not leave; see :func:`plane_box`."""
        rows = _Rows.of(self.instance)
        normal, offset = (np.minimum(v, LARGEST_BOX) for v in plane_box(self.instance))
        reach = np.abs(np.array(self.instance.outer, dtype=float)).max(axis=0) @ normal + offset + 1
        box = {}
        for entry in self.program.free:
            place = entry.row - rows.points if entry.column is None else -1
            planar = 0 <= place < 2 * rows.axes
            offsets = 2 * rows.axes <= place < 2 * rows.axes + 2
            box[entry] = float(normal[place % rows.axes] if planar else offset if offsets else reach)
        return box

    @property
    def box_suffices(self) -> bool:
        """Return whether planes exist in the box whenever they exist at all."""
        normal, offset = plane_box(self.instance)
        return bool(max(normal.max(), float(offset)) <= LARGEST_BOX)


@dataclass(frozen=True)
class _Rows:
    """The rows of ``b``: ``z1`` first, then ``w1, w2, g1, g2`` and the entry fixed to 1."""

    points: int
    axes: int

    @classmethod
    def of(cls, instance: Instance) -> _Rows:
        return cls(len(instance.outer), instance.dimension)

    def w(self, plane: int, axis: int) -> int:
        return self.points + plane * self.axes + axis

    def g(self, plane: int) -> int:
        return self.points + 2 * self.axes + plane

    @property
    def one(self) -> int:
        return self.points + 2 * self.axes + 2


def required_dimension(inner: int, outer: int, dimension: int) -> int:
    """Return the least ``d``: ``b`` holds ``k' + 2n' + 3`` entries, ``A`` has ``1 + m' + k'`` columns."""
    return max(outer + 2 * dimension + 2, inner + outer + 1)


def reduce(instance: Instance, placement: str = "working") -> Reduction:
    """Place an instance of bilinear separability into the general class.

    ``z1`` is the first ``k'`` entries of ``b`` and ``z2`` the first ``k'`` of ``A``'s first column. Every
    further column holds one inner or one outer point (fixed) and a 1 (fixed).

    Args:
        instance: two point sets.
        placement: where ``B w2 - g2 + 1 <= z2`` stands. ``printed``: in the outer points' columns, where the
            row of ``z2`` is another unknown, so that nothing bounds ``z2`` and every instance has minimum 0.
            ``working``: in column 1, with ``B`` in ``D(r)`` itself and a 1 fixed in that column.

    Raises:
        ValueError: for another placement.
    """
    if placement not in PLACEMENTS:
        raise unknown("placement", placement, PLACEMENTS)
    rows = _Rows.of(instance)
    one, points = rows.one, (*instance.inner, *instance.outer)
    fixed = {Entry(one): Fraction(1), Entry(one, 0): Fraction(1)}
    for column, point in enumerate(points, 1):
        fixed[Entry(one, column)] = Fraction(1)
        fixed |= {Entry(rows.w(0, axis), column): value for axis, value in enumerate(point)}
    objective = Form(0, tuple((i, i, Fraction(1)) for i in range(rows.points)))
    program = BilinearProgram(
        d=required_dimension(len(instance.inner), rows.points, rows.axes),
        constraints=(*_near(instance, rows), *_beyond(instance, rows, placement)),
        objective=objective,
        fixed=fixed,
        nonnegative=frozenset(_slacks(instance, rows, placement)),
        names=_names(instance, rows, placement),
    )
    return Reduction(instance, program, placement)


def _near(instance: Instance, rows: _Rows) -> list[Constraint]:
    """Build ``-A'w + g + 1 <= 0`` for both planes: the point is in the column, the signs are in ``D(r)``."""
    found = []
    for plane in (0, 1):
        for i in range(len(instance.inner)):
            normal = [(rows.w(plane, axis), rows.w(0, axis), Fraction(-1)) for axis in range(rows.axes)]
            rest = [(rows.g(plane), rows.one, Fraction(1)), (rows.one, rows.one, Fraction(1))]
            found.append(Constraint(f"near {plane + 1}, {i + 1}", Form(1 + i, (*normal, *rest)), "<="))
    return found


def _beyond(instance: Instance, rows: _Rows, placement: str) -> list[Constraint]:
    """Build ``B w - g + 1 <= z`` for both planes."""
    found = []
    for plane in (0, 1):
        for i, point in enumerate(instance.outer):
            here = 0 if plane and placement == "working" else 1 + len(instance.inner) + i
            if here:
                normal = [(rows.w(plane, axis), rows.w(0, axis), Fraction(1)) for axis in range(rows.axes)]
            else:
                normal = [(rows.w(1, axis), rows.one, value) for axis, value in enumerate(point)]
            slack = (rows.one, i, Fraction(-1)) if plane else (i, rows.one, Fraction(-1))
            rest = [(rows.g(plane), rows.one, Fraction(-1)), (rows.one, rows.one, Fraction(1)), slack]
            found.append(Constraint(f"beyond {plane + 1}, {i + 1}", Form(here, (*normal, *rest)), "<="))
    return found


def _slacks(instance: Instance, rows: _Rows, placement: str) -> list[Entry]:
    both = [Entry(i, column) for i in range(rows.points) for column in (None, 0)]
    if placement == "working":
        return both
    return both + [Entry(i, 1 + len(instance.inner) + i) for i in range(rows.points)]


def _names(instance: Instance, rows: _Rows, placement: str) -> dict[Entry, str]:
    names = {Entry(rows.one): "1", Entry(rows.one, 0): "1"}
    for plane in (0, 1):
        names[Entry(rows.g(plane))] = f"g{plane + 1}"
        names |= {Entry(rows.w(plane, axis)): f"w{plane + 1}[{axis + 1}]" for axis in range(rows.axes)}
        names |= {Entry(i, 0 if plane else None): f"z{plane + 1}[{i + 1}]" for i in range(rows.points)}
    if placement == "printed":
        names |= {Entry(i, 1 + len(instance.inner) + i): f"not z2[{i + 1}]" for i in range(rows.points)}
    return names


def _below(instance: Instance, w: tuple[Fraction, ...]) -> list[int]:
    heights = [[sum(u * v for u, v in zip(w, x, strict=True)) for x in s] for s in (instance.inner, instance.outer)]
    least = min(heights[0])
    return [i for i, height in enumerate(heights[1]) if height < least]


def plane_box(instance: Instance) -> tuple[np.ndarray, float]:
    """Return bounds on ``|w|`` ``[n']`` and ``|g|`` within which planes exist if any do.

    For whole coordinates a basic solution is a quotient of determinants of order at most ``n' + 1`` with
    denominator at least 1; Hadamard's inequality bounds the numerator. Fractions are brought to whole numbers
    axis by axis, and the points are centred first.
    """
    points = np.array((*instance.inner, *instance.outer), dtype=object)
    order = points.shape[1] + 1
    scales = [math.lcm(*(v.denominator for v in axis)) for axis in points.T]
    whole = [[int(v * scale) for v in axis] for axis, scale in zip(points.T, scales, strict=True)]
    centres = [(max(axis) + min(axis)) // 2 for axis in whole]
    reach = [max(1, *(abs(v - c) for v in axis)) for axis, c in zip(whole, centres, strict=True)]
    product, minors = math.prod(reach), order ** (order / 2)
    normal = [minors * (product // h) for h in reach]
    offset = minors * product + sum(abs(c) * bound for c, bound in zip(centres, normal, strict=True))
    return np.array([bound * scale for bound, scale in zip(normal, scales, strict=True)], dtype=float), float(offset)


@dataclass(frozen=True, eq=False)
class Decision:
    """SCIP's verdict on an instance through the reduced program.

    Attributes:
        status: ``separable`` (planes verified in fractions), ``inseparable`` (SCIP's lower bound in a box that
            suffices is positive, in floating point), or ``undecided``.
        planes: pulled back from SCIP's point; None unless separable.
        solution: SCIP's bounds on the program's minimum in the box.
        reason: in words.
    """

    status: Separability
    planes: Planes | None
    solution: GlobalSolution
    reason: str


def decide(
    reduction: Reduction,
    time_limit: float | None = None,
    memory: float = DEFAULT_MEMORY_GB,
    optimum: bool = False,
    nodes: int | None = None,
) -> Decision:
    """Decide an instance by solving its reduced program with SCIP.

    Args:
        reduction: of the instance.
        time_limit: seconds; None for none. When it strikes, the bounds reached so far are returned.
        memory: SCIP's limit, in gigabytes.
        optimum: solve to the minimum, not only as far as the verdict needs.
        nodes: limit of the branch and bound tree; None for none.

    Raises:
        ValueError: for a limit out of range, or without pyscipopt.
    """
    solution = solve(reduction.program, reduction.box, time_limit, memory, None if optimum else _EARLY, nodes)
    planes = None if solution.b is None else reduction.pull_back(solution.b)
    if planes is not None:
        return Decision("separable", planes, solution, f"planes verified in fractions, margin {planes.margin:.3g}")
    if solution.status in ("infeasible", "unbounded", "failed"):  # w = 0, g = -1 is feasible: none can be true
        return Decision("undecided", None, solution, f"SCIP broke down with status {solution.status}")
    if solution.dual < _EARLY.above:
        why = "a limit was reached" if solution.status == "limit" else "SCIP's point gives no planes in fractions"
        return Decision("undecided", None, solution, f"{why}; the minimum lies above {max(solution.dual, 0.0):.3g}")
    if not reduction.box_suffices:
        margin = 2 / (LARGEST_BOX * reduction.instance.dimension**0.5)
        reason = f"no planes with entries up to {LARGEST_BOX:.0g}; margins below {margin:.1g} are not excluded"
        return Decision("undecided", None, solution, reason)
    reason = f"SCIP's lower bound is {solution.dual:.6g}, and planes would make the minimum 0"
    return Decision("inseparable", None, solution, reason)


def example() -> Instance:
    """Return an instance with ``m' = k' = n' = 2``, which the class holds with ``d = 8`` (Example C.13)."""
    return Instance(((0, 0), (1, 0)), ((-1, 0), (2, 1)))  # type: ignore[arg-type]
