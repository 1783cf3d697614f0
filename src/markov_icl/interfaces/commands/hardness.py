"""The group hardness: independent sets and scaling here, separability and its reduction in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Seed, TimeLimit, answering, completion, with_fields
from markov_icl.interfaces.commands.separability import PointOptions, reduce, separability
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.progress import bar

__all__ = ["register"]


def _graph_names() -> list[str]:
    from markov_icl.interfaces.graphs import graph_names

    return graph_names()


def register(app: typer.Typer) -> None:
    """Add the group ``hardness`` to the application."""
    group = typer.Typer(
        help="What is hard in recovering transformer parameters, and what is not.", no_args_is_help=True
    )
    for name, command in (
        ("separability", with_fields(answering(separability), "points", PointOptions)),
        ("reduce", with_fields(answering(reduce), "points", PointOptions)),
        ("independent-set", answering(independent_set)),
        ("scaling", answering(scaling)),
    ):
        group.command(name=name)(command)
    app.add_typer(group, name="hardness")


def independent_set(
    graph: Annotated[
        str | None,
        typer.Option(
            "--graph", help="petersen, cycle:7, random_regular:3,10,1, ...", autocompletion=completion(_graph_names)
        ),
    ] = None,
    graph6: Annotated[str | None, typer.Option("--graph6", help="A graph6 string.")] = None,
    edges: Annotated[Path | None, typer.Option("--edges", help="A file with two vertices a line.")] = None,
    level: Annotated[
        bool, typer.Option("--certify", help="Also the first sums-of-squares bound (up to about 7 vertices).")
    ] = False,
    starts: Annotated[int, typer.Option("--starts", min=1, max=10_000, help="Random starts of the search.")] = 32,
    seed: Seed = 0,
    time_limit: TimeLimit = 60.0,
) -> Answer:
    """A regular graph's independence number, read off nearest recovery; beside the exact number from cliques."""
    from markov_icl.hardness.independent_set import independent_set as solve
    from markov_icl.interfaces.graphs import read_graph
    from markov_icl.interfaces.plots.hardness import plot_independent_set

    network = read_graph(graph, graph6, edges)
    with bar("independent set") as tell:
        tell(None, f"{network.number_of_nodes()} vertices")
        result = solve(network, starts, seed, time_limit, level)
    names = list(network.nodes)
    chosen = [names[i] for i in result.members]
    data = {
        **pick(result, "alpha", "found", "lower_by", "status", "cliques", "starts", "seconds"),
        "set": chosen,
        "nearest": float(result.nearest),
        "nearest_exact": result.nearest,
        "lower": float(result.lower),
        "first_level": None if result.certificate is None else result.certificate.lower,
        "vertices": result.instance.vertices,
        "degree": result.instance.degree,
        "d": result.instance.blocks,
    }
    table = Table("Independence number through nearest recovery", _set_rows(result, chosen))
    return Answer(data, [table], lambda: plot_independent_set(result, network))


def _set_rows(result: Any, chosen: list[Any]) -> list[tuple[str, object]]:
    size = f"{result.instance.vertices} vertices, degree {result.instance.degree}: d = {result.instance.blocks}"
    level = [] if result.certificate is None else [("first sums-of-squares level", result.certificate.lower)]
    return [
        ("graph", size),
        ("squared distance found", result.found),
        ("rounded to a set", f"{float(result.nearest):.10g} = {result.nearest}"),
        ("proved lower bound", f"{float(result.lower):.10g} ({result.lower_by})"),
        ("status", result.status),
        ("independence number", result.alpha if result.status == "optimal" else f"at least {result.alpha}"),
        ("set", ", ".join(map(str, chosen))),
        ("cliques of the complement", "not finished" if result.cliques is None else result.cliques),
        *level,
        ("seconds", f"{result.seconds:.2f}"),
    ]


def scaling(
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="Largest d of exact recovery.")] = 60,
    time_limit: Annotated[float, typer.Option("--time-limit", min=0, help="Seconds for each run of SCIP.")] = 10.0,
    seed: Seed = 0,
) -> Answer:
    """Time against d: exact recovery beside SCIP on nearest recovery and on the general class."""
    from markov_icl.analysis.hardness_scaling import hardness_scaling
    from markov_icl.interfaces.plots.hardness import plot_scaling

    with bar("scaling") as tell:
        result = hardness_scaling(most, time_limit, seed, tell)
    series = pick(result, "exact", "nearest", "general")
    tables = [
        Table(
            name.capitalize(),
            [(t.d, f"{t.seconds:.3f}", f"{t.nodes:.0f}", "yes" if t.solved else "time limit") for t in timings],
            ("d", "seconds", "nodes", "solved"),
        )
        for name, timings in series.items()
    ]
    return Answer({**series, "time_limit": time_limit}, tables, lambda: plot_scaling(result))
