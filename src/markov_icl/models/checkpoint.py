"""Models on disk: safetensors with a JSON header, enough to build the model again and to go on training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from markov_icl.choices import MODELS, unknown
from markov_icl.files import atomic
from markov_icl.models.prompt_model import PromptModel
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.spec import task_from_header, task_to_dict

__all__ = ["CLASSES", "Checkpoint", "build_model", "load_checkpoint", "load_model", "save_checkpoint"]

_PLACES = (
    ("lsa", "LinearSelfAttention"),
    ("attention", "SoftmaxAttention"),
    ("gram", "EnlargedAttention"),
    ("gpt2", "GPT2Predictor"),
)
CLASSES = dict(zip(MODELS, _PLACES, strict=True))
"""Kind of model to its module in ``markov_icl.models`` and its class."""

_KEY = "markov-icl"
_VERSION = 1
_PREFIX = "model."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    Attributes:
        model: with its parameters, on the CPU, in evaluation mode.
        task: the task it was trained on; None if the file names none.
        tensors: further tensors, such as the optimizer's state.
        state: further plain data, such as the recipe and the step.
    """

    model: PromptModel
    task: Task | None
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def build_model(kind: str, config: Mapping[str, Any], **options: Any) -> PromptModel:
    """Return a fresh model of this kind; ``config`` as its property of that name gives it.

    Raises:
        ValueError: for an unknown kind or an unfit configuration.
    """
    if kind not in MODELS:
        raise unknown("a model of kind", kind, MODELS)
    module, name = CLASSES[kind]
    try:
        model: PromptModel = getattr(import_module(f"markov_icl.models.{module}"), name)(**config, **options)
    except TypeError as error:
        raise ValueError(f"expected the settings of a model of kind {kind}; got {error}") from None
    return model


def save_checkpoint(
    path: str | os.PathLike[str],
    model: PromptModel,
    task: Task | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, and what else is needed to go on, under a temporary name; then rename it."""
    header = {
        "version": _VERSION,
        "kind": model.kind,
        "config": model.config,
        "task": None if task is None else task_to_dict(task),
        "state": dict(state or {}),
    }
    own = {f"{_PREFIX}{name}": value for name, value in model.state_dict().items()}
    everything = {name: value.detach().cpu().contiguous() for name, value in {**own, **(tensors or {})}.items()}
    with atomic(Path(path)) as temporary:
        save_file(everything, temporary, metadata={_KEY: json.dumps(header, sort_keys=True)})


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file written by :func:`save_checkpoint`.

    Raises:
        ValueError: if there is none, it is damaged, or it holds something else.
    """
    if not Path(path).is_file():
        raise ValueError(f"expected a model file; got no file at {os.fspath(path)}")
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = "no header of this package" if isinstance(error, KeyError) else " ".join(str(error).split())[:80]
        raise ValueError(f"expected a model that `markov-icl train` wrote; got {os.fspath(path)} ({reason})") from None
    if not isinstance(header, dict) or header.get("version") != _VERSION:
        found = header.get("version") if isinstance(header, dict) else type(header).__name__
        raise ValueError(f"expected a model file of version {_VERSION}; got {found!r:.40}")
    model = _restore(header, tensors)
    task = None if header.get("task") is None else task_from_header(header["task"])
    others = {name: value for name, value in tensors.items() if not name.startswith(_PREFIX)}
    state = header.get("state")
    return Checkpoint(model.eval(), task, others, state if isinstance(state, dict) else {})


def load_model(path: str | os.PathLike[str]) -> PromptModel:
    """Return the model of a file, in evaluation mode."""
    return load_checkpoint(path).model


def _restore(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PromptModel:
    own = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    config = header.get("config")
    if not own or not isinstance(config, dict):
        raise ValueError("expected a model file with parameters and a configuration; got one without")
    _require_small(config, sum(value.numel() for value in own.values()))
    model = build_model(str(header.get("kind")), config)
    dtype = next((value.dtype for value in own.values() if value.is_floating_point()), torch.float32)
    try:
        model.to(dtype).load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"expected the parameters of its configuration; got {str(error).split(':')[-1]}") from None
    return model


def _require_small(config: Mapping[str, Any], stored: int) -> None:
    """Refuse a configuration that asks for more numbers than the file holds, before anything is built."""
    sizes = [v for v in config.values() if isinstance(v, int) and not isinstance(v, bool)]
    asked = 1
    for size in sizes:
        asked *= max(size, 1)
    if any(size < 0 for size in sizes) or asked > stored * 64:
        raise ValueError(f"expected a configuration that fits {stored} parameters; got {dict(config)!r:.100}")
