"""Commands of the group hardness about bilinear separability: separability, reduce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.choices import KINDS, PLACEMENTS
from markov_icl.interfaces.commands.options import Plot, Seed, TimeLimit, choice
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.progress import bar

__all__ = ["PointOptions", "reduce", "separability"]

Kind = Annotated[str, choice("--kind", *KINDS)]
Inner = Annotated[int, typer.Option("--inner", min=1, max=200, help="Points near both planes (the paper's m').")]
Outer = Annotated[int, typer.Option("--outer", min=1, max=200, help="Points beyond at least one (the paper's k').")]
Dimension = Annotated[int, typer.Option("--dimension", min=1, max=50, help="Coordinates of a point (n').")]
Spread = Annotated[int, typer.Option("--spread", min=2, max=1000, help="Whole coordinates from -spread to spread.")]
PointFile = Annotated[Path | None, typer.Option("--file", help="JSON or YAML with the lists inner and outer.")]


@dataclass(frozen=True)
class PointOptions:
    """The options that say which points: drawn, or read from a file."""

    kind: Kind = "random"
    inner: Inner = 6
    outer: Outer = 6
    dimension: Dimension = 2
    spread: Spread = 6
    file: PointFile = None
    seed: Seed = 0

    def instance(self) -> Any:
        """Draw or read the instance."""
        from markov_icl.hardness.instances import generate
        from markov_icl.hardness.separability import Instance
        from markov_icl.tasks.spec import read_document

        if self.file is None:
            return generate(self.kind, self.inner, self.outer, self.dimension, self.spread, self.seed)
        document = read_document(self.file)
        points = [document.get(name) for name in ("inner", "outer")] if isinstance(document, dict) else [None, None]
        if not all(isinstance(rows, list) and all(isinstance(row, list) for row in rows) for rows in points):
            raise ValueError(f"expected lists of points named inner and outer in {self.file}")
        return Instance(*(tuple(tuple(row) for row in rows) for rows in points))  # type: ignore[union-attr]


def _planes(planes: Any) -> dict[str, Any] | None:
    if planes is None:
        return None
    beyond = [[i + 1 for i in side] for side in planes.beyond]
    return {**pick(planes, "w", "g", "margin"), "beyond": beyond}


def separability(
    points: PointOptions,
    starts: Annotated[int, typer.Option("--starts", min=1, max=10_000, help="Random starts of the heuristic.")] = 20,
    time_limit: TimeLimit = 60.0,
) -> Answer:
    """Two planes or a proof of their absence, by the exact oracle; and how far alternating programs get."""
    from markov_icl.hardness import reduction
    from markov_icl.hardness.alternation import alternate
    from markov_icl.hardness.separability import separate
    from markov_icl.interfaces.plots.hardness import plot_separability

    instance = points.instance()
    with bar("separability") as tell:
        tell(None, "exact oracle")
        verdict = separate(instance, time_limit)
        tell(None, f"alternating programs from {starts} starts")
        heuristic = alternate(reduction.reduce(instance).program, starts, points.seed, time_limit)
    data = {
        **pick(verdict, "status", "reason", "programs", "seconds"),
        **pick(instance, "inner", "outer"),
        "planes": _planes(verdict.planes),
        "obstructions": [
            {side: {str(i + 1): weight for i, weight in getattr(one, side).items()} for side in ("outer", "inner")}
            for one in verdict.obstructions
        ],
        "heuristic": {"values": heuristic.values, "zero": heuristic.reached(0.0)},
    }
    words = [Table("Bilinear separability", _separability_rows(instance, verdict, heuristic))]
    sets = [(_one_based(one.outer), _one_based(one.inner)) for one in verdict.obstructions]
    if sets:
        words.append(Table("No plane cuts off all of", sets, ("outer points", "whose hull meets the hull of inner")))
    return Answer(data, words, lambda: plot_separability(instance, verdict.planes, verdict.status))


def _separability_rows(instance: Any, verdict: Any, heuristic: Any) -> list[tuple[str, object]]:
    planes: list[tuple[str, object]] = []
    if verdict.planes is not None:
        each = zip(verdict.planes.w, verdict.planes.g, verdict.planes.beyond, strict=True)
        planes = [
            (f"plane {k}", f"w = ({', '.join(map(str, w))}), g = {g}, beyond it: {_one_based(beyond)}")
            for k, (w, g, beyond) in enumerate(each, start=1)
        ]
    zero, best = heuristic.reached(0.0), heuristic.values.min()
    return [
        ("status", f"{verdict.status}: {verdict.reason}"),
        *planes,
        ("points", f"{len(instance.inner)} inner, {len(instance.outer)} outer, dimension {instance.dimension}"),
        ("linear programs", verdict.programs),
        ("seconds", f"{verdict.seconds:.3f}"),
        ("alternating programs", f"{zero} of {len(heuristic.values)} starts reached 0; best {best:.6g}"),
    ]


def _one_based(indices: Any) -> str:
    return ", ".join(str(i + 1) for i in sorted(indices)) or "none"


def reduce(
    points: PointOptions,
    example: Annotated[bool, typer.Option("--example", help="The instance m' = k' = n' = 2 (d = 8).")] = False,
    clause: Annotated[
        list[str] | None,
        typer.Option("--clause", help="Monotone 1-in-3-SAT instead: three variables such as 1,2,3; repeat."),
    ] = None,
    placement: Annotated[str, choice("--placement", *PLACEMENTS)] = "working",
    optimum: Annotated[bool, typer.Option("--optimum", help="Solve to the minimum, beyond the verdict.")] = False,
    time_limit: TimeLimit = 60.0,
    plot: Plot = None,
) -> Answer:
    """Place separability, or a formula, into the class with free D(r), and solve it globally with SCIP."""
    from markov_icl.hardness import reduction
    from markov_icl.hardness.scip import require_scip
    from markov_icl.hardness.separability import MOST_OUTER, separate
    from markov_icl.interfaces.plots.hardness import plot_placement

    if clause:
        if plot is not None:
            raise ValueError("expected --plot without --clause, which has no picture")
        return _satisfied(clause, time_limit)
    reduced = reduction.reduce(reduction.example() if example else points.instance(), placement)
    require_scip()
    with bar("reduce") as tell:
        tell(None, "SCIP")
        decision = reduction.decide(reduced, time_limit, optimum=optimum)
        tell(None, "exact oracle")
        few = len(reduced.instance.outer) <= MOST_OUTER
        oracle = separate(reduced.instance, time_limit).status if few else f"not run: over {MOST_OUTER} outer points"
    solution = decision.solution
    data = {
        **pick(decision, "status", "reason"),
        "oracle": oracle,
        "placement": placement,
        "d": reduced.program.d,
        "lower": solution.dual,
        "upper": solution.primal,
        "solver": solution.status,
        "planes": _planes(decision.planes),
        **pick(solution, "nodes", "seconds", "b", "A"),
        "program": _program(reduced.program),
    }
    return Answer(data, _reduction_words(reduced, decision, oracle), lambda: plot_placement(reduced))


def _reduction_words(reduced: Any, decision: Any, oracle: str) -> list[Table | str]:
    solution, program = decision.solution, reduced.program
    rows: list[tuple[str, object]] = [
        ("placement", f"{reduced.placement}: d = {program.d}, {len(program.constraints)} constraints"),
        ("verdict from SCIP", f"{decision.status}: {decision.reason}"),
        ("exact oracle", oracle),
        ("minimum", f"between {solution.dual:.8g} and {solution.primal:.8g} ({solution.status})"),
        ("nodes", solution.nodes),
        ("seconds", f"{solution.seconds:.2f}"),
    ]
    words: list[Table | str] = [Table("Reduction from bilinear separability", rows)]
    if reduced.placement == "printed":
        words.append("note: in the printed placement nothing bounds z2, so the minimum is 0 for every instance")
    return words


def _program(program: Any) -> dict[str, Any]:
    def place(entry: Any) -> str:
        return f"b[{entry.row + 1}]" if entry.column is None else f"A[{entry.row + 1},{entry.column + 1}]"

    def form(one: Any) -> dict[str, Any]:
        terms = [{"row_of_b": i + 1, "row_of_a": k + 1, "value": value} for i, k, value in one.terms]
        return {"column": one.column + 1, "D": terms}

    return {
        "objective": None if program.objective is None else form(program.objective),
        "constraints": [
            {"name": c.name, **form(c.form), "sense": c.sense, "right": c.right} for c in program.constraints
        ],
        "fixed": {place(entry): value for entry, value in program.fixed.items()},
        "nonnegative": sorted(place(entry) for entry in program.nonnegative),
        "names": {place(entry): name for entry, name in program.names.items()},
    }


def _satisfied(clauses: list[str], time_limit: float | None) -> Answer:
    """Solve a formula through SCIP, and by backtracking."""
    from markov_icl.hardness.one_in_three import Formula, assignment, encode, satisfy

    try:
        parsed = tuple(tuple(int(variable) - 1 for variable in clause.split(",")) for clause in clauses)
    except ValueError:
        raise ValueError(f"expected clauses such as 1,2,3; got {' '.join(clauses)!r:.60}") from None
    formula = Formula(max(i + 1 for clause in parsed for i in clause), parsed)  # type: ignore[arg-type]
    with bar("1-in-3-SAT") as tell:
        tell(None, "SCIP")
        result = satisfy(formula, time_limit)
        tell(None, "backtracking")
        direct = assignment(formula)
    solution, program = result.solution, encode(formula)
    data = {
        **pick(result, "status", "truth"),
        "direct": direct is not None,
        "d": program.d,
        **pick(solution, "nodes", "seconds"),
        "solver": solution.status,
        "program": _program(program),
    }
    rows = [
        ("verdict from SCIP", result.status),
        ("true variables", "-" if result.truth is None else _one_based(i for i, t in enumerate(result.truth) if t)),
        ("backtracking", "satisfiable" if direct else "unsatisfiable"),
        ("d", program.d),
        ("nodes", solution.nodes),
        ("seconds", f"{solution.seconds:.2f}"),
    ]
    return Answer(data, [Table("Monotone 1-in-3-SAT as Problem C.10", rows)])
