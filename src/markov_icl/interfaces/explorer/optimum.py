"""The page Optimum: the blocks of ``X*``, the ladder of losses, realizable or a witness."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.features import split_blocks, vech_indices, vech_size
from markov_icl.interfaces.explorer.colours import INK, QUIET, text_on
from markov_icl.interfaces.explorer.drawing import COLOURS, SIGNED
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Report, Values, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from markov_icl.landscape.minimizer import ClosedForm
    from markov_icl.recovery.factor import Recovery
    from markov_icl.recovery.quadratic import Dense
    from markov_icl.tasks.prompts import MarkovTask

__all__ = [
    "CONTEXT",
    "LENGTH",
    "OPTIMUM",
    "PRIOR",
    "STATES",
    "P",
    "Rung",
    "ladder",
    "prior_option",
    "read_task",
    "task_options",
]

_EXACT_LENGTH = 4
"""Up to this length fractions take a few milliseconds."""
_LONGEST_SEARCH = 12
"""Longer chains get no best loss found: a search there takes minutes."""
_QUICK_LENGTH, _FOLLOWED = 6, 8
"""Up to this length so many guesses are followed down: on 100 tasks one of them led to the best of all the guesses."""
_RANDOM_STARTS = 48
_BAYES_PROMPTS = 4096
_TOLERANCE = 1e-6
_BETWEEN, _AROUND = 44, 104
"""Pixels between rows of blocks, and above and below them all."""
_PROOF_LENGTH = 8
_PROOF_SECONDS = 120.0

_PRIORS = "uniform; dirichlet:1/2; beta:2,1,1,2 (p01 and p11); fixed:0.7,0.3;0.4,0.6 (a kernel's rows)"
P = Control("p", "Start probability p of state 1", "real", 0.5, 0.01, 0.99, 0.01)
CONTEXT = Control("n", "Context size n", "integer", 10, 1, 200)
LENGTH = Control("length", "Length", "integer", 4, 2, 33, help="States in a chain; above 6 in the background.")
STATES = Control("states", "States", "integer", 2, 2, 5)
PRIOR = Control("prior", "Prior over kernels", "text", "uniform", help=_PRIORS)
PROOF = Control(
    "proof",
    "Best real parameters",
    "choice",
    "search",
    choices=("search", "certificate"),
    help="A local search, or the global minimum with a verified proof, up to length 8.",
)


@dataclass(frozen=True)
class Rung:
    """A loss of the ladder: a name, squared states, how it is known, and its standard error if it is an estimate."""

    name: str
    loss: float
    kind: str
    error: float = 0.0


def read_task(values: Values) -> MarkovTask:
    """Return the task that the values of :data:`P`, :data:`CONTEXT`, ... describe; names no file.

    Raises:
        Refused: beside the prior, for one that the text does not name.
    """
    from markov_icl.tasks.spec import TaskSpec

    try:
        task = TaskSpec.read(_fields(values)).task()
    except ValueError as error:
        raise Refused("prior", str(error)) from None
    return task  # type: ignore[return-value]


def task_options(values: Values) -> str:
    """Return the options of the command line that name the same task."""
    fields = _fields(values)
    flags = [f"--{name} {fields[name]}" for name in ("states", "length", "context")]
    return " ".join([prior_option(values), *flags, f"--initial {shlex.quote(fields['initial'])}"])


def prior_option(values: Values) -> str:
    """Return the option of the command line that names the same prior; a kernel is given as a task file in place."""
    prior = _fields(values)["prior"]
    if isinstance(prior, dict):
        return f"--task <(echo {shlex.quote(json.dumps({'prior': prior}))})"
    return f"--prior {shlex.quote(prior)}"


def _fields(values: Values) -> dict[str, Any]:
    """Return the fields of a task file; ``fixed:`` and ``finite:``, which name files elsewhere, read none here."""
    states, p = int(str(values["states"])), Fraction(f"{values['p']:.12g}")
    others = (1 - p) / (states - 1)
    pmf = [others, p, *([others] * (states - 2))]
    initial = f"bernoulli:{p}" if states == 2 else "pmf:" + ",".join(map(str, pmf))
    text = str(values["prior"])
    kind, _, rest = text.partition(":")
    prior: str | dict[str, Any] = text
    if kind == "fixed":
        prior = {"fixed": [[entry.strip() for entry in row.split(",")] for row in rest.split(";")]}
    elif kind not in ("uniform", "dirichlet", "beta"):
        raise Refused("prior", f"expected uniform, dirichlet:, beta: or fixed:; got {text!r:.60}")
    return {
        "states": states,
        "length": values["length"],
        "context": values["n"],
        "initial": initial,
        "prior": prior,
    }


def compute(values: Values, report: Report) -> Outcome:
    """Solve the task and place its losses on the ladder."""
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover

    task = read_task(values)
    report(0.02, "moments")
    method = _method(task)
    form = minimizer(task, method, progress=lambda share: report(0.02 + 0.3 * share, "moments"))
    recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    rungs = ladder(task, form, recovery, values["proof"] == "certificate", report)
    pictures = (
        Picture("blocks", _blocks_alt(form), draw_blocks(form), "Blocks of X*"),
        Picture("ladder", _ladder_alt(rungs), draw_ladder(rungs), "Ladder of losses"),
    )
    return Outcome(pictures, _words(form, recovery, rungs), _rows(form, rungs))


def ladder(
    task: MarkovTask, form: ClosedForm, recovery: Recovery, prove: bool, report: Report = lambda _share, _words: None
) -> tuple[Rung, ...]:
    """Return the losses of the task from the largest to the Bayes loss: ``E y^2 >= f* >= f~* >= Bayes``.

    Args:
        task: what is predicted.
        form: its minimizer in the enlarged space.
        recovery: whether real parameters reach it; then ``f* = f~*`` needs no search.
        prove: find ``f*`` with a certificate rather than by a local search.
        report: called with the share done.
    """
    floor = Rung("f~* enlarged", form.loss, form.error, form.loss_error or 0.0)
    rungs = [Rung("E y²", form.moments.y2, "moment of the task")]
    if recovery.recoverable:
        how = "exact: real parameters reach f~*" if recovery.exact else "real parameters reach f~* to rounding"
        rungs.append(Rung("f* real", form.loss, how, form.loss_error or 0.0))
    elif task.length <= _LONGEST_SEARCH:
        rungs.append(_best(task, form, prove, report))
    report(0.9, "Bayes")
    return (*rungs, floor, _bayes(task))


def _best(task: MarkovTask, form: ClosedForm, prove: bool, report: Report) -> Rung:
    from markov_icl.moments.compute import cheapest_exact
    from markov_icl.recovery.certify import certify
    from markov_icl.recovery.fit import search
    from markov_icl.recovery.quadratic import Dense

    if prove:
        report(0.35, "certificate")

        def progress(lower: float, upper: float, nodes: int, _seconds: float) -> None:
            closed = np.log10(max(upper - lower, _TOLERANCE)) / np.log10(_TOLERANCE)
            report(0.35 + 0.5 * min(max(float(closed), 0.0), 1.0), f"gap {upper - lower:.1e}, {nodes} nodes")

        proof = certify(cheapest_exact(task), _TOLERANCE, _PROOF_SECONDS, progress)
        kind = f"{proof.status}: at least {proof.lower:.8g}, verified ({proof.verified})"
        return Rung("f* real", proof.upper, kind)
    quadratic = Dense.of(form.moments)  # type: ignore[arg-type]
    quick = task.length <= _QUICK_LENGTH
    fit = search(
        quadratic,
        1,
        0 if quick else _RANDOM_STARTS,
        0,
        _lowest_guesses(quadratic) if quick else (),
        not quick,
        lambda done, of, _: report(0.35 + 0.5 * done / of, f"start {done} of {of}"),
    )
    count = fit.random_starts + fit.informed_starts
    return Rung("f* real", fit.loss, f"best found from {count} starts, an upper bound")


def _lowest_guesses(quadratic: Dense) -> list[NDArray[np.float64]]:
    """Return the guesses for ``b`` taken from ``X*`` that have the least loss, each ``[1, D]``."""
    from markov_icl.recovery.projection import forms, frame, project
    from markov_icl.recovery.starts import balance, informed_starts

    E = forms(quadratic.dimension)
    guesses = informed_starts(quadratic.minimizer(), quadratic.blocks, balance(quadratic, E), 1)
    return [one.T for one in sorted(guesses, key=lambda one: project(quadratic, E, frame(one), 1).loss)[:_FOLLOWED]]


def _bayes(task: MarkovTask) -> Rung:
    """Average the posterior variance of the answer over drawn prompts: the same mean as the loss, less noise."""
    from markov_icl.models.bayes import posterior_predictive
    from markov_icl.tasks.sampling import sample_prompts

    posterior = posterior_predictive(task, sample_prompts(task, _BAYES_PROMPTS, 0, threads=1))
    values = np.array(task.values, dtype=float)
    variance = posterior @ values**2 - (posterior @ values) ** 2
    error = float(variance.std(ddof=1)) / np.sqrt(_BAYES_PROMPTS)
    return Rung("Bayes", float(variance.mean()), f"mean of {_BAYES_PROMPTS:,} drawn prompts", error)


def _method(task: MarkovTask) -> str:
    return "auto" if task.length <= _EXACT_LENGTH or task.length > 15 else "dense"


def draw_blocks(form: ClosedForm) -> dict[str, Any]:
    """Return a figure of every block of ``X*`` as the upper triangle it is, one scale for all."""
    blocks = split_blocks(form.X, form.moments.blocks)
    J, D = len(blocks), form.moments.dimension
    columns = _columns(J)
    lines = -(-J // columns)
    height = round(lines * (300 if J == 1 else 430 / columns) + _BETWEEN * (lines - 1) + _AROUND)
    top = float(np.abs(form.X).max()) or 1.0
    bar = {"orientation": "h", "y": -30 / (height - _AROUND), "yanchor": "top", "len": 0.7, "thickness": 10}
    scale = {"colorscale": [list(stop) for stop in SIGNED], "cmin": -top, "cmax": top}
    layout: dict[str, Any] = {
        "height": height,
        "coloraxis": {**scale, "colorbar": {**bar, "outlinewidth": 0}},
        "margin": {"l": 24, "r": 8, "t": 28, "b": _AROUND - 28},
        "showlegend": False,
        "annotations": [],
    }
    data: list[dict[str, Any]] = []
    ticks = list(range(1, D + 1)) if D <= 6 or columns <= 2 else []
    for j, block in enumerate(blocks):
        x, y = (
            _domain(j % columns, columns, 0.06),
            _domain(lines - 1 - j // columns, lines, _BETWEEN / (height - _AROUND)),
        )
        for letter, domain, ends in (("x", x, [0.5, D + 0.5]), ("y", y, [D + 0.5, 0.5])):
            layout[f"{letter}axis{j + 1}"] = {
                "domain": domain,
                "anchor": f"{'y' if letter == 'x' else 'x'}{j + 1}",
                "range": ends,
                "tickvals": ticks,
                "showgrid": False,
                "zeroline": False,
                "showline": False,
                "ticks": "",
            }
        name = {"text": f"block {j + 1}", "x": sum(x) / 2, "y": y[1], "xref": "paper", "yref": "paper"}
        layout["annotations"].append({**name, "yanchor": "bottom", "showarrow": False})
        data += _block_traces(j, D, block, top, numbers=columns * D <= 8)
    return {"data": data, "layout": layout}


def _block_traces(j: int, D: int, block: Any, top: float, numbers: bool) -> list[dict[str, Any]]:
    rows, cols = vech_indices(D)
    square = np.full((D, D), np.nan)
    square[rows, cols] = block
    axes = {"xaxis": f"x{j + 1}", "yaxis": f"y{j + 1}"}
    heat = {
        "type": "heatmap",
        "z": square,
        "x": list(range(1, D + 1)),
        "y": list(range(1, D + 1)),
        "coloraxis": "coloraxis",
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": f"block {j + 1}, (%{{y}}, %{{x}}): %{{z:.6g}}<extra></extra>",
        **axes,
    }
    if not numbers:
        return [heat]
    text = {
        "type": "scatter",
        "x": cols + 1,
        "y": rows + 1,
        "mode": "text",
        "text": [f"{value:.2f}".replace("-", "−") for value in block],
        "textfont": {"size": 11, "color": [text_on(value / top) for value in block]},
        "hoverinfo": "skip",
        **axes,
    }
    return [heat, text]


def _domain(place: int, count: int, gap: float) -> list[float]:
    size = (1 - gap * (count - 1)) / count
    start = place * (size + gap)
    return [max(start, 0.0), min(start + size, 1.0)]


def _columns(blocks: int) -> int:
    return next(columns for most, columns in ((1, 1), (4, 2), (9, 3), (16, 4), (1000, 6)) if blocks <= most)


def draw_ladder(rungs: tuple[Rung, ...]) -> dict[str, Any]:
    """Return a figure of the losses as bars from 0, the largest on top, each with its number."""
    names = [rung.name for rung in rungs]
    losses = [rung.loss for rung in rungs]
    colours = [COLOURS[1] if name.startswith("f*") else COLOURS[0] for name in names]
    colours[0], colours[-1] = QUIET, COLOURS[2]
    bars = {
        "type": "bar",
        "x": losses,
        "y": names,
        "orientation": "h",
        "width": 0.5,
        "marker": {"color": colours},
        "customdata": [rung.kind for rung in rungs],
        "hovertemplate": "%{y}<br>%{x:.8g}<br>%{customdata}<extra></extra>",
    }
    unsure = [rung for rung in rungs if rung.error]
    errors = {
        "type": "scatter",
        "x": [rung.loss for rung in unsure],
        "y": [rung.name for rung in unsure],
        "mode": "markers",
        "marker": {"size": 1, "color": INK},
        "error_x": {"array": [2 * rung.error for rung in unsure], "color": INK, "thickness": 1.5, "width": 5},
        "hoverinfo": "skip",
    }
    numbers = [
        {
            "x": rung.loss + 2 * rung.error,
            "y": rung.name,
            "text": f"{rung.loss:.5f}",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 6,
        }
        for rung in rungs
    ]
    layout = {
        "height": 60 * len(rungs) + 110,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 48},
        "xaxis": {"title": {"text": "loss, squared states"}, "range": [0, 1.25 * max(losses)], "nticks": 5},
        "yaxis": {"autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6},
        "annotations": numbers,
    }
    return {"data": [bars, errors], "layout": layout}


def _blocks_alt(form: ClosedForm) -> str:
    J, D, top = form.moments.blocks, form.moments.dimension, float(np.abs(form.X).max())
    return f"{J} upper triangles of {D} by {D} coefficients of X*, blue negative and orange positive up to {top:.3g}"


def _ladder_alt(rungs: tuple[Rung, ...]) -> str:
    return "Bars of losses: " + "; ".join(f"{rung.name} {rung.loss:.5f}" for rung in rungs)


def _words(form: ClosedForm, recovery: Recovery, rungs: tuple[Rung, ...]) -> str:
    if recovery.recoverable:
        how = "exactly" if recovery.exact else f"to {recovery.tolerance:g} of its largest entry"
        verdict = f"**Realizable.** Real transformer parameters (b, A) reach X\\* {how}."
    else:
        assert recovery.witness is not None
        exact = "exact" if recovery.exact else f"at tolerance {recovery.tolerance:g}"
        verdict = f"**Not realizable** ({exact}). Witness: {_sentence(recovery.witness.text)}"
    said = [verdict]
    best = next((rung for rung in rungs if rung.name.startswith("f*")), None)
    if best is None:
        said.append(f"Beyond length {_LONGEST_SEARCH} no best loss of one real layer is searched for here.")
    elif not recovery.recoverable:
        price = best.loss - form.loss
        said.append(f"Real parameters cost {price:.3g} above f~\\* ({best.kind}).")
    else:
        said.append("So f\\* = f~\\*.")
    unique = "the only minimizer" if form.unique else "one of many minimizers, of least norm"
    said.append(
        f"X\\* has {form.moments.size} coordinates and is {unique} ({form.method}, error of its loss: {form.error})."
    )
    return " ".join(said)


def _sentence(text: str) -> str:
    return text.replace("*", "\\*").rstrip(".") + "."


def _rows(form: ClosedForm, rungs: tuple[Rung, ...]) -> tuple[dict[str, object], ...]:
    losses: list[dict[str, object]] = [
        {"quantity": rung.name, "value": rung.loss, "standard error": rung.error or None, "known": rung.kind}
        for rung in rungs
    ]
    entries: list[dict[str, object]] = [
        {"quantity": label, "value": float(x), "standard error": None, "known": form.method}
        for label, x in zip(form.labels, form.X, strict=True)
    ]
    return (*losses, *entries)


def _slow(values: Values) -> bool:
    length, states = int(str(values["length"])), int(str(values["states"]))
    if states > 2:
        return length > (4 if states == 3 else 3) or (length > 3 and values["proof"] == "certificate")
    return length > (4 if values["proof"] == "certificate" else _QUICK_LENGTH)


def _sized(values: Values) -> None:
    length, states = int(str(values["length"])), int(str(values["states"]))
    size = (length - 1) * vech_size(length)
    if states > 2 and size * states**length > 3e7:
        raise Refused(
            "length", f"expected a shorter chain of {states} states; got {length} ({_longest(states)} at most)"
        )
    if values["proof"] == "certificate" and length > _PROOF_LENGTH:
        raise Refused("proof", f"expected search beyond length {_PROOF_LENGTH}; got certificate")


def _longest(states: int) -> int:
    return max(n for n in range(2, 34) if (n - 1) * vech_size(n) * states**n <= 3e7)


def _readable(values: Values) -> None:
    read_task(values)


def _command(values: Values) -> str:
    options = task_options(values)
    verb = "certify" if values["proof"] == "certificate" else "best"
    return f"markov-icl optimum {options}\nmarkov-icl {verb} {options}\nmarkov-icl evaluate {options}"


OPTIMUM = View(
    name="optimum",
    title="Optimum",
    summary=(
        "The best one-layer linear attention for in-context Markov chains: the exact minimizer X* of the enlarged "
        "space, and what real parameters pay for being real."
    ),
    controls=(P, CONTEXT, LENGTH, STATES, PRIOR, PROOF),
    compute=compute,
    command=_command,
    slow=_slow,
    checks=(_sized, _readable),
)
