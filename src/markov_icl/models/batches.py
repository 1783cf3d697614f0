"""Prompts on their way into a torch model: as Gram matrices where the model reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from markov_icl.models.gram import gram_predict
from markov_icl.models.prompt_model import PromptModel
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import sample_grams, sample_prompts

__all__ = ["Batch", "PrefixModel", "Source", "predictions", "prefix_predictions"]

_TRAINING, _HELD_OUT, _FIXED, _ORDER = range(4)


@runtime_checkable
class PrefixModel(Protocol):
    """A model that also predicts the label of every chain from the chains before it."""

    def prefixes(self, Z: Tensor) -> Tensor:
        """Return predictions after context sizes ``0..n``, ``[B, n + 1]``."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts as tensors, in the form the model reads.

    Attributes:
        query: ``[B, J]``.
        target: ``[B]``.
        gram: ``[B, D, D]``; None for a model that reads columns.
        matrix: prompt matrices, ``[B, D, n + 1]``; None for a model that reads Gram matrices.
    """

    query: Tensor
    target: Tensor
    gram: Tensor | None = None
    matrix: Tensor | None = None

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: Tensor | slice) -> Batch:
        return Batch(
            self.query[index],
            self.target[index],
            None if self.gram is None else self.gram[index],
            None if self.matrix is None else self.matrix[index],
        )


def predictions(model: PromptModel, batch: Batch) -> Tensor:
    """Return the model's predictions for the queries, ``[B]``."""
    if batch.gram is not None:
        return gram_predict(model, batch.gram, batch.query)
    result: Tensor = model(batch.matrix)
    return result


def prefix_predictions(model: PrefixModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return predictions and labels after every context size ``1..n``, both ``[B, n]``."""
    assert batch.matrix is not None
    labels = torch.cat([batch.matrix[:, -1, 1:-1], batch.target[:, None]], dim=1)
    return model.prefixes(batch.matrix)[:, 1:], labels


class Source:
    """Draws the batches of a training run; batch ``step`` does not depend on the batches before it."""

    def __init__(
        self, model: PromptModel, task: Task, batch: int, seed: int, device: torch.device, prompts: int | None = None
    ) -> None:
        self.task, self.batch, self.seed, self.device = task, batch, seed, device
        self.dtype = next(model.parameters()).dtype
        self.as_gram = model.reads_gram
        self.fixed = None if prompts is None else self._sample(task, prompts, (_FIXED,))

    def draw(self, step: int, context: int | None = None) -> Batch:
        """Return the batch of this step, from fresh prompts or from the fixed training set."""
        if self.fixed is None:
            task = self.task if context is None else replace(self.task, context=context)
            return self._sample(task, self.batch, (_TRAINING, step))
        epoch, place = divmod(step, len(self.fixed) // self.batch)
        order = self._rng((_ORDER, epoch)).permutation(len(self.fixed))
        chosen = order[place * self.batch : (place + 1) * self.batch]
        return self.fixed[torch.from_numpy(chosen).to(self.device)]

    def held_out(self, count: int, chunk: int) -> Iterator[Batch]:
        """Yield ``count`` prompts that training never sees, the same ones each time, in chunks."""
        for k, first in enumerate(range(0, count, chunk)):
            yield self._sample(self.task, min(chunk, count - first), (_HELD_OUT, k))

    def _rng(self, stream: tuple[int, ...]) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))

    def _sample(self, task: Task, count: int, stream: tuple[int, ...]) -> Batch:
        rng = self._rng(stream)
        if self.device.type == "cuda":
            return self._sample_there(task, count, int(rng.integers(2**63)))
        dtype = np.float64 if self.dtype == torch.float64 else np.float32
        if self.as_gram:
            drawn = sample_grams(task, count, rng, dtype=dtype, threads=torch.get_num_threads())
            query, target = (torch.from_numpy(a.astype(dtype, copy=False)) for a in (drawn.query, drawn.target))
            return Batch(query, target, gram=torch.from_numpy(drawn.gram))
        prompts = sample_prompts(task, count, rng, threads=torch.get_num_threads())
        matrix, query, target = (
            torch.from_numpy(a.astype(dtype, copy=False)) for a in (prompts.matrix, prompts.query, prompts.target)
        )
        return Batch(query, target, matrix=matrix)

    def _sample_there(self, task: Task, count: int, seed: int) -> Batch:
        from markov_icl.tasks.device_sampling import sample_columns_on, sample_grams_on

        generator = torch.Generator(self.device).manual_seed(seed)
        if self.as_gram:
            gram, query, target = sample_grams_on(task, count, generator, self.dtype)
            return Batch(query, target, gram=gram)
        context, query, target = sample_columns_on(task, count, generator, self.dtype)
        last = nn.functional.pad(query, (0, 1))[:, :, None]
        return Batch(query, target, matrix=torch.cat([context.transpose(1, 2), last], dim=2))
