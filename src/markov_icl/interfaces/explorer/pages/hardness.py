"""The page Hardness: points and the two lines that separate them, or why none do; a graph and its independent set."""

from __future__ import annotations

import json
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.independence import (
    distance_alt,
    draw_distance,
    draw_graph,
    graph_alt,
    graph_words,
)
from markov_icl.interfaces.explorer.pictures.separation import (
    FARTHEST,
    Corner,
    draw_points,
    points_alt,
    separability_words,
    set_of,
)
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell

if TYPE_CHECKING:
    from markov_icl.hardness.independent_set import IndependentSet
    from markov_icl.hardness.separability import Instance, Verdict

__all__ = ["PAGE"]

_SEPARABLE = (
    *((-1, 0, 1), (0, 1, 1), (1, 0, 1), (2, -1, 1), (-2, 1, 1), (0, -1, 1)),
    *((-2, 4, -1), (1, 3, -1), (4, 1, -1), (-3, -2, -1), (0, -4, -1), (-5, 0, -1)),
)
_INSEPARABLE = ((0, -2, 1), (-2, 1, 1), (2, 1, 1), (0, 4, -1), (-4, -2, -1), (4, -2, -1))
_MOST_POINTS, _MOST_OUTER = 20, 10
_QUICK_OUTER = 8
"""Points beyond, up to which the exponential oracle takes a blink."""
_TIME_LIMIT = 60.0
"""Seconds, as the commands have it; never met at these sizes."""

GRAPHS = (
    "petersen",
    "cycle:5",
    "cycle:6",
    "cycle:9",
    "complete:5",
    "octahedral",
    "cubical",
    "icosahedral",
    "truncated_tetrahedron",
    "frucht",
    "heawood",
    "moebius_kantor",
    "hypercube:4",
    "pappus",
    "dodecahedral",
)
"""Names that ``--graph`` takes; nothing else reaches networkx."""

_LONG = ("dodecahedral",)
"""Graphs whose search takes seconds."""

_CONTROLS = (
    Control(
        "points",
        "Points: x, y, 1 near or -1 beyond",
        "points",
        _SEPARABLE,
        figure="points",
        most=_MOST_POINTS,
        help="Click on the picture to add a point, on a point to take it away. Coordinates from -6 to 6.",
    ),
    Control("add", "A click adds a point", "choice", "near", choices=("near", "beyond")),
    Control("graph", "Graph", "choice", "petersen", choices=GRAPHS),
    Control("seed", "Seed", "integer", 0, 0, 99, help="Of the random starts of nearest recovery."),
)


def _sides(values: Values) -> tuple[list[Corner], list[Corner]]:
    points: Any = values["points"]
    near, beyond = ([(x, y) for x, y, label in points if label == side] for side in (1, -1))
    return near, beyond


def _check_points(values: Values) -> None:
    points: Any = values["points"]
    for point in points:
        if len(point) != 3 or point[2] not in (1, -1) or max(map(abs, point[:2])) > FARTHEST:
            shown = ",".join(f"{v:g}" for v in point[:4])
            raise Refused("points", f"expected x,y,1 or x,y,-1 with x and y of -6 to 6; got {shown}")
    near, beyond = _sides(values)
    if not near or not 1 <= len(beyond) <= _MOST_OUTER:
        wanted = f"at least one point near (1) and 1 to {_MOST_OUTER} beyond (-1)"
        raise Refused("points", f"expected {wanted}; got {len(near)} and {len(beyond)}")


def _command(values: Values) -> str:
    points: Any = values["points"]
    given = {
        name: [[_short(v) for v in point[:2]] for point in points if point[-1] == side]
        for name, side in (("inner", 1), ("outer", -1))
    }
    document = shlex.quote(json.dumps(given, separators=(",", ":")))
    return (
        f"markov-icl hardness separability --file <(echo {document})\n"
        f"markov-icl hardness independent-set --graph {values['graph']} --seed {values['seed']}"
    )


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value


@lru_cache(maxsize=32)
def _separated(near: tuple[Corner, ...], beyond: tuple[Corner, ...]) -> tuple[Instance, Verdict]:
    from markov_icl.hardness.separability import Instance, separate

    instance = Instance(*(tuple(tuple(_short(v) for v in p) for p in side) for side in (near, beyond)))  # type: ignore[arg-type]
    return instance, separate(instance, _TIME_LIMIT)


@lru_cache(maxsize=32)
def _recovered(name: str, seed: int) -> tuple[Any, IndependentSet]:
    from markov_icl.hardness.independent_set import independent_set
    from markov_icl.interfaces.graphs import read_graph

    graph = read_graph(name)
    return graph, independent_set(graph, seed=seed, time_limit=_TIME_LIMIT)


def _compute(values: Values, tell: Tell) -> Outcome:
    near, beyond = _sides(values)
    tell(0.05, "separating the points")
    instance, verdict = _separated(tuple(near), tuple(beyond))
    tell(0.3, "nearest recovery on the graph")
    graph, found = _recovered(str(values["graph"]), int(str(values["seed"])))
    name = str(values["graph"])
    pictures = (
        Picture(
            "points",
            points_alt(instance, verdict),
            draw_points(near, beyond, verdict, str(values["add"])),
            "Points and lines",
        ),
        Picture("graph", graph_alt(found, name), draw_graph(found, graph, name), "An independent set"),
        Picture("distance", distance_alt(found), draw_distance(found), "Distance to the nearest (b, A)", wide=True),
    )
    words = f"{separability_words(verdict)}\n\n{graph_words(found, name)}"
    return Outcome(pictures, words, _rows(instance, verdict, found), _links())


def _links() -> tuple[tuple[str, str], ...]:
    points = _CONTROLS[0].write(_INSEPARABLE).replace(" ", "")
    return (("Points that two lines separate", "/hardness"), ("Points that none do", f"/hardness?points={points}"))


def _rows(instance: Instance, verdict: Verdict, found: IndependentSet) -> tuple[dict[str, object], ...]:
    rows: list[dict[str, object]] = []
    for side, points in (("near", instance.inner), ("beyond", instance.outer)):
        for i, point in enumerate(points):
            rows.append({"what": f"point {side}", "number": i + 1, "x": float(point[0]), "y": float(point[1])})
            if side == "beyond" and verdict.planes is not None:
                lines = [k for k in (1, 2) if i in verdict.planes.beyond[k - 1]]
                rows[-1]["note"] = "beyond line " + " and ".join(map(str, lines))
    if verdict.planes is not None:
        for k, (w, g) in enumerate(zip(verdict.planes.w, verdict.planes.g, strict=True), 1):
            rows.append({"what": "line w, g", "number": k, "x": str(w[0]), "y": str(w[1]), "note": str(g)})
    for k, one in enumerate(verdict.obstructions if verdict.planes is None else (), 1):
        rows.append({"what": "no line cuts off", "number": k, "note": set_of(one.outer)})
    chosen = set(found.members)
    rows += [
        {"what": "vertex", "number": i + 1, "note": "in the set" if i in chosen else ""}
        for i in range(found.instance.vertices)
    ]
    return tuple(rows)


def _slow(values: Values) -> bool:
    return values["graph"] in _LONG or len(_sides(values)[1]) > _QUICK_OUTER


PAGE = View(
    "hardness",
    "Hardness",
    "Two problems that the best transformer parameters hide: separating points with two lines, and independent sets.",
    _CONTROLS,
    _compute,
    _command,
    _slow,
    (_check_points,),
)
