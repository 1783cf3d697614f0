"""Commands about the enlarged space: optimum, recover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Device, Memory, Method, Seed, Source, answering, with_task
from markov_icl.interfaces.output import Answer, Table, pick
from markov_icl.memory import DEFAULT_MEMORY_GB
from markov_icl.progress import bar

__all__ = ["register"]

_MOST_ROWS = 60
"""Coordinates of ``X*`` that are printed."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="optimum")(with_task(answering(optimum)))
    app.command(name="recover")(with_task(answering(recover_command, picture=False)))


def optimum(
    source: Source,
    method: Method = "auto",
    memory: Memory = DEFAULT_MEMORY_GB,
    device: Device = "cpu",
    seed: Seed = 0,
) -> Answer:
    """The global minimizer of one-layer linear self-attention in the enlarged space."""
    from markov_icl.interfaces.plots.optimum import plot_blocks
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover
    from markov_icl.threads import blas_threads

    with bar("moments") as tell:
        form = minimizer(source.task, method, memory, seed=seed, progress=tell, device=device)
    with blas_threads(form.moments.dimension):
        recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    held_out = None if source.data is None else _held_out(source, form)
    data = {"task": source.document, **_optimum_data(form), **_recovery_data(recovery)}
    words = _optimum_words(form, recovery)
    if held_out is not None:
        data["data"] = held_out
        words += _held_out_words(held_out)
    return Answer(data, words, lambda: plot_blocks(form))


def _optimum_data(form: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        **pick(form, "loss", "loss_exact", "loss_error", "error", "method", "residual", "condition", "unique"),
        "moments": form.moments.method,
        "nodes": form.moments.nodes,
        "uniqueness_proof": None if form.convexity is None else form.convexity.proof,
        "nullity": _nullity(form),
        **pick(form, "X", "X_exact", "X_error"),
    }
    if form.formula is not None:
        data["X_formula"] = [str(x) for x in form.formula.X]
        data["discriminant_formula"] = str(form.formula.discriminant)
        data["symbols"] = form.formula.symbols
    if form.free is not None:
        data["free"] = form.free
    return data


def _recovery_data(recovery: Any) -> dict[str, Any]:
    data = {"recoverable": recovery.recoverable, "recovery_exact": recovery.exact}
    if recovery.recoverable:
        data |= pick(recovery, "b", "A", "b_exact", "A_exact")
    else:
        w = recovery.witness
        data["witness"] = {
            **pick(w, "kind", "text", "value", "vector"),
            "block": w.block + 1,
            "rows": w.rows and [i + 1 for i in w.rows],
            "columns": w.columns and [i + 1 for i in w.columns],
        }
    if not recovery.exact:
        data["tolerance"] = recovery.tolerance
    return data


def _held_out(source: Source, form: Any) -> dict[str, Any]:
    from markov_icl.analysis.evaluation import evaluate_held_out, standard_predictors
    from markov_icl.models.predictors import Constant

    names = {"optimum": "X*", "bayes": "Bayes", "constant": "constant"}
    constant = Constant(source.data.training_mean)
    predictors = standard_predictors(source.task, form, constant=constant, chosen=list(names))
    table = evaluate_held_out(source.data, predictors)
    scores: dict[str, Any] = {"prompts": table.prompts, "groups": table.groups}
    for key, name in names.items():
        row = table.row(name)
        scores |= {key: row.loss, f"{key}_se": row.loss_se}
    scores["optimum_expected"] = form.loss
    return {**scores, "notes": source.data.notes, "held_out_groups": source.data.held_out_groups}


def _held_out_words(held: dict[str, Any]) -> list[Table | str]:
    rows = [(name.replace("_", " "), value) for name, value in held.items()][:-2]
    return [Table("Held-out prompts", rows), *(f"note: {note}" for note in held["notes"])]


def _averaged(form: Any) -> str:
    return "classes of chains" if form.moments.method == "pooled counts" else "kernels"


def _optimum_words(form: Any, recovery: Any) -> list[Table | str]:
    rows: list[tuple[str, object]] = [
        ("loss f~*", form.loss),
        ("error of the loss", f"{form.error}" + (f" ({form.loss_error:.2g})" if form.loss_error else "")),
        ("method", f"{form.method}, {form.moments.method} over {form.moments.nodes:,} {_averaged(form)}"),
        ("unknowns", form.moments.size),
        ("residual", form.residual),
        _condition(form),
        ("unique", _uniqueness(form)),
        ("transformer reaches it", _in_words(recovery)),
    ]
    if form.loss_exact is not None and len(str(form.loss_exact)) <= 60:
        rows.insert(1, ("loss, exact", str(form.loss_exact)))
    shown = form.X if form.X_exact is None else form.X_exact
    coordinates = list(zip(form.labels, shown, strict=True))[:_MOST_ROWS]
    words: list[Table | str] = [
        Table("Optimum in the enlarged space", rows),
        Table("X*", coordinates, ("coordinate", "value")),
    ]
    if len(shown) > _MOST_ROWS:
        words.append(f"... {len(shown) - _MOST_ROWS} more; --json prints all, --plot draws them")
    if form.formula is not None:
        names = ", ".join(f"{k} = {v}" for k, v in form.formula.symbols.items())
        formulas = [*zip(form.labels, form.formula.X, strict=True), ("discriminant", form.formula.discriminant)]
        words.append(Table(f"In symbols ({names})", formulas))
    return words


def _nullity(form: Any) -> int | None:
    """Return the number of free directions; None where there are some that nobody counted."""
    if form.free is None:
        return 0 if form.unique else None
    return len(form.free)


def _condition(form: Any) -> tuple[str, str]:
    name = "condition number of H" + (", preconditioned" if form.method == "operator" else "")
    return name, f"{form.condition:.4g}" if form.condition < float("inf") else "infinite"


def _uniqueness(form: Any) -> str:
    proof = f" ({form.convexity.proof})" if form.convexity else ""
    if form.unique:
        return f"yes{proof}"
    if form.free is None:
        return "not to working precision; one of the minimizers shown"
    return f"no{proof}: {len(form.free)} free directions; least-norm point shown"


def _in_words(recovery: Any) -> str:
    how = "proved in exact arithmetic" if recovery.exact else f"verdict at tolerance {recovery.tolerance:g}"
    if not recovery.recoverable:
        return f"no ({how}): {recovery.witness.text}"
    b = recovery.b if recovery.b_exact is None else recovery.b_exact
    return f"yes ({how}): b = ({', '.join(str(v) if not isinstance(v, float) else f'{v:.6g}' for v in b)})"


def recover_command(
    source: Source,
    x: Annotated[str | None, typer.Option("--x", help="Numbers separated by commas; fractions are exact.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="JSON or YAML: a list, or an object with X.")] = None,
    blocks: Annotated[int | None, typer.Option("--blocks", min=1, help="Number of blocks of --x.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Relative, for decimals in --file.")] = 1e-9,
    memory: Memory = DEFAULT_MEMORY_GB,
) -> Answer:
    """Transformer parameters (b, A) with phi(b, A) = X, or a witness that there are none."""
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover

    if x is not None and file is not None:
        raise ValueError("expected --x or --file; got both")
    if x is None and file is None:
        with bar("moments") as tell:
            form = minimizer(source.task, memory=memory, progress=tell)
        X: Any = form.X if form.X_exact is None else form.X_exact
        blocks = form.moments.blocks
    else:
        X = _read_numbers(file) if file is not None else [part.strip() for part in str(x).split(",")]
    result = recover(X, blocks=blocks, tolerance=tolerance)
    rows: list[tuple[str, object]] = [("recoverable", _in_words(result))]
    if result.recoverable and result.A is not None:
        A = result.A if result.A_exact is None else result.A_exact
        rows += [(f"A, row {i}", "  ".join(f"{float(v):.8g}" for v in row)) for i, row in enumerate(A, start=1)]
    return Answer({**_recovery_data(result), "residual": result.residual}, [Table("Recovery", rows)])


def _read_numbers(file: Path) -> Any:
    from markov_icl.tasks.spec import read_document

    document = read_document(file)
    if isinstance(document, dict):
        document = document.get("X_exact") or document.get("X")
    if not isinstance(document, list) or not document:
        raise ValueError(f"expected a list of numbers, or an object with X, in {file}")
    flat = [v for row in document for v in row] if isinstance(document[0], list) else document
    if any(isinstance(v, list | dict | bool) or v is None for v in flat):
        raise ValueError(f"expected numbers in {file}; got {flat[0]!r:.40}")
    if len({len(row) for row in document} if isinstance(document[0], list) else {0}) != 1:
        raise ValueError(f"expected blocks of equal length in {file}")
    if all(isinstance(v, str | int) for v in flat):
        return [[str(v) for v in r] for r in document] if isinstance(document[0], list) else [str(v) for v in flat]
    try:
        return [[float(v) for v in r] for r in document] if isinstance(document[0], list) else list(map(float, flat))
    except ValueError:
        raise ValueError(f"expected all fractions as strings or all decimals in {file}; got a mixture") from None
