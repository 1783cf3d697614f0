"""The group hardness: independent sets and scaling here, separability and its reduction in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from markov_icl.interfaces.commands.options import Json, Plot, Seed, TimeLimit, completion, with_fields
from markov_icl.interfaces.commands.separability import PointOptions, reduce, separability

__all__ = ["register"]


def _graph_names() -> list[str]:
    from markov_icl.interfaces.graphs import graph_names

    return graph_names()


Graph = Annotated[
    str | None,
    typer.Option(
        "--graph", help="petersen, cycle:7, random_regular:3,10,1, ...", autocompletion=completion(_graph_names)
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group ``hardness`` to the application."""
    group = typer.Typer(
        help="What is hard in recovering transformer parameters, and what is not.", no_args_is_help=True
    )
    for name, command in (
        ("separability", with_fields(separability, "points", PointOptions)),
        ("reduce", with_fields(reduce, "points", PointOptions)),
        ("independent-set", independent_set),
        ("scaling", scaling),
    ):
        group.command(name=name)(command)
    app.add_typer(group, name="hardness")


def independent_set(
    graph: Graph = None,
    graph6: Annotated[str | None, typer.Option("--graph6", help="A graph6 string.")] = None,
    edges: Annotated[Path | None, typer.Option("--edges", help="A file with two vertices a line.")] = None,
    level: Annotated[
        bool, typer.Option("--certify", help="Also the first sums-of-squares bound (up to about 7 vertices).")
    ] = False,
    starts: Annotated[int, typer.Option("--starts", min=1, max=10_000, help="Random starts of the search.")] = 32,
    seed: Seed = 0,
    time_limit: TimeLimit = 60.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """A regular graph's independence number, read off nearest recovery; beside the exact number from cliques."""
    from markov_icl.hardness.independent_set import independent_set as solve
    from markov_icl.interfaces import output
    from markov_icl.interfaces.graphs import read_graph

    output.check_target(plot)
    network = read_graph(graph, graph6, edges)
    with output.status_line("independent set") as show:
        show(f"{network.number_of_nodes()} vertices")
        result = solve(network, starts, seed, time_limit, level)
    if plot is not None:
        from markov_icl.interfaces.plots.hardness import plot_independent_set

        output.save_figure(plot_independent_set(result, network), plot)
    names = list(network.nodes)
    chosen = [names[i] for i in result.members]
    certificate = result.certificate
    if json:
        output.print_json(
            {
                "alpha": result.alpha,
                "set": chosen,
                "nearest": float(result.nearest),
                "nearest_exact": result.nearest,
                "found": result.found,
                "lower": float(result.lower),
                "lower_by": result.lower_by,
                "status": result.status,
                "cliques": result.cliques,
                "first_level": None if certificate is None else certificate.lower,
                "vertices": result.instance.vertices,
                "degree": result.instance.degree,
                "d": result.instance.blocks,
                "starts": result.starts,
                "seconds": result.seconds,
            }
        )
        return
    rows: list[tuple[str, object]] = [
        (
            "graph",
            f"{result.instance.vertices} vertices, degree {result.instance.degree}: d = {result.instance.blocks}",
        ),
        ("squared distance found", result.found),
        ("rounded to a set", f"{float(result.nearest):.10g} = {result.nearest}"),
        ("proved lower bound", f"{float(result.lower):.10g} ({result.lower_by})"),
        ("status", result.status),
        ("independence number", result.alpha if result.status == "optimal" else f"at least {result.alpha}"),
        ("set", ", ".join(map(str, chosen))),
        ("cliques of the complement", "not finished" if result.cliques is None else result.cliques),
    ]
    if certificate is not None:
        rows.append(("first sums-of-squares level", certificate.lower))
    rows.append(("seconds", f"{result.seconds:.2f}"))
    output.print_table("Independence number through nearest recovery", ("", ""), rows)


def scaling(
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="Largest d of exact recovery.")] = 60,
    time_limit: Annotated[float, typer.Option("--time-limit", min=0, help="Seconds for each run of SCIP.")] = 10.0,
    seed: Seed = 0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Time against d: exact recovery beside SCIP on nearest recovery and on the general class."""
    from markov_icl.analysis.hardness_scaling import hardness_scaling
    from markov_icl.interfaces import output

    output.check_target(plot)
    with output.status_line("scaling") as show:
        result = hardness_scaling(most, time_limit, seed, lambda _share, words: show(words))
    if plot is not None:
        from markov_icl.interfaces.plots.hardness import plot_scaling

        output.save_figure(plot_scaling(result), plot)
    series = {"exact": result.exact, "nearest": result.nearest, "general": result.general}
    if json:
        times = {name: [timing.__dict__ for timing in timings] for name, timings in series.items()}
        output.print_json({**times, "time_limit": time_limit})
        return
    for name, timings in series.items():
        rows = [(t.d, f"{t.seconds:.3f}", f"{t.nodes:.0f}", "yes" if t.solved else "time limit") for t in timings]
        output.print_table(f"{name.capitalize()}", ("d", "seconds", "nodes", "solved"), rows)
