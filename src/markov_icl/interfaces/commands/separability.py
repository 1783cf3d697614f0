"""Commands of the group hardness about bilinear separability: separability, reduce."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Json, Plot, Seed, TimeLimit, choice

__all__ = ["PointOptions", "reduce", "separability"]

Kind = Annotated[str, choice("--kind", "separable", "inseparable", "random", "degenerate")]
Placement = Annotated[str, choice("--placement", "working", "printed")]
Inner = Annotated[int, typer.Option("--inner", min=1, max=200, help="Points near both planes (the paper's m').")]
Outer = Annotated[int, typer.Option("--outer", min=1, max=200, help="Points beyond at least one (the paper's k').")]
Dimension = Annotated[int, typer.Option("--dimension", min=1, max=50, help="Coordinates of a point (n').")]
Spread = Annotated[int, typer.Option("--spread", min=2, max=1000, help="Whole coordinates from -spread to spread.")]
PointFile = Annotated[Path | None, typer.Option("--file", help="JSON or YAML with the lists inner and outer.")]
Starts = Annotated[int, typer.Option("--starts", min=1, max=10_000, help="Random starts of the heuristic.")]


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
    return {"w": planes.w, "g": planes.g, "beyond": beyond, "margin": planes.margin}


def separability(
    points: PointOptions,
    starts: Starts = 20,
    time_limit: TimeLimit = 60.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Two planes or a proof of their absence, by the exact oracle; and how far alternating programs get."""
    from markov_icl.hardness.alternation import alternate
    from markov_icl.hardness.reduction import reduce as place
    from markov_icl.hardness.separability import separate
    from markov_icl.interfaces import output

    output.check_target(plot)
    instance = points.instance()
    with output.status_line("separability") as show:
        show("exact oracle")
        verdict = separate(instance, time_limit)
        show(f"alternating programs from {starts} starts")
        heuristic = alternate(place(instance).program, starts, points.seed, time_limit)
    if plot is not None:
        from markov_icl.interfaces.plots.hardness import plot_separability

        output.save_figure(plot_separability(instance, verdict.planes, verdict.status), plot)
    if json:
        obstructions = [
            {side: {str(i + 1): weight for i, weight in getattr(one, side).items()} for side in ("outer", "inner")}
            for one in verdict.obstructions
        ]
        output.print_json(
            {
                "status": verdict.status,
                "reason": verdict.reason,
                "planes": _planes(verdict.planes),
                "obstructions": obstructions,
                "programs": verdict.programs,
                "seconds": verdict.seconds,
                "inner": instance.inner,
                "outer": instance.outer,
                "heuristic": {"values": heuristic.values, "zero": heuristic.reached(0.0)},
            }
        )
        return
    rows: list[tuple[str, object]] = [
        ("status", f"{verdict.status}: {verdict.reason}"),
        ("points", f"{len(instance.inner)} inner, {len(instance.outer)} outer, dimension {instance.dimension}"),
        ("linear programs", verdict.programs),
        ("seconds", f"{verdict.seconds:.3f}"),
        (
            "alternating programs",
            f"{heuristic.reached(0.0)} of {len(heuristic.values)} starts reached 0; best {heuristic.values.min():.6g}",
        ),
    ]
    if verdict.planes is not None:
        rows[1:1] = [
            (f"plane {k + 1}", f"w = ({', '.join(map(str, w))}), g = {g}, beyond it: {_one_based(beyond)}")
            for k, (w, g, beyond) in enumerate(
                zip(verdict.planes.w, verdict.planes.g, verdict.planes.beyond, strict=True)
            )
        ]
    output.print_table("Bilinear separability", ("", ""), rows)
    sets = [(_one_based(one.outer), _one_based(one.inner)) for one in verdict.obstructions]
    if sets:
        output.print_table("No plane cuts off all of", ("outer points", "whose hull meets the hull of inner"), sets)


def _one_based(indices: Any) -> str:
    return ", ".join(str(i + 1) for i in sorted(indices)) or "none"


def reduce(
    points: PointOptions,
    example: Annotated[bool, typer.Option("--example", help="The instance m' = k' = n' = 2 (d = 8).")] = False,
    clause: Annotated[
        list[str] | None,
        typer.Option("--clause", help="Monotone 1-in-3-SAT instead: three variables such as 1,2,3; repeat."),
    ] = None,
    placement: Placement = "working",
    optimum: Annotated[bool, typer.Option("--optimum", help="Solve to the minimum, beyond the verdict.")] = False,
    time_limit: TimeLimit = 60.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Place separability, or a formula, into the class with free D(r), and solve it globally with SCIP."""
    from markov_icl.hardness import reduction as place
    from markov_icl.hardness.scip import require_scip
    from markov_icl.hardness.separability import separate
    from markov_icl.interfaces import output

    output.check_target(plot)
    if clause:
        if plot is not None:
            raise ValueError("expected --plot without --clause, which has no picture")
        _satisfy(clause, time_limit, json)
        return
    instance = place.example() if example else points.instance()
    reduced = place.reduce(instance, placement)  # type: ignore[arg-type]
    if plot is not None:
        from markov_icl.interfaces.plots.hardness import plot_placement

        output.save_figure(plot_placement(reduced), plot)
    require_scip()
    with output.status_line("reduce") as show:
        show("SCIP")
        decision = place.decide(reduced, time_limit, optimum=optimum)
        show("exact oracle")
        oracle = separate(instance, time_limit).status if len(instance.outer) <= 20 else "not run: over 20 outer points"
    solution = decision.solution
    bounds = {"lower": solution.dual, "upper": solution.primal, "nodes": solution.nodes, "seconds": solution.seconds}
    if json:
        answer: dict[str, Any] = {
            "status": decision.status,
            "reason": decision.reason,
            "oracle": oracle,
            "placement": placement,
        }
        answer |= {"d": reduced.program.d, **bounds, "solver": solution.status, "planes": _planes(decision.planes)}
        output.print_json({**answer, "b": solution.b, "A": solution.A, "program": _program(reduced.program)})
        return
    rows: list[tuple[str, object]] = [
        ("placement", f"{placement}: d = {reduced.program.d}, {len(reduced.program.constraints)} constraints"),
        ("verdict from SCIP", f"{decision.status}: {decision.reason}"),
        ("exact oracle", oracle),
        ("minimum", f"between {solution.dual:.8g} and {solution.primal:.8g} ({solution.status})"),
        ("nodes", solution.nodes),
        ("seconds", f"{solution.seconds:.2f}"),
    ]
    output.print_table("Reduction from bilinear separability", ("", ""), rows)
    if placement == "printed":
        sys.stdout.write("note: in the printed placement nothing bounds z2, so the minimum is 0 for every instance\n")


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


def _satisfy(clauses: list[str], time_limit: float | None, json: bool) -> None:
    from markov_icl.hardness.one_in_three import Formula, assignment, encode, satisfy
    from markov_icl.interfaces import output

    try:
        parsed = tuple(tuple(int(part) - 1 for part in clause.split(",")) for clause in clauses)
    except ValueError:
        raise ValueError(f"expected clauses such as 1,2,3; got {' '.join(clauses)!r:.60}") from None
    formula = Formula(max(i + 1 for clause in parsed for i in clause), parsed)  # type: ignore[arg-type]
    with output.status_line("1-in-3-SAT") as show:
        show("SCIP")
        result = satisfy(formula, time_limit)
        show("backtracking")
        direct = assignment(formula)
    solution = result.solution
    if json:
        answer: dict[str, Any] = {
            "status": result.status,
            "truth": result.truth,
            "direct": direct is not None,
            "d": encode(formula).d,
        }
        answer |= {"nodes": solution.nodes, "seconds": solution.seconds, "solver": solution.status}
        output.print_json({**answer, "program": _program(encode(formula))})
        return
    rows = [
        ("verdict from SCIP", result.status),
        ("true variables", "-" if result.truth is None else _one_based(i for i, t in enumerate(result.truth) if t)),
        ("backtracking", "satisfiable" if direct else "unsatisfiable"),
        ("d", encode(formula).d),
        ("nodes", solution.nodes),
        ("seconds", f"{solution.seconds:.2f}"),
    ]
    output.print_table("Monotone 1-in-3-SAT as Problem C.10", ("", ""), rows)
