"""Graphs as the command line names them: a generator of networkx, a graph6 string, or a file of edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markov_icl.choices import hint

__all__ = ["graph_names", "read_graph"]

_MOST = 1000


def read_graph(name: str | None = None, graph6: str | None = None, edges: Path | None = None) -> Any:
    """Return a networkx graph from exactly one of three sources.

    Args:
        name: a generator of networkx without ``_graph``, with whole numbers after a colon: ``petersen``,
            ``cycle:7``, ``random_regular:3,10,1``.
        graph6: in the format of that name.
        edges: two vertex names a line, separated by spaces or a comma; ``#`` starts a comment.

    Raises:
        ValueError: if not exactly one is given, or it cannot be read.
        OSError: if there is no such file.
    """
    given = [v for v in (name, graph6, edges) if v is not None]
    if len(given) != 1:
        raise ValueError(f"expected one of --graph, --graph6 and --edges; got {len(given)} of them")
    if name is not None:
        return _named(name)
    return _graph6(str(graph6)) if edges is None else _from_edges(edges)


def graph_names() -> list[str]:
    """Return what networkx can generate, as ``--graph`` takes it, before any numbers."""
    import networkx

    return [
        name.removesuffix("_graph")
        for name, made in vars(networkx).items()
        if name.endswith("_graph") and str(getattr(made, "__module__", "")).startswith("networkx.generators")
    ]


def _named(name: str) -> Any:
    import networkx

    kind, _, text = name.partition(":")
    generator = getattr(networkx, f"{kind}_graph", None)
    if not kind.isidentifier() or not getattr(generator, "__module__", "").startswith("networkx.generators"):
        raise ValueError(
            "expected a graph that networkx generates, such as petersen, cycle:7, random_regular:3,10,1; "
            f"got {name!r}{hint(name, graph_names())}"
        )
    try:
        numbers = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ValueError(f"expected whole numbers after the colon of {name!r}") from None
    if any(abs(v) > _MOST for v in numbers):
        raise ValueError(f"expected numbers up to {_MOST} in {name!r}")
    try:
        return generator(*numbers)  # type: ignore[misc]
    except (TypeError, ValueError, networkx.NetworkXException) as error:
        raise ValueError(f"expected arguments that networkx accepts in {name!r}; it says: {error}") from None


def _graph6(text: str) -> Any:
    import networkx

    try:
        return networkx.from_graph6_bytes(text.strip().encode("ascii"))
    except (UnicodeEncodeError, ValueError, IndexError, networkx.NetworkXException) as error:
        raise ValueError(f"expected a graph6 string; got {text!r:.60} ({error})") from None


def _from_edges(path: Path) -> Any:
    import networkx

    graph = networkx.Graph()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        ends = line.partition("#")[0].replace(",", " ").split()
        if len(ends) not in (0, 2):
            raise ValueError(f"expected two vertices in line {number} of {path}; got {line!r:.60}")
        if ends:
            graph.add_edge(*ends)
    if not graph:
        raise ValueError(f"expected at least one edge in {path}")
    return graph
