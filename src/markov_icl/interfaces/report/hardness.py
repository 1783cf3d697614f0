"""The report's section on hardness: which problem each proof is about, with pictures."""

from __future__ import annotations

import html

from markov_icl.hardness.independent_set import independent_set
from markov_icl.hardness.instances import generate
from markov_icl.hardness.reduction import example, reduce
from markov_icl.hardness.separability import separate
from markov_icl.interfaces.plots.hardness import (
    plot_independent_set,
    plot_placement,
    plot_separability,
)
from markov_icl.interfaces.report.page import picture, table

__all__ = ["hardness_section"]

PROBLEMS = (
    (
        "Exact recovery (Problem C.9): (b, A) with φ(b, A) = X",
        "polynomial",
        "A quadratic form that is a product of two linear forms has only those factors, so one block leaves b two "
        "directions; the rest is linear algebra in fractions. Hardness as printed would imply P = NP.",
        "markov-icl recover",
    ),
    (
        "Feasibility with free D(r), signs, fixed entries (Problem C.10)",
        "NP-hard",
        "Monotone 1-in-3-SAT fits into one column, without signs and fixed entries.",
        "markov-icl hardness reduce --clause 1,2,3 --clause 1,4,5 --clause 2,4,6",
    ),
    (
        "The bilinear program over that class (Problem C.11, Theorem C.14)",
        "NP-hard",
        "Bilinear separability fits in, with the constraints on z₂ in column 1. On those instances the minimum is 0 "
        "or at least 4.",
        "markov-icl hardness reduce --example",
    ),
    (
        "Nearest recovery: the (b, A) closest to X in the blocks' Frobenius norm",
        "NP-hard",
        "On the blocks of a regular graph the least distance is fixed by the independence number. Such X are not "
        "shown to be the optimum of a Markov task.",
        "markov-icl hardness independent-set --graph petersen",
    ),
    (
        "The best loss of a Markov task over (b, A)",
        "open",
        "None of these reductions produces the H and h of a task. Certificates close every task tried; their cost "
        "grows quickly with the length.",
        "markov-icl certify",
    ),
)


def hardness_section() -> str:
    """Return the section "What is hard and what is not" as HTML."""
    rows = [
        (html.escape(problem), kind, html.escape(why), f"<code>{html.escape(command)}</code>")
        for problem, kind, why, command in PROBLEMS
    ]
    text = (
        "<p>The paper proves hardness for one problem and states it for another. Below: which problem each proof is "
        "about.</p>"
    )
    shown = table(("Problem", "Complexity", "Why", "Command"), rows)
    return f"<h2>What is hard and what is not</h2>{text}{shown}" + "".join(_pictures())


def _pictures() -> list[str]:
    import networkx

    instance = generate("separable", seed=4)
    graph = networkx.petersen_graph()
    return [
        picture(
            plot_separability(instance, separate(instance).planes, "two lines, inner points on the near side of both"),
            "Inner points between two lines, outer points beyond them",
            "Bilinear separability in the plane. <code>markov-icl hardness separability --kind separable --seed 4 "
            "--plot planes.png</code>",
        ),
        picture(
            plot_placement(reduce(example())),
            "Table of the entries of b and A that hold the instance",
            "An instance with m' = k' = n' = 2 inside b and A, d = 8: the constraints on z₂ stand in column a1, "
            "with the outer points in D(r). <code>markov-icl hardness reduce --example --plot placement.png</code>",
        ),
        picture(
            plot_independent_set(independent_set(graph), graph),
            "The Petersen graph with four independent vertices marked",
            "Nearest recovery on the Petersen graph's 35 blocks, rounded to an independent set; cliques of the "
            "complement confirm its size. <code>markov-icl hardness independent-set --graph petersen</code>",
        ),
    ]
