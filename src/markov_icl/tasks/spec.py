"""A task as text: what the command line and YAML or JSON files say, and its canonical form."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from markov_icl.choices import INITIALS, PRIORS, WHOLE, unknown
from markov_icl.tasks.kernels import (
    DirichletPrior,
    FinitePrior,
    Prior,
    as_fraction,
    as_pmf,
    beta_prior,
    fixed_kernel,
    symmetric_dirichlet,
)
from markov_icl.tasks.prompts import (
    CorrelatedStart,
    IndependentStart,
    InitialLaw,
    MarkovTask,
    RegressionTask,
    StationaryStart,
    Task,
    independent_start,
)

__all__ = [
    "TaskSpec",
    "parse_initial",
    "parse_prior",
    "read_document",
    "task_from_file",
    "task_from_header",
    "task_to_dict",
]

_MAX_BYTES = 10_000_000


class TaskSpec(BaseModel):
    """The fields of a task file; each command-line option carries the same name and default.

    Attributes:
        prior: ``uniform``, ``beta:a0,b0,a1,b1`` (``p01 ~ Beta(a0,b0)``, ``p11 ~ Beta(a1,b1)``),
            ``dirichlet:a``, ``finite:FILE``, ``fixed:FILE``, or in a file a mapping with one of the keys
            ``dirichlet`` (rows of parameters), ``fixed`` (a kernel), ``finite`` (``kernels``, ``weights``).
        initial: ``uniform``, ``bernoulli:p``, ``pmf:p0,p1,...``, ``stationary``, ``correlated:p,g0,g1``.
        values: numeric value of each state, ``0,1,...`` when not given.
        regression: dimension of a Gaussian regression task, instead of a Markov task.
        covariance: its covariance, rows of numbers, the identity when not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    states: int = 2
    order: int = 1
    length: int = 2
    context: int = 10
    prior: str | dict[str, Any] = "uniform"
    initial: str | list[Any] = "uniform"
    values: str | list[Any] | None = None
    bias: bool = False
    regression: int | None = None
    covariance: list[list[Any]] | None = None

    @classmethod
    def read(cls, data: object) -> TaskSpec:
        """Validate a mapping.

        Raises:
            ValueError: one line that names the field, what was expected and what came.
        """
        if not isinstance(data, dict):
            raise ValueError(f"expected a mapping of task fields; got {type(data).__name__}")
        try:
            return cls(**{str(k): v for k, v in data.items()})
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise unknown("task fields", field, cls.model_fields) from None
            wanted = str(first["msg"]).removeprefix("Input should be ")
            raise ValueError(f"expected {field} to be {wanted}; got {first['input']!r:.60}") from None

    def task(self, folder: Path | None = None) -> Task:
        """Build the task; files named by ``finite:``, ``fixed:`` are relative to ``folder``, refused if it is None."""
        if self.regression is not None:
            markov = self.model_fields_set - {"regression", "covariance", "context"}
            if markov:
                raise ValueError(f"expected only context and covariance beside regression; got {min(markov)}")
            sigma = None if self.covariance is None else tuple(tuple(row) for row in self.covariance)
            return RegressionTask(self.regression, self.context, sigma)  # type: ignore[arg-type]
        if self.covariance is not None:
            raise ValueError("expected covariance only beside regression; got it for a Markov task")
        bare = MarkovTask(self.states, self.order, self.length, self.context)
        return MarkovTask(
            states=self.states,
            order=self.order,
            length=self.length,
            context=self.context,
            prior=parse_prior(self.prior, bare, folder),
            initial=parse_initial(self.initial, bare),
            values=None if self.values is None else tuple(_numbers(self.values)),  # type: ignore[arg-type]
            bias=self.bias,
        )


def _numbers(text: str | list[Any]) -> list[Any]:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else list(text)


def parse_prior(prior: str | dict[str, Any], task: MarkovTask, folder: Path | None) -> Prior:
    """Return the prior that ``prior`` describes, for ``task``'s states and order.

    Raises:
        ValueError: for an unknown form or malformed parameters.
    """
    kind, value = _tagged(prior, "prior", PRIORS)
    if kind in ("finite", "fixed") and isinstance(value, str):
        if folder is None:
            raise ValueError("expected kernels given inline; got the name of a file")
        value = read_document(folder / value)
    if kind == "uniform":
        return symmetric_dirichlet(task.states, task.order)
    if kind == "beta":
        if task.states != 2:
            raise ValueError(f"expected 2 states with a Beta prior; got {task.states} (use dirichlet:a)")
        if not isinstance(value, str | list):
            raise ValueError(f"expected Beta parameters as a list of numbers; got {value!r:.40}")
        return beta_prior(_numbers(value))
    if kind == "dirichlet":
        return _dirichlet(value, task)
    if kind == "fixed":
        return fixed_kernel(_rows(value, "a kernel as rows of numbers"))
    if not isinstance(value, dict) or set(value) != {"kernels", "weights"}:
        raise ValueError(f"expected a finite prior with keys kernels and weights; got {value!r:.60}")
    if not isinstance(value["kernels"], list) or not isinstance(value["weights"], list):
        raise ValueError("expected kernels and weights to be lists")
    kernels = tuple(tuple(tuple(r) for r in _rows(k, "a kernel as rows of numbers")) for k in value["kernels"])
    return FinitePrior(kernels, tuple(value["weights"]))


def _dirichlet(value: object, task: MarkovTask) -> DirichletPrior:
    if isinstance(value, list) and value and isinstance(value[0], list):
        return DirichletPrior(tuple(tuple(r) for r in _rows(value, "rows of Dirichlet parameters")))
    numbers = _numbers(value if isinstance(value, str | list) else [value])
    if len(numbers) == 1:
        return symmetric_dirichlet(task.states, task.order, numbers[0])
    if len(numbers) != task.states:
        raise ValueError(f"expected 1 or {task.states} Dirichlet parameters; got {len(numbers)}")
    return DirichletPrior((tuple(as_fraction(a, "a Dirichlet parameter") for a in numbers),) * task.rows)


def _rows(value: object, wanted: str) -> list[list[Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise ValueError(f"expected {wanted}; got {value!r:.60}")
    return value


def _tagged(value: str | dict[str, Any], name: str, kinds: tuple[str, ...]) -> tuple[str, Any]:
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in kinds:
            raise ValueError(f"expected {name} with one key of {', '.join(kinds)}; got {value!r:.60}")
        return next(iter(value.items()))
    kind, _, rest = value.partition(":")
    if kind not in kinds:
        raise unknown(f"{name} to be one of", value, kinds)
    if (rest == "") != (kind in WHOLE):
        takes = "nothing" if rest else "parameters"
        raise ValueError(f"expected {takes} after {name} {kind}; got {value!r:.60}")
    return kind, rest


def parse_initial(initial: str | list[Any], task: MarkovTask) -> InitialLaw:
    """Return the initial law that ``initial`` describes, for ``task``'s states and order.

    Raises:
        ValueError: for an unknown form or malformed probabilities.
    """
    if isinstance(initial, list):
        return independent_start(initial, task.states, task.order)
    kind, rest = _tagged(initial, "initial", INITIALS)
    if kind == "stationary":
        return StationaryStart()
    if kind == "uniform":
        return independent_start([Fraction(1, task.states)] * task.states, task.states, task.order)
    numbers = [as_fraction(v, f"each parameter of {kind}") for v in _numbers(rest)]
    if kind == "pmf":
        return independent_start(numbers, task.states, task.order)
    wanted = {"bernoulli": 1, "correlated": 3}[kind]
    if len(numbers) != wanted:
        raise ValueError(f"expected {wanted} numbers after {kind}; got {len(numbers)}")
    if kind == "correlated":
        return CorrelatedStart(numbers[0], (numbers[1], numbers[2]))
    if task.states != 2:
        raise ValueError(f"expected 2 states with bernoulli starts; got {task.states} (use pmf:...)")
    return independent_start(as_pmf([1 - numbers[0], numbers[0]], "bernoulli:p"), 2, task.order)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases: a few bytes cannot become a mountain."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise ValueError("expected a file without YAML aliases; got one")
        return super().compose_node(parent, index)


def read_document(path: Path) -> Any:
    """Read a YAML or JSON file with the safe loader.

    Raises:
        ValueError: if it cannot be read, is over 10 MB, or is neither.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"expected a file under {_MAX_BYTES // 10**6} MB; got {path}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"expected a readable file; got {path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"expected YAML or JSON text in UTF-8; got {path}") from None
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
    except (yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        where = " ".join(str(error).split())[:120]
        raise ValueError(f"expected YAML or JSON in {path}; got {where}") from None


def task_from_file(path: Path) -> Task:
    """Read a task from YAML or JSON; files it names are relative to its own folder."""
    return TaskSpec.read(read_document(path)).task(path.parent)


def task_from_header(data: object) -> Task:
    """Return the task that a file's header describes: what :func:`task_to_dict` wrote; no other file is opened.

    Raises:
        ValueError: one line that names the field, what was expected and what came.
    """
    return TaskSpec.read(data).task()


def task_to_dict(task: Task) -> dict[str, Any]:
    """Return the canonical JSON form, exact: ``TaskSpec.read(task_to_dict(t)).task() == t``."""
    if isinstance(task, RegressionTask):
        rows = [[str(v) for v in row] for row in task.covariance]
        return {"regression": task.dim, "context": task.context, "covariance": rows}
    prior: dict[str, Any]
    if isinstance(task.prior, DirichletPrior):
        prior = {"dirichlet": [[str(a) for a in row] for row in task.prior.alpha]}
    else:
        kernels = [[[str(q) for q in row] for row in kernel] for kernel in task.prior.kernels]
        prior = {"finite": {"kernels": kernels, "weights": [str(w) for w in task.prior.weights]}}
    initial: str | list[str]
    match task.initial:
        case IndependentStart(pmf):
            initial = [str(q) for q in pmf]
        case CorrelatedStart(p, g):
            initial = f"correlated:{p},{g[0]},{g[1]}"
        case _:
            initial = "stationary"
    return {
        "states": task.states,
        "order": task.order,
        "length": task.length,
        "context": task.context,
        "prior": prior,
        "initial": initial,
        "values": [str(v) for v in task.values],
        "bias": task.bias,
    }
