"""The command line: parse, call, print."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from markov_icl.interfaces import (
    best_commands,
    depth_commands,
    experiment_commands,
    explore_command,
    hardness_commands,
    model_commands,
    reproduce_command,
    train_commands,
)
from markov_icl.interfaces.options import Device, Json, Memory, Plot, Seed, Source, with_task

__all__ = ["app", "main"]

app = typer.Typer(
    name="markov-icl",
    help="Exact optima of linear self-attention on in-context Markov chains, and how to reach them.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Method = Annotated[str, typer.Option("--method", help="auto | dense | operator | rational | symbolic.")]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    from typer._click.exceptions import ClickException

    sys.set_int_max_str_digits(0)  # exact results may be long
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except ClickException as error:
        _fail(error.format_message())
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (ValueError, OSError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except MemoryError:
        _fail("expected a smaller task; got one that does not fit in memory")
    except Exception as error:
        if os.environ.get("MARKOV_ICL_DEBUG"):
            raise
        sys.stderr.write(
            f"markov-icl: internal error: {type(error).__name__}: {' '.join(str(error).split())[:200]} "
            "(please report it; MARKOV_ICL_DEBUG=1 shows where)\n"
        )
        sys.exit(1)
    if code == 130:
        sys.stderr.write("markov-icl: stopped\n")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    sys.stderr.write("markov-icl: error: " + " ".join(message.split()) + "\n")
    sys.exit(2)


@app.command()
@with_task
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
        report = output.residual_bar(progress)
        form = minimizer(source.task, method, memory, seed=seed, progress=progress, residual=report, device=device)
    with blas_threads(form.moments.dimension):
        recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    if plot is not None:
        from markov_icl.interfaces.plots import plot_blocks

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
    from markov_icl.experiments.evaluation import evaluate_held_out, standard_predictors
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


@app.command(name="recover")
@with_task
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
            report = output.residual_bar(progress)
            form = minimizer(source.task, memory=memory, progress=progress, residual=report)
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


@app.command()
@with_task
def sample(
    source: Source,
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=1_000_000, help="How many to draw.")] = 3,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write a .npz, .safetensors or .parquet file.")] = None,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Seeded prompts, with their Gram matrices and true kernels."""
    from markov_icl.interfaces import output
    from markov_icl.interfaces.prompt_files import FORMATS, prompt_arrays, write_prompts
    from markov_icl.tasks.prompts import MarkovTask
    from markov_icl.tasks.sampling import sample_prompts

    output.check_target(plot)
    output.check_target(out, FORMATS)
    kernel = source.task.rows * source.task.states if isinstance(source.task, MarkovTask) else 0
    size = prompts * ((source.task.context + 1) * source.task.dimension + kernel)
    if size > 200_000_000:
        raise ValueError(f"expected at most 200 million numbers; got {size:,} (draw fewer prompts)")
    drawn = sample_prompts(source.task, prompts, seed)
    if out is not None:
        write_prompts(out, source.task, seed, drawn)
    if plot is not None:
        from markov_icl.interfaces.plots import plot_prompts

        output.save_figure(plot_prompts(drawn), plot)
    if json:
        output.print_json({"seed": seed, **prompt_arrays(drawn)})
        return
    for k in range(min(prompts, 3)):
        rows = [("context", _digits(row)) for row in drawn.context[k][:8]]
        more = [("", f"... {source.task.context - 8} more chains")] if source.task.context > 8 else []
        asked = ("query", _digits(drawn.query[k]) + " ?"), ("answer", f"{drawn.target[k]:g}")
        output.print_table(f"Prompt {k + 1}", ("", "column"), [*rows, *more, *asked])


def _digits(row: Any) -> str:
    return " ".join(f"{v:.4g}" for v in row)


@app.command()
@with_task
def slices(
    source: Source,
    coordinates: Annotated[
        str | None,
        typer.Option("--coordinates", help="One-based, such as 1,2,5; the first six if not given."),
    ] = None,
    radius: Annotated[float, typer.Option("--radius", help="Half-width of each slice.")] = 1.0,
    points: Annotated[int, typer.Option("--points", min=3, max=10_001, help="Points on a slice.")] = 81,
    memory: Memory = 8.0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """The population loss along coordinates of X, the minimizer marked (Fig. 10)."""
    from markov_icl.interfaces import output
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.landscape.slices import coordinate_slices

    output.check_target(plot)
    chosen = None if coordinates is None else [_whole(part) - 1 for part in coordinates.split(",")]
    with output.progress_bar("moments") as progress:
        report = output.residual_bar(progress)
        form = minimizer(source.task, memory=memory, progress=progress, residual=report)
    result = coordinate_slices(form, chosen, radius, points)
    if plot is not None:
        from markov_icl.interfaces.plots import plot_slices

        output.save_figure(plot_slices(result), plot)
    if json:
        output.print_json({**result.__dict__, "coordinates": [c + 1 for c in result.coordinates]})
        return
    rows = [
        (result.labels[c], result.minimizer[c], result.loss, result.losses[c, 0], result.losses[c, -1])
        for c in range(len(result.coordinates))
    ]
    header = ("coordinate", "minimizer", "loss there", f"loss at -{radius:g}", f"loss at +{radius:g}")
    output.print_table("Slices of the loss", header, rows)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected whole numbers separated by commas; got {text!r:.40}") from None


@app.command(name="map")
@with_task
def map_command(
    source: Source,
    p: Annotated[
        str | None, typer.Option("--p", help="Start probabilities, such as 1/10,1/2; a grid if not given.")
    ] = None,
    contexts: Annotated[str | None, typer.Option("--contexts", help="Context sizes; a grid if not given.")] = None,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Where transformer parameters reach the optimum: the exact discriminant over (p, n) at length 2."""
    from markov_icl.experiments.realizability import realizability_map
    from markov_icl.interfaces import output

    extra = sorted(set(source.given) - {"prior", "length", "states", "order"})
    if source.data is not None or extra:
        raise ValueError(f"expected only --prior beside map, which scans p and n; got --{(extra or ['sequences'])[0]}")
    if (source.task.states, source.task.order, source.task.length) != (2, 1, 2):
        raise ValueError("expected 2 states, order 1 and length 2 for the map; got another task")
    output.check_target(plot)
    grid = [Fraction(i, 50) for i in range(1, 50)] if p is None else [part.strip() for part in p.split(",")]
    sizes = list(range(1, 41)) if contexts is None else [_whole(part) for part in contexts.split(",")]
    with output.progress_bar("points") as progress:
        result = realizability_map(grid, sizes, source.task.prior, progress)
    if plot is not None:
        from markov_icl.interfaces.plots import plot_map

        output.save_figure(plot_map(result), plot)
    if json:
        output.print_json(
            {
                "p": result.p,
                "n": result.n,
                "discriminant": result.discriminant.astype(float),
                "discriminant_exact": result.discriminant,
                "realizable": result.realizable,
                "loss": result.loss,
                "formula_b": result.b,
                "formula_A": result.A,
                "formula_error": result.formula_error,
            }
        )
        return
    yes = result.realizable
    rows = []
    for k, n in enumerate(result.n):
        reached = [result.p[i] for i in range(len(result.p)) if yes[i, k]]
        span = f"{float(min(reached)):.4g} .. {float(max(reached)):.4g}" if reached else "none"
        middle = result.p[len(result.p) // 2]
        b2 = result.b[len(result.p) // 2, k, 1]
        rows.append((n, f"{len(reached)} of {len(result.p)}", span, "not real" if b2 != b2 else f"{b2:.6g}"))
    header = ("n", "reached", "p", f"b2 of Theorem 3.3 at p = {middle}")
    output.print_table("Start probabilities whose optimum real parameters reach", header, rows)


for commands in (
    best_commands,
    model_commands,
    train_commands,
    depth_commands,
    hardness_commands,
    experiment_commands,
    reproduce_command,
    explore_command,
):
    commands.register(app)


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", help="Folder for index.html.")] = Path("report"),
) -> None:
    """The paper's claims and figures, recomputed, as one self-contained HTML page."""
    from markov_icl.interfaces.output import progress_bar
    from markov_icl.interfaces.report import write_report

    with progress_bar("report") as progress:
        path = write_report(out, progress)
    sys.stdout.write(f"{path}\n")
