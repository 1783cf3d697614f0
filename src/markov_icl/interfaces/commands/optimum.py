"""Commands about the enlarged space: optimum, recover."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces.commands.options import Device, Json, Memory, Method, Plot, Seed, Source, with_task

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the application."""
    app.command(name="optimum")(with_task(optimum))
    app.command(name="recover")(with_task(recover_command))


def optimum(
    source: Source,
    method: Method = "auto",
    memory: Memory = 8.0,
    device: Device = "cpu",
    seed: Seed = 0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The global minimizer of one-layer linear self-attention in the enlarged space."""
    from markov_icl.interfaces import output
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover
    from markov_icl.threads import blas_threads

    output.check_target(plot)
    with output.progress_bar("moments") as progress:
        form = minimizer(source.task, method, memory, seed=seed, progress=progress, device=device)
    with blas_threads(form.moments.dimension):
        recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    if plot is not None:
        from markov_icl.interfaces.plots.optimum import plot_blocks

        output.save_figure(plot_blocks(form), plot)
    if json:
        output.print_json(_optimum_json(source, form, recovery))
    else:
        _print_optimum(source, form, recovery)
        if plot is not None:
            sys.stdout.write(f"picture: {plot}\n")


def _optimum_json(source: Source, form: Any, recovery: Any) -> dict[str, Any]:
    from markov_icl.tasks.spec import task_to_dict

    result: dict[str, Any] = {
        "task": task_to_dict(source.task),
        "loss": form.loss,
        "loss_exact": form.loss_exact,
        "loss_error": form.loss_error,
        "error": form.error,
        "method": form.method,
        "moments": form.moments.method,
        "nodes": form.moments.nodes,
        "residual": form.residual,
        "condition": form.condition,
        "unique": form.unique,
        "uniqueness_proof": None if form.convexity is None else form.convexity.proof,
        "nullity": _nullity(form),
        "X": form.X,
        "X_exact": form.X_exact,
        "X_error": form.X_error,
        **_recovery_json(recovery),
    }
    if form.formula is not None:
        result["X_formula"] = [str(x) for x in form.formula.X]
        result["discriminant_formula"] = str(form.formula.discriminant)
        result["symbols"] = form.formula.symbols
    if form.free is not None:
        result["free"] = form.free
    if source.data is not None:
        result["data"] = _held_out(source, form)
    return result


def _recovery_json(recovery: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"recoverable": recovery.recoverable, "recovery_exact": recovery.exact}
    if recovery.recoverable:
        out |= {"b": recovery.b, "A": recovery.A, "b_exact": recovery.b_exact, "A_exact": recovery.A_exact}
    else:
        w = recovery.witness
        out["witness"] = {
            "kind": w.kind,
            "block": w.block + 1,
            "text": w.text,
            "value": w.value,
            "rows": w.rows and [i + 1 for i in w.rows],
            "columns": w.columns and [i + 1 for i in w.columns],
            "vector": w.vector,
        }
    if not recovery.exact:
        out["tolerance"] = recovery.tolerance
    return out


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


def _print_optimum(source: Source, form: Any, recovery: Any) -> None:
    from markov_icl.interfaces.output import print_table

    rows: list[tuple[str, object]] = [
        ("loss f~*", form.loss),
        ("error of the loss", f"{form.error}" + (f" ({form.loss_error:.2g})" if form.loss_error else "")),
        ("method", f"{form.method}, {form.moments.method} over {form.moments.nodes:,} kernels"),
        ("unknowns", form.moments.size),
        ("residual", form.residual),
        _condition(form),
        ("unique", _uniqueness(form)),
        ("transformer reaches it", _in_words(recovery)),
    ]
    if form.loss_exact is not None and len(str(form.loss_exact)) <= 60:
        rows.insert(1, ("loss, exact", str(form.loss_exact)))
    print_table("Optimum in the enlarged space", ("", ""), rows)
    shown = form.X if form.X_exact is None else form.X_exact
    most = 60
    print_table("X*", ("coordinate", "value"), list(zip(form.labels, shown, strict=True))[:most])
    if len(shown) > most:
        sys.stdout.write(f"... {len(shown) - most} more; --json prints all, --plot draws them\n")
    if form.formula is not None:
        names = ", ".join(f"{k} = {v}" for k, v in form.formula.symbols.items())
        formulas = [
            *zip(form.labels, form.formula.X, strict=True),
            ("discriminant", form.formula.discriminant),
        ]
        print_table(f"In symbols ({names})", ("", ""), formulas)
    if source.data is not None:
        held = _held_out(source, form)
        print_table("Held-out prompts", ("", ""), [(k.replace("_", " "), v) for k, v in held.items()][:-2])
        for note in source.data.notes:
            sys.stdout.write(f"note: {note}\n")


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
    memory: Memory = 8.0,
    json: Json = False,
) -> None:
    """Transformer parameters (b, A) with phi(b, A) = X, or a witness that there are none."""
    from markov_icl.interfaces import output
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover

    if x is not None and file is not None:
        raise ValueError("expected --x or --file; got both")
    if x is None and file is None:
        with output.progress_bar("moments") as progress:
            form = minimizer(source.task, memory=memory, progress=progress)
        X: Any = form.X if form.X_exact is None else form.X_exact
        blocks = form.moments.blocks
    else:
        X = _read_numbers(file) if file is not None else [part.strip() for part in str(x).split(",")]
    result = recover(X, blocks=blocks, tolerance=tolerance)
    if json:
        output.print_json({**_recovery_json(result), "residual": result.residual})
        return
    rows: list[tuple[str, object]] = [("recoverable", _in_words(result))]
    if result.recoverable and result.A is not None:
        A = result.A if result.A_exact is None else result.A_exact
        rows += [(f"A, row {i + 1}", "  ".join(f"{float(v):.8g}" for v in row)) for i, row in enumerate(A)]
    output.print_table("Recovery", ("", ""), rows)


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
