"""Training on sampled prompts: one loop for every torch model.

Each step draws its prompts from a stream of its own, numbered by the step, so a run taken up again from a
checkpoint sees the same prompts and ends at the same numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from markov_icl.choices import OPTIMIZERS, TRAINING_DEVICES, unknown
from markov_icl.environment import environment
from markov_icl.models.batches import Batch, PrefixModel, Source, predictions, prefix_predictions
from markov_icl.models.checkpoint import load_checkpoint, save_checkpoint
from markov_icl.models.prompt_model import PromptModel
from markov_icl.models.scores import Score, score
from markov_icl.progress import Progress, shown
from markov_icl.tasks.prompts import Task

__all__ = ["Curriculum", "Recipe", "TrainResult", "choose_device", "train"]

_OPTIMIZERS = dict(zip(OPTIMIZERS, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD), strict=True))
_GPU_LOOK = 100
"""Steps between two looks at the loss on a GPU: each look waits for the queue to drain."""
_TOLD = 10
"""Steps between two words on the loss."""
_CHUNK = 4096
"""Held-out prompts scored at once, which bounds memory."""


@dataclass(frozen=True)
class Curriculum:
    """Contexts that grow from ``start`` to the task's own by ``by`` every ``every`` steps (Garg et al. 2022)."""

    start: int = 26
    by: int = 5
    every: int = 1000

    def __post_init__(self) -> None:
        for name in ("start", "by", "every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"expected curriculum {name} to be a whole number >= 1; got {value!r:.40}")

    def context(self, step: int, final: int) -> int:
        """Return the context size at this step."""
        return min(final, self.start + self.by * (step // self.every))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers a training run ends with, beside the model and the task.

    Attributes:
        optimizer: a key of :data:`OPTIMIZERS`.
        rate: learning rate.
        weight_decay: the optimizer's.
        steps: optimizer steps.
        batch: prompts a step.
        seed: of every prompt drawn.
        prompts: size of a fixed training set; None draws fresh prompts each step.
        held_out: prompts of the final evaluation, drawn apart from training.
        evaluate_every: steps between evaluations on the way; None evaluates at the end only.
        curriculum: growing contexts; None trains on the task's own from the start.
    """

    optimizer: str = "adam"
    rate: float = 0.01
    weight_decay: float = 0.0
    steps: int = 1000
    batch: int = 1000
    seed: int = 0
    prompts: int | None = None
    held_out: int = 10_000
    evaluate_every: int | None = None
    curriculum: Curriculum | None = None

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer to be one of", self.optimizer, OPTIMIZERS)
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"expected a positive learning rate; got {self.rate}")
        if not (np.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"expected a nonnegative weight decay; got {self.weight_decay}")
        for name, least in (("steps", 1), ("batch", 1), ("held_out", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"expected {name} >= {least}; got {getattr(self, name)}")
        if self.evaluate_every is not None and self.evaluate_every < 1:
            raise ValueError(f"expected at least 1 step between evaluations; got {self.evaluate_every}")
        if self.prompts is not None and self.prompts < self.batch:
            raise ValueError(f"expected a training set of at least one batch of {self.batch}; got {self.prompts}")
        if self.prompts is not None and self.curriculum is not None:
            raise ValueError("expected fresh prompts with a curriculum; got a fixed training set")


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained model and how it got there.

    Attributes:
        model: in evaluation mode, on the device it was trained on.
        task: what it was trained on.
        recipe: how.
        losses: training loss of each step before its update, squared states, ``[steps]``; with a model that
            predicts every prefix, the mean over prefixes.
        evaluations: scores on the same held-out prompts, the last one after the last step.
        seconds: wall time of the steps, sampling included, evaluations not; summed over resumed parts.
        prompts_per_second: ``steps * batch / seconds``.
        environment: see :func:`markov_icl.environment.environment`, with the device.
    """

    model: PromptModel
    task: Task
    recipe: Recipe
    losses: Float[np.ndarray, " steps"]
    evaluations: tuple[Score, ...]
    seconds: float
    prompts_per_second: float
    environment: dict[str, Any]

    @property
    def final(self) -> Score:
        """Return the held-out score after the last step."""
        return self.evaluations[-1]


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` names.

    Raises:
        ValueError: for another name, or ``cuda`` where there is none.
    """
    if name not in TRAINING_DEVICES:
        raise unknown("device", name, TRAINING_DEVICES)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("expected a CUDA GPU for device cuda; found none (use cpu or auto)")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def train(
    model: PromptModel,
    task: Task,
    optimizer: str = "adam",
    steps: int = 1000,
    batch: int = 1000,
    seed: int = 0,
    device: str = "auto",
    curriculum: Curriculum | None = None,
    *,
    rate: float = 0.01,
    weight_decay: float = 0.0,
    prompts: int | None = None,
    held_out: int = 10_000,
    evaluate_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1000,
    resume: bool = False,
    progress: Progress = False,
) -> TrainResult:
    """Minimize the mean squared error on prompts of a task; ``model`` itself is trained.

    Models that predict every prefix of a prompt are trained on the mean over contexts ``1..n``.

    Args:
        model: any torch model of this package.
        task: what to draw prompts from.
        optimizer: this and what follows up to ``evaluate_every``, the device apart, as in :class:`Recipe`.
        steps: optimizer steps.
        batch: prompts a step.
        seed: of every prompt drawn.
        device: ``auto``, ``cpu`` or ``cuda``; forward passes are compiled on a GPU.
        curriculum: growing contexts.
        rate: learning rate.
        weight_decay: the optimizer's.
        prompts: size of a fixed training set; None draws fresh prompts.
        held_out: prompts of an evaluation.
        evaluate_every: steps between evaluations on the way.
        checkpoint: file to write every ``checkpoint_every`` steps and at the end.
        checkpoint_every: steps between two writes.
        resume: go on from ``checkpoint``, which must come from the same model, task and recipe (more steps allowed);
            the same curve results, to the last bit on a CPU with the same number of threads.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for an unfit argument, a checkpoint of another run, or a loss that is no longer finite.
    """
    recipe = Recipe(optimizer, rate, weight_decay, steps, batch, seed, prompts, held_out, evaluate_every, curriculum)
    if model.dimension != task.dimension:
        raise ValueError(
            f"expected a model of dimension {task.dimension} for this task; got one of dimension {model.dimension}"
        )
    run = _Run(model, task, recipe, choose_device(device))
    if checkpoint is not None and resume:
        run.restore(Path(checkpoint))
    elif checkpoint is not None and Path(checkpoint).exists():
        raise ValueError(f"expected a new file, or resume to go on from it; got {os.fspath(checkpoint)}, which exists")
    with shown(progress, "train") as tell:
        while run.step < steps:
            loss = run.advance()
            due = recipe.evaluate_every is not None and run.step % recipe.evaluate_every == 0
            if due or run.step == steps:
                run.evaluate()
            if checkpoint is not None and (run.step % checkpoint_every == 0 or run.step == steps):
                run.save(Path(checkpoint))
            if run.step % _TOLD == 0 or run.step == steps:
                tell(run.step / steps, f"step {run.step:,} of {steps:,}, loss {loss:.6f}")
    return run.result()


class _Run:
    """A training run between two steps."""

    def __init__(self, model: PromptModel, task: Task, recipe: Recipe, device: torch.device) -> None:
        self.model, self.task, self.recipe, self.device = model.to(device).train(), task, recipe, device
        kinds: dict[str, Any] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
        self.optimizer = _OPTIMIZERS[recipe.optimizer](list(model.parameters()), **kinds)
        self.source = Source(model, task, recipe.batch, recipe.seed, device, recipe.prompts)
        loss_of: Callable[[Any, Batch], Tensor] = _prefix_loss if isinstance(model, PrefixModel) else _query_loss
        self.loss_of = torch.compile(loss_of) if device.type == "cuda" else loss_of
        self.losses = torch.full((recipe.steps,), torch.nan, dtype=self.source.dtype, device=device)
        self.evaluations: list[Score] = []
        self.step, self.seconds = 0, 0.0

    def advance(self) -> float:
        """Take one optimizer step; return the loss before it (on a GPU, the last one looked at)."""
        began = time.perf_counter()
        plan = self.recipe.curriculum
        context = None if plan is None else plan.context(self.step, self.task.context)
        loss = self.loss_of(self.model, self.source.draw(self.step, context))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.losses[self.step] = loss.detach()
        self.step += 1
        look = self.device.type == "cpu" or self.step % _GPU_LOOK == 0 or self.step == self.recipe.steps
        if look:
            self._require_finite()
        self.seconds += time.perf_counter() - began
        return float(self.losses[self.step - 1]) if look else float("nan")

    def _require_finite(self) -> None:
        first = max(self.step - _GPU_LOOK, 0)
        bad = torch.nonzero(~torch.isfinite(self.losses[first : self.step]))
        if len(bad):
            at = first + int(bad[0])
            raise ValueError(
                f"expected a finite loss; got {float(self.losses[at])} at step {at + 1} "
                f"(lower the learning rate, now {self.recipe.rate:g})"
            )

    def evaluate(self) -> None:
        """Score the model on the held-out prompts."""
        self.evaluations.append(replace(self._score(), step=self.step))

    def _score(self) -> Score:
        self.model.eval()
        guesses, targets = [], []
        with torch.no_grad():
            for part in self.source.held_out(self.recipe.held_out, _CHUNK):
                guesses.append(predictions(self.model, part).double().cpu().numpy())
                targets.append(part.target.double().cpu().numpy())
        self.model.train()
        return score(self.task, np.concatenate(guesses), np.concatenate(targets))

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = self.optimizer.state_dict()["state"]
        tensors = {f"optimizer.{k}.{name}": v for k, entry in state.items() for name, v in entry.items()}
        tensors["losses"] = self.losses[: self.step]
        save_checkpoint(path, self.model, self.task, tensors, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "seconds": self.seconds,
            "evaluations": [asdict(one) for one in self.evaluations],
        }

    def restore(self, path: Path) -> None:
        """Go on where a checkpoint of the same run stopped; a file that is not there yet is a fresh start."""
        if not path.exists():
            return
        found = load_checkpoint(path)
        self._require_same(found.model, found.task, found.state)
        self.step, self.seconds = int(found.state["step"]), float(found.state["seconds"])
        if self.step > self.recipe.steps:
            raise ValueError(f"expected at least the {self.step} steps of the checkpoint; got {self.recipe.steps}")
        self.model.load_state_dict(found.model.state_dict())
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in found.tensors.items():
            if name.startswith("optimizer."):
                _, index, field = name.split(".", 2)
                entries.setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": entries})
        self.losses[: self.step] = found.tensors["losses"].to(self.device)
        self.evaluations = [Score(**one) for one in found.state["evaluations"]]
        if self.step == self.recipe.steps and not self.evaluations:
            self.evaluate()

    def _require_same(self, model: PromptModel, task: Task | None, state: Any) -> None:
        if (model.kind, model.config) != (self.model.kind, self.model.config):
            raise ValueError(
                f"expected a checkpoint of the model {self.model.kind} {self.model.config}; "
                f"got one of {model.kind} {model.config}"
            )
        if task != self.task:
            raise ValueError("expected a checkpoint of the same task; got one of another task")
        mine, theirs = asdict(self.recipe), state.get("recipe")
        if not isinstance(theirs, dict) or not {"step", "seconds", "evaluations"} <= set(state):
            raise ValueError("expected a checkpoint with its recipe; got a model without one")
        differs = [name for name in mine if name != "steps" and mine[name] != theirs.get(name)]
        if differs:
            name = differs[0]
            raise ValueError(f"expected a checkpoint with {name} = {mine[name]}; got one with {theirs.get(name)}")

    def result(self) -> TrainResult:
        """Return what was reached."""
        return TrainResult(
            model=self.model.eval(),
            task=self.task,
            recipe=self.recipe,
            losses=self.losses.double().cpu().numpy(),
            evaluations=tuple(self.evaluations),
            seconds=self.seconds,
            prompts_per_second=self.recipe.steps * self.recipe.batch / max(self.seconds, 1e-9),
            environment=environment(str(self.device))
            | {"device": str(self.device), "torch_threads": torch.get_num_threads()},
        )


def _query_loss(model: PromptModel, batch: Batch) -> Tensor:
    return ((predictions(model, batch) - batch.target) ** 2).mean()


def _prefix_loss(model: PrefixModel, batch: Batch) -> Tensor:
    guesses, labels = prefix_predictions(model, batch)
    return ((guesses - labels) ** 2).mean()
