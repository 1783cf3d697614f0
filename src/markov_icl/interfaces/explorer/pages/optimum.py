"""The page Optimum: the blocks of ``X*``, the ladder of losses, realizable or a witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markov_icl.features import vech_size
from markov_icl.interfaces.explorer.pictures.blocks import blocks_alt, draw_blocks
from markov_icl.interfaces.explorer.pictures.rungs import (
    LONGEST_SEARCH,
    QUICK_LENGTH,
    draw_ladder,
    ladder_alt,
    rungs_of,
)
from markov_icl.interfaces.explorer.task_controls import (
    CONTEXT,
    LENGTH,
    PRIOR,
    STATES,
    P,
    read_task,
    task_options,
)
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Report, Values, View

if TYPE_CHECKING:
    from markov_icl.analysis.ladder import Rung
    from markov_icl.landscape.closed_form import ClosedForm
    from markov_icl.recovery.factor import Recovery
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["OPTIMUM"]

_EXACT_LENGTH = 4
"""Up to this length fractions take a few milliseconds."""
_PROOF_LENGTH = 8

PROOF = Control(
    "proof",
    "Best real parameters",
    "choice",
    "search",
    choices=("search", "certificate"),
    help="A local search, or the global minimum with a verified proof, up to length 8.",
)


def compute(values: Values, report: Report) -> Outcome:
    """Solve the task and place its losses on the ladder."""
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover

    task = read_task(values)
    report(0.02, "moments")
    method = _method(task)
    form = minimizer(
        task, method, progress=lambda share, words: report(0.02 + 0.3 * (share or 0.0), f"moments: {words}")
    )
    recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    rungs = rungs_of(task, form, recovery, values["proof"] == "certificate", report)
    pictures = (
        Picture("blocks", blocks_alt(form), draw_blocks(form), "Blocks of X*"),
        Picture("ladder", ladder_alt(rungs), draw_ladder(rungs), "Ladder of losses"),
    )
    return Outcome(pictures, _words(form, recovery, rungs), _rows(form, rungs))


def _method(task: MarkovTask) -> str:
    """Let the minimizer choose, but keep it from fractions that a reader would wait for: 0.2 s at length 5."""
    return "dense" if _EXACT_LENGTH < task.length <= QUICK_LENGTH else "auto"


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
        said.append(f"Beyond length {LONGEST_SEARCH} no best loss of one real layer is searched for here.")
    elif not recovery.recoverable:
        price = best.loss - form.loss
        said.append(f"Real parameters cost {price:.3g} above f~\\* ({best.kind}, {best.note}).")
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
        {"quantity": rung.name, "value": rung.loss, "error": rung.error or None, "known": f"{rung.kind}: {rung.note}"}
        for rung in rungs
    ]
    entries: list[dict[str, object]] = [
        {"quantity": label, "value": float(x), "error": None, "known": form.method}
        for label, x in zip(form.labels, form.X, strict=True)
    ]
    return (*losses, *entries)


def _slow(values: Values) -> bool:
    length, states = int(str(values["length"])), int(str(values["states"]))
    if states > 2:
        return length > (4 if states == 3 else 3) or (length > 3 and values["proof"] == "certificate")
    return length > (4 if values["proof"] == "certificate" else QUICK_LENGTH)


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
