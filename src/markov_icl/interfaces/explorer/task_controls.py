"""The controls that describe a task, shared by the pages, and the task they name."""

from __future__ import annotations

import json
import shlex
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.view import Control, Refused, Values

if TYPE_CHECKING:
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["CONTEXT", "LENGTH", "PRIOR", "STATES", "P", "prior_option", "read_task", "task_options"]

_PRIORS = "uniform; dirichlet:1/2; beta:2,1,1,2 (p01 and p11); fixed:0.7,0.3;0.4,0.6 (a kernel's rows)"
P = Control("p", "Start probability p of state 1", "real", 0.5, 0.01, 0.99, 0.01)
CONTEXT = Control("n", "Context size n", "integer", 10, 1, 200)
LENGTH = Control("length", "Length", "integer", 4, 2, 33, help="States in a chain; above 6 in the background.")
STATES = Control("states", "States", "integer", 2, 2, 5)
PRIOR = Control("prior", "Prior over kernels", "text", "uniform", help=_PRIORS)


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
