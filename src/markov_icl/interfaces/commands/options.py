"""The options that commands share: how they become a task, and how an answer is shown as they ask."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markov_icl.choices import DEVICES, ENGINES, INITIALS, METHODS, PRIORS, TRAINING_DEVICES, WHOLE

if TYPE_CHECKING:
    from markov_icl.interfaces.output import Answer

__all__ = [
    "Address",
    "Batch",
    "Device",
    "Engine",
    "Folder",
    "Json",
    "Memory",
    "Method",
    "Model",
    "Plot",
    "Prompts",
    "Rate",
    "SearchStarts",
    "Seed",
    "Source",
    "Steps",
    "TimeLimit",
    "TrainedOn",
    "Workers",
    "answering",
    "choice",
    "completion",
    "show_task_defaults",
    "with_fields",
    "with_task",
]

_PANEL = "Task"


def completion(words: Iterable[str] | Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return the shell's completion of one of ``words``; a function of none is called when the shell asks."""

    def complete(incomplete: str) -> list[str]:
        found = words() if callable(words) else words
        return [word for word in found if word.startswith(incomplete)]

    return complete


def choice(flag: str, *words: object, note: str = "") -> Any:
    """Return an option that takes one of ``words``: they stand in its help, and the shell completes them."""
    shown = [str(word) for word in words]
    return typer.Option(flag, help=f"{' | '.join(shown)}{note}.", autocompletion=completion(shown))


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Write a picture: .png, .svg or .pdf.")]
Memory = Annotated[float, typer.Option("--memory", min=0, help="Refuse a system above this many GB.")]
Device = Annotated[str, choice("--device", *DEVICES, note=", for long binary chains")]
Method = Annotated[str, choice("--method", *METHODS)]
SearchStarts = Annotated[int, typer.Option("--starts", min=1, max=100_000, help="Random starts of the search.")]
TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", min=0, help="Seconds for each solver; its bounds are kept.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
Prompts = Annotated[int, typer.Option("--prompts", min=2, max=1_000_000, help="Fresh prompts to score on.")]
Model = Annotated[Path | None, typer.Option("--model", help="A model that train kept.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps.")]
Batch = Annotated[int, typer.Option("--batch", min=1, max=1_000_000, help="Prompts a step.")]
Rate = Annotated[float, typer.Option("--rate", help="Learning rate.")]
Folder = Annotated[
    Path | None, typer.Option("--store", help="Folder of the store; $XDG_DATA_HOME/markov-icl/store if none.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, max=4096, help="Runs at a time; a core each if none.")]
Engine = Annotated[str, choice("--engine", *ENGINES, note=" (extra dist)")]
TrainedOn = Annotated[str | None, choice("--device", *TRAINING_DEVICES, note=", where models are trained")]
Address = Annotated[str | None, typer.Option("--address", help="Of a Ray cluster, such as auto or 10.0.0.1:6379.")]

_HELP = {
    "states": ("Number of states.", int),
    "order": ("Memory of the chain, in states.", int),
    "length": ("States in a chain; the query shows one fewer.", int),
    "context": ("Example chains in a prompt (the paper's n).", int),
    "prior": ("uniform | beta:a0,b0,a1,b1 | dirichlet:a | finite:FILE | fixed:FILE.", str),
    "initial": ("uniform | bernoulli:p | pmf:p0,p1,... | stationary | correlated:p,g0,g1.", str),
    "values": ("Numeric value of each state, such as 0,1,2.", str),
    "bias": ("Append a constant 1 to every column.", bool),
    "regression": ("Gaussian regression of this dimension instead of a Markov task.", int),
}
_WORDS = {
    name: [word if word in WHOLE else f"{word}:" for word in words]
    for name, words in (("prior", PRIORS), ("initial", INITIALS))
}
_FILES = {
    "task": ("Task file, YAML or JSON with the same names.", Path),
    "sequences": ("Real sequences, CSV or Parquet; needs --group, --time, --state.", Path),
    "group": ("Column whose equal values share a kernel.", str),
    "time": ("Column that orders the states of a group.", str),
    "state": ("Numeric state column.", str),
}


@dataclass(frozen=True)
class Source:
    """The task a command works on, and where it came from.

    Attributes:
        task: Markov or regression.
        data: the fit to real sequences, if there was one.
        given: task fields the user named.
    """

    task: Any
    data: Any
    given: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """Return the task as plain data."""
        from markov_icl.tasks.spec import task_to_dict

        return task_to_dict(self.task)


def answering(command: Callable[..., Answer], picture: bool = True) -> Callable[..., None]:
    """Give a command the options ``--json`` and ``--plot``, and show what it answers as they ask.

    The picture's file is checked before the command begins. A command that names ``plot`` itself is given it.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "plot"]
    plots = {"plot": (Plot, None)} if picture else {}
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in ({"json": (Json, False)} | plots).items()
    ]

    def run(*, json: bool, plot: Path | None = None, **arguments: Any) -> None:
        from markov_icl.interfaces import output

        output.check_target(plot)
        if len(own) < len(signature.parameters):
            arguments["plot"] = plot
        output.show(command(**arguments), json, plot)

    return _with_signature(run, command, [*own, *more])


def with_task(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(source, ...)`` the shared task options in place of ``source``."""
    shared = [_option(name, text, kind) for name, (text, kind) in {**_HELP, **_FILES}.items()]
    return _with_options(command, "source", shared, read_source)


def _with_options(
    command: Callable[..., None], name: str, shared: list[inspect.Parameter], read: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    """Give ``command`` the options ``shared`` in place of its argument ``name``, which becomes ``read`` of them."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != name]

    def run(**arguments: Any) -> None:
        chosen = {option.name: arguments.pop(option.name) for option in shared}
        command(**{name: read(chosen)}, **arguments)

    return _with_signature(run, command, [*shared, *own])


def _with_signature(
    run: Callable[..., None], command: Callable[..., Any], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Let ``run`` stand in for ``command`` with other parameters, as typer reads them."""
    functools.update_wrapper(run, command)
    named = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in named} | {"return": None}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def with_fields(command: Callable[..., None], name: str, options: type) -> Callable[..., None]:
    """Give ``command`` the fields of the dataclass ``options`` as options, in place of its argument ``name``."""
    fields = inspect.signature(options, eval_str=True).parameters.values()
    shared = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in fields]
    return _with_options(command, name, shared, lambda chosen: options(**chosen))


def _option(name: str, text: str, kind: type) -> inspect.Parameter:
    flag = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    complete = completion(_WORDS[name]) if name in _WORDS else None
    option = typer.Option(flag, help=text, rich_help_panel=_PANEL, show_default=False, autocompletion=complete)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def show_task_defaults(parameters: Iterable[Any]) -> None:
    """Write the task's defaults into the help of the options that set them."""
    from markov_icl.tasks.spec import TaskSpec

    for one in parameters:
        field = TaskSpec.model_fields.get(one.name)
        if getattr(one, "rich_help_panel", None) == _PANEL and field is not None and field.default not in (None, False):
            one.help = f"{one.help} [dim]\\[default: {field.default}][/dim]"


def read_source(chosen: dict[str, Any]) -> Source:
    """Build the task that the options describe; an option overrides the same name in ``--task``."""
    from markov_icl.tasks.spec import TaskSpec, read_document

    given = {name: chosen[name] for name in _HELP if chosen[name] is not None}
    columns = {name: chosen[name] for name in ("group", "time", "state") if chosen[name] is not None}
    if chosen["sequences"] is not None:
        return _from_sequences(chosen, given, columns)
    if columns:
        raise ValueError(f"expected --{next(iter(columns))} only beside --sequences FILE")
    if chosen["task"] is None:
        return Source(TaskSpec.read(given).task(Path()), None, given)
    document = read_document(chosen["task"])
    if not isinstance(document, dict):
        raise ValueError(f"expected a mapping of task fields in {chosen['task']}; got {type(document).__name__}")
    fields = {**document, **given}
    if "prior" in given:  # a file named on the command line is relative to where the command runs
        kind, _, file = given["prior"].partition(":")
        if kind in ("finite", "fixed"):
            fields["prior"] = f"{kind}:{Path(file).absolute()}"
    return Source(TaskSpec.read(fields).task(chosen["task"].parent), None, fields)


def _from_sequences(chosen: dict[str, Any], given: dict[str, Any], columns: dict[str, str]) -> Source:
    missing = [f"--{c}" for c in ("group", "time", "state") if c not in columns]
    if missing:
        raise ValueError(f"expected {', '.join(missing)} beside --sequences")
    allowed = {"length", "order", "context", "bias"}
    clash = sorted(set(given) - allowed) or (["task"] if chosen["task"] is not None else [])
    if clash:
        raise ValueError(f"expected the data to decide --{clash[0]}; got it beside --sequences")
    from markov_icl.tasks.data import from_sequences
    from markov_icl.tasks.spec import TaskSpec

    arguments: dict[str, Any] = {**columns, "length": TaskSpec.model_fields["length"].default, **given}
    data = from_sequences(chosen["sequences"], **arguments)
    return Source(data.task, data, given)
