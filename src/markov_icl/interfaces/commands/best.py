"""Commands about the best a real layer can do: best, nearest, heads, certify, verify."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.choices import NORMS
from markov_icl.interfaces.commands.options import (
    Memory,
    SearchStarts,
    Seed,
    Source,
    TimeLimit,
    answering,
    choice,
    with_task,
)
from markov_icl.interfaces.output import Answer, Table, check_target, pick
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.progress import bar, part

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    for name, command in (("best", best), ("nearest", nearest), ("heads", heads), ("certify", certify)):
        app.command(name=name)(with_task(answering(command)))
    app.command(name="verify")(answering(verify, picture=False))


def _system(source: Source, memory: float) -> tuple[Any, Any, Any]:
    """Return exact or float moments, the same in float64, and the minimizer."""
    from markov_icl.landscape.direct import solve
    from markov_icl.moments.compute import cheapest_exact

    with bar("moments") as tell:
        system = cheapest_exact(source.task, memory=memory, progress=tell)
    form = solve(system)
    return system, form.moments, form


def _searchable(source: Source, memory: float) -> tuple[Any, Any]:
    """Return the minimizer and the quadratic to search on: with its matrix, or without on long chains."""
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.search.matrix_free import is_beyond_dense, require_search_gigabytes

    if not is_beyond_dense(source.task):
        _, moments, form = _system(source, memory)
        return form, moments
    require_search_gigabytes(source.task, memory)
    with bar("f~*") as tell:
        form = minimizer(source.task, "operator", memory, progress=tell)
    return form, form.moments


def best(
    source: Source,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Attention heads.")] = 1,
    starts: SearchStarts = 64,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The best loss found over transformer parameters, with every local minimum met on the way."""
    from markov_icl.interfaces.plots.optimum import plot_minima
    from markov_icl.recovery.search.fit import search

    form, quadratic = _searchable(source, memory)
    with bar("starts") as tell:
        fit = search(quadratic, heads, starts, seed, informed=form.X, progress=tell)
    data = {
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
        **pick(fit, "random_starts", "informed_starts", "saddles", "unconverged", "screened"),
    }
    return Answer(data, _best_words(fit, form), lambda: plot_minima(fit, form.loss))


def _best_words(fit: Any, form: Any) -> list[Table | str]:
    plural = "s" if fit.heads > 1 else ""
    rows = [("best loss found", fit.loss), ("f~* of the enlarged space", form.loss), ("gap", fit.loss - form.loss)]
    minima = [
        (k, one.loss, one.random_starts, one.informed_starts, _signs(one.signature))
        for k, one in enumerate(fit.minima, start=1)
    ]
    words: list[Table | str] = [
        Table(f"Best parameters with {fit.heads} head{plural} (upper bound)", rows),
        Table("Local minima", minima, ("", "loss", "random starts", "informed starts", "Hessian -/0/+")),
    ]
    if fit.screened:
        followed = fit.random_starts + fit.informed_starts
        words.append(f"long chain, no matrix: {fit.screened + followed} starts evaluated, {followed} followed down")
    if fit.saddles or fit.unconverged:
        words.append(f"{fit.saddles} starts ended on saddles, {fit.unconverged} did not converge")
    return words


def _signs(signature: Any) -> str:
    return f"{signature.negative}/{signature.zero}/{signature.positive}"


def _minimum(one: Any) -> dict[str, Any]:
    signature = pick(one.signature, "negative", "zero", "positive")
    return {
        **pick(one, "loss", "random_starts", "informed_starts", "relative_gradient", "b", "A"),
        "signature": signature,
    }


def nearest(
    source: Source,
    norm: Annotated[str, choice("--norm", *NORMS, note=": on the blocks, or on X")] = "frobenius",
    starts: SearchStarts = 64,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The realizable point closest to X*, and where its loss stands: f~* <= f* <= f(nearest) (Remark C.15)."""
    from markov_icl.interfaces.plots.optimum import plot_nearest
    from markov_icl.recovery.search.fit import search
    from markov_icl.recovery.search.nearest import nearest as closest

    form, quadratic = _searchable(source, memory)
    with bar("starts") as tell:
        options: dict[str, Any] = {"blocks": quadratic.blocks, "starts": starts, "seed": seed}
        fit = closest(form.X, norm, **options, progress=part(tell, 0.0, 0.5))
        least = search(quadratic, 1, starts, seed, informed=form.X, progress=part(tell, 0.5, 1.0))
    losses = {"floor": form.loss, "best": least.loss, "nearest": quadratic.loss(fit.X)}
    data = {"norm": norm, "squared_distance": fit.loss, **losses, "b": fit.b[0], "A": fit.A[0], "X": fit.X}
    rows = [
        (f"squared distance, {norm} (upper bound)", fit.loss),
        ("f~*, the enlarged optimum", losses["floor"]),
        ("best loss found over (b, A)", losses["best"]),
        ("loss at the nearest point", losses["nearest"]),
    ]
    minima = [_minimum(one) for one in fit.minima]
    return Answer(
        {**data, "minima": minima}, [Table("Nearest realizable point", rows)], lambda: plot_nearest(form, fit.X)
    )


def heads(
    source: Source,
    max_heads: Annotated[int | None, typer.Option("--max-heads", min=1, help="Largest number tried.")] = None,
    starts: SearchStarts = 16,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The best loss found with 1, 2, ... heads, and the fewest that leave no gap."""
    from markov_icl.interfaces.plots.optimum import plot_heads
    from markov_icl.recovery.heads.heads import heads as curve_of

    system, _, _ = _system(source, memory)
    with bar("heads") as tell:
        curve = curve_of(system, max_heads, starts, seed, progress=tell)
    rows = [(r, loss, gap) for r, (loss, gap) in enumerate(zip(curve.losses, curve.gaps, strict=True), start=1)]
    bounds = pick(curve, "at_least", "at_most")
    needed = [
        f"no gap needs {name.replace('_', ' ')} {bound.heads} heads ({bound.kind}): {bound.reason}"
        for name, bound in bounds.items()
    ]
    table = Table("Best loss found", rows, ("heads", "loss (upper bound)", "gap to f~*"))
    return Answer(
        {**pick(curve, "losses", "floor", "gaps", "smallest"), **bounds}, [table, *needed], lambda: plot_heads(curve)
    )


def certify(
    source: Source,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Gap to reach, as a share of E y^2.")] = 1e-6,
    time_limit: TimeLimit = None,
    save: Annotated[Path | None, typer.Option("--save", help="Keep the certificate (.safetensors).")] = None,
    seed: Seed = 0,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """The global minimum over transformer parameters, with a verified proof of globality."""
    from markov_icl.interfaces.plots.optimum import plot_certificate
    from markov_icl.moments.problem import pose
    from markov_icl.recovery.certificate.attained import enlarged
    from markov_icl.recovery.solver.certify import certify as prove
    from markov_icl.recovery.solver.certify import require_memory

    check_target(save, (".safetensors",))
    require_memory(source.task.blocks * source.task.dimension**2, memory)
    began = time.monotonic()
    posed = pose(source.task, memory)
    trace: list[Any] = []
    with bar("certify") as tell:
        proof = prove(posed, tolerance, time_limit, tell, seed, memory=memory, trace=trace)
    unit = float(posed.scale)
    path = [(one.seconds, one.lower * unit, one.upper * unit) for one in trace]
    low, high = enlarged(posed)
    price = max(proof.lower - high, 0.0), max(proof.upper - low, 0.0)
    seconds = time.monotonic() - began
    if save is not None:
        proof.save(save)
    rows = [
        ("best loss, attained at (b, A)", proof.upper),
        ("proved lower bound", proof.lower),
        ("gap", proof.gap),
        ("status", f"{proof.status}, verified: {proof.verified}"),
        ("f~* of the enlarged space", high),
        ("price of real parameters", f"{price[0]:.4g} to {price[1]:.4g}"),
        ("nodes", proof.nodes),
        ("seconds", f"{seconds:.1f}"),
    ]
    data = pick(proof, "upper", "lower", "gap", "status", "verified", "moment_error", "nodes", "b", "A")
    error = posed.moments.error
    note = [f"note: the proof is about estimated moments ({error})"] if proof.status == "estimate" else []
    data |= {"seconds": seconds, "floor": high, "floor_lower": low, "price": price, "moments": error}
    words: list[Table | str] = [Table("Certified one-layer optimum", rows), *note]
    return Answer(data, words, lambda: plot_certificate(proof, path, high))


def verify(file: Annotated[Path, typer.Argument(help="A certificate that `certify --save` wrote.")]) -> Answer:
    """Prove a certificate's bound afresh, from the task in its header; nothing else in it is trusted."""
    from markov_icl.recovery.certificate.certificate import Certificate
    from markov_icl.recovery.certificate.verify import verify as check

    certificate = Certificate.load(file)
    with bar("verify") as tell:
        tell(None, f"{len(certificate.leaves)} leaves")
        verdict = check(certificate)
    about = "the task in its header" if certificate.task is not None else "the quadratic it stores"
    rows = [
        ("proved lower bound", verdict.lower),
        ("loss at (b, A)", verdict.upper),
        ("gap", verdict.gap),
        ("status", verdict.status),
        ("proof", f"{verdict.proof}: {verdict.reason}"),
        ("leaves", verdict.leaves),
        ("about", about),
    ]
    data = {**verdict.__dict__, "gap": verdict.gap, "about": about, "task": certificate.task}
    return Answer(data, [Table("Verified", rows)])
