"""Does attention follow the kernels of a prompt? Maps between its chains beside how alike these are, as in Fig. 7."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from markov_icl.analysis.scoring import fresh_prompts
from markov_icl.tasks.prompts import MarkovTask

if TYPE_CHECKING:
    from markov_icl.models.prompt_model import PromptModel

__all__ = [
    "Contrast",
    "KernelAttention",
    "KernelPrompts",
    "chain_maps",
    "contrast",
    "grouped",
    "kernel_attention",
    "shares",
    "similarity",
]

_AT_ONCE = 100  # prompts of which all maps of all heads are held


@dataclass(frozen=True, eq=False)
class KernelPrompts:
    """Context chains of prompts that hold several kernels.

    Attributes:
        columns: the chains as a model sees them, ``[P, n, D]``.
        states: state indices, ``[P, n, L]``.
        kernel: number of each chain's kernel, ``[P, n]``.
    """

    columns: Float[np.ndarray, "P n D"]
    states: Int[np.ndarray, "P n L"]
    kernel: Int[np.ndarray, "P n"]


@dataclass(frozen=True)
class Contrast:
    """How one layer's attention follows the kernels; estimates over prompts.

    Attributes:
        correlation: of attention with similarity, over all pairs of chains that may attend.
        difference: share of a chain of the same kernel minus that of another; nan if all share one, or no two do.
        error: its standard error over prompts.
    """

    correlation: float
    difference: float
    error: float


@dataclass(frozen=True, eq=False)
class KernelAttention:
    """What a model attends to on prompts with several kernels.

    Attributes:
        kernel: number of each chain's kernel, ``[P, n]``.
        alike: similarity of every two chains, ``[P, n, n]``.
        weights: of each layer, the mean over heads: what chain ``i`` takes from chain ``k``, ``[P, n, n]``.
        shares: of each layer, see :func:`shares`, ``[P, n, n]``.
        contrasts: one a layer.
    """

    kernel: Int[np.ndarray, "P n"]
    alike: Float[np.ndarray, "P n n"]
    weights: tuple[Float[np.ndarray, "P n n"], ...]
    shares: tuple[Float[np.ndarray, "P n n"], ...]
    contrasts: tuple[Contrast, ...]


def kernel_attention(
    model: PromptModel, task: MarkovTask, kernels: int, prompts: int, seed: int = 0, shuffled: bool = False
) -> KernelAttention:
    """Return a model's attention maps on fresh prompts whose chains come from several kernels.

    Args:
        model: with attention maps: linear or softmax attention, or GPT-2.
        task: its context chains are shared equally by the kernels.
        kernels: in a prompt, each drawn from the task's prior.
        prompts: how many to draw, at least 2.
        seed: decides the prompts, which no training with this seed has drawn.
        shuffled: put the chains in random order instead of kernel by kernel.

    Raises:
        ValueError: if the kernels cannot share the context equally, or the model has no maps or reads other prompts.
    """
    if prompts < 2:
        raise ValueError(f"expected at least 2 prompts; got {prompts}")
    if task.context < 2:
        raise ValueError(f"expected at least 2 context chains, which attend to each other; got {task.context}")
    drawn = grouped(task, kernels, prompts, seed, shuffled)
    alike = similarity(drawn.states)
    weights = tuple(chain_maps(model, drawn.columns))
    share = tuple(shares(one, _allowed(model.kind, task.context)) for one in weights)
    return KernelAttention(
        drawn.kernel, alike, weights, share, tuple(contrast(one, drawn.kernel, alike) for one in share)
    )


def grouped(task: MarkovTask, groups: int, count: int, seed: int, shuffled: bool) -> KernelPrompts:
    """Draw prompts whose context chains come from several kernels, equally many from each.

    Raises:
        ValueError: unless the context divides into the groups.
    """
    if groups < 1 or task.context % groups:
        raise ValueError(f"expected a context that {groups} kernels share equally; got {task.context}")
    part = replace(task, context=task.context // groups)
    drawn = fresh_prompts(part, count * groups, seed)
    assert drawn.context_states is not None
    columns = drawn.context.reshape(count, task.context, task.dimension)
    states = drawn.context_states.astype(np.int64).reshape(count, task.context, task.length)
    kernel = np.tile(np.repeat(np.arange(groups), part.context), (count, 1))
    if shuffled:
        order = np.argsort(np.random.default_rng([seed, groups]).random(kernel.shape), axis=1)
        columns, states = (np.take_along_axis(one, order[:, :, None], 1) for one in (columns, states))
        kernel = np.take_along_axis(kernel, order, 1)
    return KernelPrompts(columns, states, kernel)


def similarity(states: Int[np.ndarray, "P n L"]) -> Float[np.ndarray, "P n n"]:
    """Return ``1 - Hamming distance / length`` of every pair of chains; exact."""
    return np.asarray((states[:, :, None] == states[:, None, :]).mean(-1))


def chain_maps(model: PromptModel, columns: Float[np.ndarray, "P n D"]) -> list[Float[np.ndarray, "P n n"]]:
    """Return for every layer how much chain ``i`` (row) takes from chain ``k``, the mean over heads.

    The function of a linear layer says nothing of its maps' sign and scale, which a head's projection can undo: here
    every head has a positive mean and mean size 1.

    Raises:
        ValueError: if the model has no attention maps, or they are not finite.
    """
    import torch

    if not hasattr(model, "attention_maps"):
        raise ValueError(f"expected a model with attention maps: lsa, softmax or gpt2; got {model.kind}")
    dtype = next(model.parameters()).dtype
    parts = []
    for part in torch.from_numpy(columns.transpose(0, 2, 1)).to(dtype).split(_AT_ONCE):  # type: ignore[no-untyped-call]
        with torch.no_grad():
            parts.append(_of_heads(model, torch.nn.functional.pad(part, (0, 1))))  # a query that nothing attends to
    maps = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    if not all(np.isfinite(m).all() for m in maps):
        raise ValueError("expected finite attention maps; got nan or infinity (did the training diverge?)")
    if model.kind == "lsa":
        maps = [m * np.sign(_over_heads(m)) / np.maximum(_over_heads(np.abs(m)), 1e-300) for m in maps]
    return [m.mean(1) for m in maps]


def _of_heads(model: PromptModel, Z: object) -> list[Float[np.ndarray, "P H n n"]]:
    """Return every head's map between context chains, rows taking from columns."""
    if model.kind == "gpt2":
        return [m[:, :, :-1, :-1].double().numpy() for m in model.chain_attention(Z)]  # type: ignore[operator]
    return [m[:, :, :-1, :-1].double().numpy().swapaxes(2, 3) for m in model.attention_maps(Z)]  # type: ignore[operator]


def _over_heads(maps: Float[np.ndarray, "P H n n"]) -> Float[np.ndarray, "1 H 1 1"]:
    """Return every head's mean over prompts and pairs."""
    return np.asarray(maps.mean((0, 2, 3), keepdims=True))


def _allowed(kind: str, n: int) -> Bool[np.ndarray, "n n"]:
    """Return which pairs are compared: with GPT-2 a chain and earlier ones, else all; no chain with itself."""
    if kind != "gpt2":
        return ~np.eye(n, dtype=bool)
    return np.tril(np.ones((n, n), dtype=bool), -1)


def shares(weights: Float[np.ndarray, "P n n"], allowed: Bool[np.ndarray, "n n"]) -> Float[np.ndarray, "P n n"]:
    """Return every weight over the mean size of the weights in its row; nan where a chain may not look.

    Linear attention has weights of both signs, so the mean is that of their sizes.
    """
    inside = np.where(allowed, np.abs(weights), 0.0)
    mean = inside.sum(-1, keepdims=True) / np.maximum(allowed.sum(-1), 1)[:, None]
    return np.where(allowed, weights / np.maximum(mean, 1e-12), np.nan)


def contrast(
    share: Float[np.ndarray, "P n n"],
    kernel: Int[np.ndarray, "P n"],
    alike: Float[np.ndarray, "P n n"],
) -> Contrast:
    """Compare attention within and between kernels, and with similarity.

    Args:
        share: of :func:`shares`; nan pairs are left out.
        kernel: number of each chain's kernel.
        alike: similarity of every pair.
    """
    there = np.isfinite(share)
    even = share[there].std() < 1e-12 or alike[there].std() < 1e-12
    correlation = 0.0 if even else float(np.corrcoef(share[there], alike[there])[0, 1])
    same = kernel[:, :, None] == kernel[:, None, :]
    pairs = there & same, there & ~same
    if not all(chosen.any() for chosen in pairs):
        return Contrast(correlation, float("nan"), float("nan"))
    within, between = (np.where(chosen, share, 0).sum((1, 2)) / chosen.sum((1, 2)) for chosen in pairs)
    difference = within - between
    return Contrast(correlation, float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference))))
