"""Trainings on a grid: what ``markov-icl sweep`` runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from markov_icl.analysis.evaluation import floor
from markov_icl.analysis.scoring import fresh_prompts
from markov_icl.choices import MODELS, hint, unknown
from markov_icl.experiments.runs.devices import chosen_device
from markov_icl.experiments.runs.experiment import Sweep
from markov_icl.experiments.runs.points import Point, score_points
from markov_icl.experiments.runs.spec import Spec
from markov_icl.models.predictors import Bayes, Predictor, TorchModel
from markov_icl.tasks.spec import TaskSpec, read_document

__all__ = ["EXPERIMENT", "grid", "sweep_from_file", "train_and_score", "trained"]

_SECTIONS = ("task", "model", "training")
_FIELDS = (*_SECTIONS, "grid", "seeds", "prompts")


def sweep_from_file(path: Path, device: str | None = None) -> tuple[Spec, ...]:
    """Read a grid of trainings from YAML or JSON.

    ``task``, ``model`` (``kind``, constructor arguments) and ``training`` (arguments of
    :func:`markov_icl.models.training.train`) hold what is common; ``grid`` maps names such as ``task.length`` to lists;
    ``seeds`` is how many (5), ``prompts`` how many fresh ones a model is scored on (10,000). A ``device`` takes the
    place of the file's; specs name ``cpu`` or ``cuda``, never ``auto``.

    Raises:
        ValueError: naming what was expected, for a malformed file.
    """
    return grid(read_document(path), path.parent, device)


def grid(document: Any, folder: Path | None = None, device: str | None = None) -> tuple[Spec, ...]:
    """Return the specs of a grid given as plain data; see :func:`sweep_from_file`."""
    if not isinstance(document, dict):
        raise ValueError(f"expected a mapping with {', '.join(_FIELDS)}; got {type(document).__name__}")
    for field in sorted(map(str, document)):
        if field not in _FIELDS:
            raise unknown("a sweep with", field, _FIELDS)
    common = {name: document.get(name, {}) for name in _SECTIONS}
    axes = document.get("grid", {})
    for name, value in {**common, "grid": axes}.items():
        if not isinstance(value, dict):
            raise ValueError(f"expected {name} to be a mapping; got {value!r:.40}")
    for name, values in axes.items():
        if str(name).partition(".")[0] not in _SECTIONS or not str(name).partition(".")[2]:
            section, _, field = str(name).partition(".")
            near = hint(name, [f"{one}.{field or section}" for one in _SECTIONS])
            raise ValueError(f"expected grid names such as task.length or training.rate; got {name!r:.40}{near}")
        if not isinstance(values, list) or not values:
            raise ValueError(f"expected a list of values for {name} in the grid; got {values!r:.40}")
    numbers = {name: document.get(name, default) for name, default in (("seeds", 5), ("prompts", 10_000))}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < (2 if name == "prompts" else 1):
            raise ValueError(f"expected {name} to be a whole number >= 1; got {number!r:.40}")
    if device is not None and "training.device" in axes:
        raise ValueError("expected no device beside a grid over training.device; got both")
    if device is not None:
        common["training"] = {**common["training"], "device": device}
    specs = [
        _spec(common, dict(zip(axes, chosen, strict=True)), seed, numbers["prompts"], folder)
        for chosen in product(*axes.values())
        for seed in range(numbers["seeds"])
    ]
    if len(set(specs)) < len(specs):
        raise ValueError("expected different points on the grid; got one twice")
    return tuple(specs)


def _spec(common: Mapping[str, Any], chosen: Mapping[str, Any], seed: int, prompts: int, folder: Path | None) -> Spec:
    sections = {name: dict(value) for name, value in common.items()}
    for name, value in chosen.items():
        section, _, field = name.partition(".")
        sections[section][field] = value
    task = TaskSpec.read(sections["task"]).task(folder)
    _check_names(sections["model"], sections["training"])
    part = ", ".join(f"{name.partition('.')[2]}={value}" for name, value in chosen.items()) or "one"
    model = {"kind": "lsa", **sections["model"]}
    training = {**sections["training"], "device": chosen_device(sections["training"].get("device", "cpu"))}
    return Spec("train", part, task, model, training, {"prompts": prompts}, seed)


def _check_names(model: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Refuse what the model's constructor or ``train`` does not take, before anything is computed."""
    from markov_icl.models.checkpoint import CLASSES
    from markov_icl.models.training import train

    reserved = sorted({"seed", "checkpoint", "resume", "progress"} & set(training))
    if reserved:
        raise ValueError(f"expected training without {reserved[0]}, which the sweep decides")
    kind = model.get("kind", "lsa")
    if not isinstance(kind, str) or kind not in MODELS:
        raise unknown("a model of kind", kind, MODELS)
    module, name = CLASSES[kind]
    constructor = getattr(import_module(f"markov_icl.models.{module}"), name)
    settings = ["kind", "precision", *(set(signature(constructor).parameters) - {"dimension", "seed", "dtype"})]
    recipe = set(signature(train).parameters) - {"model", "task", "seed", "checkpoint", "checkpoint_every"}
    for section, given, known in (("model", model, settings), ("training", training, recipe - {"resume", "progress"})):
        for field in map(str, given):
            if field not in known:
                raise unknown(f"{section} with", field, sorted(known))


def trained(spec: Spec, **more: Any) -> Any:
    """Train the model of a spec and return the ``TrainResult``, its model on the CPU, where all scoring is done."""
    import torch

    from markov_icl.models.checkpoint import build_model
    from markov_icl.models.training import Curriculum, train

    config: dict[str, Any] = {"dimension": spec.task.dimension, **spec.model}
    kind, precision = config.pop("kind"), config.pop("precision", 32)
    dtype = {32: torch.float32, 64: torch.float64}.get(precision)
    if dtype is None:
        raise ValueError(f"expected precision 32 or 64; got {precision!r:.40}")
    model = build_model(kind, config, seed=spec.seed, dtype=dtype)
    recipe: dict[str, Any] = dict(spec.training)
    if isinstance(recipe.get("curriculum"), Mapping):
        recipe["curriculum"] = Curriculum(**recipe["curriculum"])
    try:
        result = train(model, spec.task, seed=spec.seed, **{**recipe, **more})
        result.model.to("cpu")
        return result
    except TypeError as error:
        raise ValueError(f"expected arguments of train in training; got {error}") from None


def train_and_score(spec: Spec) -> tuple[Point, ...]:
    """Train one model; rows are its losses on the way, and its score beside Bayes and the constant."""
    result = trained(spec)
    drawn = fresh_prompts(spec.task, spec.settings["prompts"], spec.seed)
    predictors: list[Predictor] = [Bayes(spec.task), TorchModel(result.model, "model"), floor(spec.task)]
    on_the_way = [Point("model", "loss on the way", float(e.step), e.loss, e.loss_se) for e in result.evaluations]
    return (*on_the_way, *score_points(spec.task, predictors, drawn, float(len(result.losses))))


EXPERIMENT = Sweep("train", "one training", train_and_score)
