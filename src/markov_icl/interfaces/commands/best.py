"""Commands about the best a real layer can do: best, nearest, heads, certify, verify."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import (
    Json,
    Memory,
    Plot,
    SearchStarts,
    Seed,
    Source,
    TimeLimit,
    choice,
    with_task,
)

__all__ = ["register"]

Norm = Annotated[str, choice("--norm", "frobenius", "euclidean", note=": on the blocks, or on X")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    for name, command in (("best", best), ("nearest", nearest), ("heads", heads), ("certify", certify)):
        app.command(name=name)(with_task(command))
    app.command(name="verify")(verify)


def _system(source: Source, memory: float) -> tuple[Any, Any, Any]:
    """Return exact or float moments, the same in float64, and the minimizer."""
    from markov_icl.interfaces.output import progress_bar
    from markov_icl.landscape.direct import solve
    from markov_icl.moments.compute import cheapest_exact

    with progress_bar("moments") as progress:
        options = {"memory": memory, "progress": progress}
        system = cheapest_exact(source.task, **options)
    form = solve(system)
    return system, form.moments, form


def _searchable(source: Source, memory: float) -> tuple[Any, Any]:
    """Return the minimizer and the quadratic to search on: with its matrix, or without on long chains."""
    from markov_icl.interfaces.output import progress_bar
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.search.matrix_free import is_beyond_dense, require_search_gigabytes

    if not is_beyond_dense(source.task):
        _, moments, form = _system(source, memory)
        return form, moments
    require_search_gigabytes(source.task, memory)
    with progress_bar("f~*") as progress:
        form = minimizer(source.task, "operator", memory, progress=progress)
    return form, form.moments


def best(
    source: Source,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Attention heads.")] = 1,
    starts: SearchStarts = 64,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The best loss found over transformer parameters, with every local minimum met on the way."""
    from markov_icl.interfaces import output
    from markov_icl.recovery.search.fit import search

    output.check_target(plot)
    form, quadratic = _searchable(source, memory)
    with output.progress_bar("starts") as progress:
        fit = search(quadratic, heads, starts, seed, informed=form.X, progress=progress)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_minima

        output.save_figure(plot_minima(fit, form.loss), plot)
    if json:
        output.print_json(
            {
                "loss": fit.loss,
                "bound": "upper bound from a local search; `certify` proves how far from optimal it can be",
                "floor": form.loss,
                "gap": fit.loss - form.loss,
                "error": form.error,
                "heads": fit.heads,
                "b": fit.b[0] if heads == 1 else fit.b,
                "A": fit.A[0] if heads == 1 else fit.A,
                "X": fit.X,
                "minima": [_minimum(one) for one in fit.minima],
                **{
                    k: getattr(fit, k)
                    for k in ("random_starts", "informed_starts", "saddles", "unconverged", "screened")
                },
            }
        )
        return
    rows = [("best loss found", fit.loss), ("f~* of the enlarged space", form.loss), ("gap", fit.loss - form.loss)]
    output.print_table(f"Best parameters with {heads} head{'s' if heads > 1 else ''} (upper bound)", ("", ""), rows)
    table = [
        (k + 1, one.loss, one.random_starts, one.informed_starts, _signs(one.signature))
        for k, one in enumerate(fit.minima)
    ]
    output.print_table("Local minima", ("", "loss", "random starts", "informed starts", "Hessian -/0/+"), table)
    if fit.screened:
        followed = fit.random_starts + fit.informed_starts
        sys.stdout.write(
            f"long chain, no matrix: {fit.screened + followed} starts evaluated, {followed} followed down\n"
        )
    if fit.saddles or fit.unconverged:
        sys.stdout.write(f"{fit.saddles} starts ended on saddles, {fit.unconverged} did not converge\n")


def _signs(signature: Any) -> str:
    return f"{signature.negative}/{signature.zero}/{signature.positive}"


def _minimum(one: Any) -> dict[str, Any]:
    return {
        "loss": one.loss,
        "random_starts": one.random_starts,
        "informed_starts": one.informed_starts,
        "signature": {k: getattr(one.signature, k) for k in ("negative", "zero", "positive")},
        "relative_gradient": one.relative_gradient,
        "b": one.b,
        "A": one.A,
    }


def nearest(
    source: Source,
    norm: Norm = "frobenius",
    starts: SearchStarts = 64,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The realizable point closest to X*, and where its loss stands: f~* <= f* <= f(nearest) (Remark C.15)."""
    from markov_icl.interfaces import output
    from markov_icl.recovery.search.fit import search
    from markov_icl.recovery.search.nearest import nearest as closest

    output.check_target(plot)
    form, quadratic = _searchable(source, memory)
    with output.progress_bar("starts") as progress:
        fit = closest(form.X, norm, blocks=quadratic.blocks, starts=starts, seed=seed, progress=progress)
        least = search(quadratic, 1, starts, seed, informed=form.X, progress=progress)
    ladder = {"floor": form.loss, "best": least.loss, "nearest": quadratic.loss(fit.X)}
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_nearest

        output.save_figure(plot_nearest(form, fit.X), plot)
    if json:
        result = {"norm": norm, "squared_distance": fit.loss, **ladder, "b": fit.b[0], "A": fit.A[0], "X": fit.X}
        output.print_json({**result, "minima": [_minimum(one) for one in fit.minima]})
        return
    rows = [
        (f"squared distance, {norm} (upper bound)", fit.loss),
        ("f~*, the enlarged optimum", ladder["floor"]),
        ("best loss found over (b, A)", ladder["best"]),
        ("loss at the nearest point", ladder["nearest"]),
    ]
    output.print_table("Nearest realizable point", ("", ""), rows)


def heads(
    source: Source,
    max_heads: Annotated[int | None, typer.Option("--max-heads", min=1, help="Largest number tried.")] = None,
    starts: Annotated[int, typer.Option("--starts", min=1, max=100_000, help="Random starts for each number.")] = 16,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The best loss found with 1, 2, ... heads, and the fewest that leave no gap."""
    from markov_icl.interfaces import output
    from markov_icl.recovery.heads.heads import heads as curve_of

    output.check_target(plot)
    system, _, _ = _system(source, memory)
    with output.progress_bar("heads") as progress:
        curve = curve_of(system, max_heads, starts, seed, progress=progress)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_heads

        output.save_figure(plot_heads(curve), plot)
    bounds = {name: getattr(curve, name) for name in ("at_least", "at_most")}
    if json:
        result = {"losses": curve.losses, "floor": curve.floor, "gaps": curve.gaps, "smallest": curve.smallest}
        output.print_json({**result, **{name: bound.__dict__ for name, bound in bounds.items()}})
        return
    rows = [(r + 1, loss, gap) for r, (loss, gap) in enumerate(zip(curve.losses, curve.gaps, strict=True))]
    output.print_table("Best loss found", ("heads", "loss (upper bound)", "gap to f~*"), rows)
    for name, bound in bounds.items():
        sys.stdout.write(f"no gap needs {name.replace('_', ' ')} {bound.heads} heads ({bound.kind}): {bound.reason}\n")


def certify(
    source: Source,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Gap to reach, in squared states.")] = 1e-6,
    time_limit: TimeLimit = None,
    save: Annotated[Path | None, typer.Option("--save", help="Keep the certificate (.safetensors).")] = None,
    seed: Seed = 0,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The global minimum over transformer parameters, with a verified proof of globality."""
    from markov_icl.interfaces import output
    from markov_icl.recovery.solver.certify import certify as prove
    from markov_icl.recovery.solver.certify import require_memory
    from markov_icl.tasks.spec import task_to_dict

    output.check_target(plot)
    output.check_target(save, (".safetensors",))
    require_memory(source.task.blocks * source.task.dimension**2, memory)
    began = time.monotonic()
    system, _, form = _system(source, memory)
    estimated = system.is_estimate
    trace: list[Any] = []
    header = None if estimated else task_to_dict(source.task)
    with output.progress_bar("certify") as progress:
        proof = prove(system, tolerance, time_limit, progress, seed, task=header, memory=memory, trace=trace)
    seconds = time.monotonic() - began
    if save is not None:
        proof.save(save)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_certificate

        output.save_figure(plot_certificate(proof, trace, form.loss), plot)
    result = {k: getattr(proof, k) for k in ("upper", "lower", "gap", "status", "verified", "nodes", "b", "A")}
    result |= {"seconds": seconds, "floor": form.loss, "moments": form.error}
    if json:
        output.print_json(result)
        return
    rows = [
        ("best loss, attained at (b, A)", proof.upper),
        ("proved lower bound", proof.lower),
        ("gap", proof.gap),
        ("status", f"{proof.status}, verified: {proof.verified}"),
        ("f~* of the enlarged space", form.loss),
        ("price of real parameters", proof.lower - form.loss),
        ("nodes", proof.nodes),
        ("seconds", f"{seconds:.1f}"),
    ]
    output.print_table("Certified one-layer optimum", ("", ""), rows)
    if estimated:
        sys.stdout.write(f"note: the proof is about estimated moments ({form.error})\n")


def verify(
    file: Annotated[Path, typer.Argument(help="A certificate that `certify --save` wrote.")],
    json: Json = False,
) -> None:
    """Prove a certificate's bound afresh, from the task in its header; nothing else in it is trusted."""
    from markov_icl.interfaces import output
    from markov_icl.recovery.certificate.certificate import Certificate
    from markov_icl.recovery.certificate.verify import verify as check

    certificate = Certificate.load(file)
    with output.status_line("verify") as show:
        show(f"{len(certificate.leaves)} leaves")
        verdict = check(certificate)
    about = "the task in its header" if certificate.task is not None else "the quadratic it stores"
    if json:
        output.print_json({**verdict.__dict__, "gap": verdict.gap, "about": about, "task": certificate.task})
        return
    rows = [
        ("proved lower bound", verdict.lower),
        ("loss at (b, A)", verdict.upper),
        ("gap", verdict.gap),
        ("proof", f"{verdict.proof}: {verdict.reason}"),
        ("leaves", verdict.leaves),
        ("about", about),
    ]
    output.print_table("Verified", ("", ""), rows)
