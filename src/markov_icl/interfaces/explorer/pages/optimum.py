"""The page Optimum: the blocks of ``X*``, the ladder of losses, realizable or a witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markov_icl.features import vech_size
from markov_icl.interfaces.explorer.pictures.blocks import blocks_alt, draw_blocks
from markov_icl.interfaces.explorer.pictures.ladder import draw_ladder, ladder_alt
from markov_icl.interfaces.explorer.task_controls import (
    CONTEXT,
    LENGTH,
    PRIOR,
    STATES,
    P,
    read_task,
    task_options,
)
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell, part

if TYPE_CHECKING:
    from markov_icl.analysis.ladder import Ladder
    from markov_icl.landscape.closed_form import ClosedForm
    from markov_icl.recovery.factor import Recovery
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["PAGE"]

_EXACT_LENGTH = 4
"""Up to this length fractions take a few milliseconds."""
_QUICK_LENGTH = 6
"""Up to this length everything is drawn while a slider moves."""
_PROOF_LENGTH, _PROOF_SECONDS = 8, 120.0
_BAYES_PROMPTS = 4096

PROOF = Control(
    "proof",
    "Best real parameters",
    "choice",
    "search",
    choices=("search", "certificate"),
    help="A local search, or the global minimum with a verified proof, up to length 8.",
)


def compute(values: Values, tell: Tell) -> Outcome:
    """Solve the task and place its losses on the ladder."""
    from markov_icl.analysis.ladder import ladder
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.recovery.factor import recover

    task = read_task(values)
    tell(0.02, "moments")
    form = minimizer(task, _method(task), progress=part(tell, 0.02, 0.32))
    recovery = recover(form.X if form.X_exact is None else form.X_exact, blocks=form.moments.blocks)
    losses = ladder(
        task,
        _BAYES_PROMPTS,
        time_limit=_PROOF_SECONDS,
        progress=part(tell, 0.32, 1.0),
        prove=values["proof"] == "certificate" and not recovery.recoverable,
        form=form,
    )
    pictures = (
        Picture("blocks", blocks_alt(form), draw_blocks(form), "Blocks of X*"),
        Picture("ladder", ladder_alt(losses.rungs), draw_ladder(losses.rungs), "Ladder of losses"),
    )
    return Outcome(pictures, _words(form, recovery, losses), _rows(form, losses))


def _method(task: MarkovTask) -> str:
    """Let the minimizer choose, but keep it from fractions that a reader would wait for: 0.2 s at length 5."""
    return "dense" if _EXACT_LENGTH < task.length <= _QUICK_LENGTH else "auto"


def _words(form: ClosedForm, recovery: Recovery, losses: Ladder) -> str:
    if recovery.recoverable:
        how = "exactly" if recovery.exact else f"to {recovery.tolerance:g} of its largest entry"
        verdict = f"**Realizable.** Real transformer parameters (b, A) reach X\\* {how}."
    else:
        assert recovery.witness is not None
        exact = "exact" if recovery.exact else f"at tolerance {recovery.tolerance:g}"
        verdict = f"**Not realizable** ({exact}). Witness: {_sentence(recovery.witness.text)}"
    said = [verdict]
    best = losses.layer
    if best is None:
        said += [_sentence(note) for note in losses.notes]
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


def _rows(form: ClosedForm, ladder: Ladder) -> tuple[dict[str, object], ...]:
    losses: list[dict[str, object]] = [
        {"quantity": rung.name, "value": rung.loss, "error": rung.error or None, "known": f"{rung.kind}: {rung.note}"}
        for rung in ladder.rungs
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


PAGE = View(
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
