"""GPT-2 over prompt columns: random weights, a linear read-in and a linear read-out.

The blocks are Hugging Face's ``GPT2Model`` built from a configuration; nothing is downloaded. Each chain is shown
twice, first without its label and then with it, so that one causal pass answers every chain from the chains before it.
"""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from markov_icl.choices import SIZES, unknown
from markov_icl.models.prompt_model import PromptModel

__all__ = ["SHAPES", "GPT2Predictor"]

SHAPES = dict(zip(SIZES, ((64, 3, 2), (128, 6, 4), (256, 12, 8)), strict=True))
"""Width, blocks and heads of every configuration."""


class GPT2Predictor(PromptModel):
    """A GPT-2 that predicts a label from the chains before it.

    The ``2n + 1`` tokens of a prompt ``Z [D, n+1]`` are ``(x_1, 0), (x_1, y_1), ..., (x_n, 0), (x_n, y_n)`` and
    ``(x_{n+1}, 0)``: every chain is *asked*, then *answered*. Attention is causal, so the prediction read at an asked
    column has seen the chains before it and no label of its own. The query's label entry in ``Z`` is never looked at.

    Args:
        dimension: ``D``, rows of the prompt matrix.
        size: one of :data:`markov_icl.choices.SIZES`.
        seed: of the initial weights; the global generator is left as it was.
        max_context: the most context chains a prompt may have, one learned position for each token.
        dtype: of the parameters; the initial weights are drawn in single precision whatever it is.

    Raises:
        ValueError: for an unknown size, a dimension below 2 or a context below 1, or without the package transformers.

    Source: Garg et al. (2022), section 2, with columns ``(x_i, y_i)`` in place of the tokens ``y_i``; Fig. 6 and 7.
    """

    kind: ClassVar[str] = "gpt2"

    def __init__(
        self,
        dimension: int,
        size: str = "tiny",
        *,
        seed: int = 0,
        max_context: int = 101,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise unknown("size to be one of", size, SIZES)
        if dimension < 2 or max_context < 1:
            raise ValueError(f"expected dimension >= 2 and max_context >= 1; got {dimension} and {max_context}")
        self.dimension, self.size, self.max_context = dimension, size, max_context
        width, _, _ = SHAPES[size]
        # torch.manual_seed would also reseed every accelerator, which the fork does not restore.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.read_in = nn.Linear(dimension, width)
            self.blocks = _blocks(size, positions=2 * max_context + 1)
            self.read_out = nn.Linear(width, 1)
        self.to(dtype)

    @property
    def config(self) -> dict[str, Any]:
        """Return what the constructor needs to build the same shapes again, JSON-ready."""
        return {"dimension": self.dimension, "size": self.size, "max_context": self.max_context}

    def tokens(self, Z: Float[Tensor, "B D n1"]) -> Float[Tensor, "B tokens D"]:
        """Return the asked and answered columns in turn, ``2n + 1`` of them, the query asked last.

        Raises:
            ValueError: if ``Z`` has another number of rows than ``D`` or more than ``max_context`` context chains.
        """
        if Z.ndim != 3 or Z.shape[1] != self.dimension:
            raise ValueError(f"expected prompts of shape [B, {self.dimension}, n+1]; got {tuple(Z.shape)}")
        if not 1 <= Z.shape[2] <= self.max_context + 1:
            raise ValueError(f"expected 1 to {self.max_context + 1} columns, the query last; got {Z.shape[2]}")
        answered = Z.transpose(1, 2)
        asked = nn.functional.pad(answered[..., :-1], (0, 1))
        return torch.stack([asked, answered], 2).flatten(1, 2)[:, :-1]

    def prefixes(self, Z: Float[Tensor, "B D n1"]) -> Float[Tensor, "B n1"]:
        """Return the prediction for every chain from the chains before it: entry ``i`` has ``i`` chains of context.

        The labels to compare with are those of the context, ``Z[:, -1, :-1]``, and the query's.
        """
        states = self.blocks(inputs_embeds=self.read_in(self.tokens(Z))).last_hidden_state
        predictions: Tensor = self.read_out(states[:, ::2]).squeeze(-1)
        return predictions

    def forward(self, Z: Float[Tensor, "B D n1"]) -> Float[Tensor, "B"]:
        """Return the query's predictions, in numeric values of the states."""
        return self.prefixes(Z)[:, -1]

    def attention_maps(self, Z: Float[Tensor, "B D n1"]) -> list[Float[Tensor, "B H tokens tokens"]]:
        """Return the attention weights of every block: entry ``(t, u)`` is how much token ``t`` takes from token ``u``.

        Rows sum to 1. In linear self-attention the *columns* of a map take; transpose one to compare. No gradients.
        """
        # A copy, since the fused attention used otherwise never forms the weights, and recording them leaves hooks
        # behind with which a model cannot be pickled.
        reader = deepcopy(self.blocks)
        reader.set_attn_implementation("eager")
        with torch.no_grad():
            output = reader(inputs_embeds=self.read_in(self.tokens(Z)), output_attentions=True)
        return list(output.attentions)

    def chain_attention(self, Z: Float[Tensor, "B D n1"]) -> list[Float[Tensor, "B H n1 n1"]]:
        """Return the attention between chains: entry ``(i, k)`` is how much chain ``i`` takes from chain ``k``.

        What a token takes from a chain is the sum over the chain's two tokens, and what a chain takes is the mean over
        its own two; the query has one. So rows still sum to 1 and no chain takes from a later one.
        """
        return [_between_chains(weights) for weights in self.attention_maps(Z)]


def _blocks(size: str, positions: int) -> Any:
    """Build the blocks of a size, without token embeddings, dropout or cache."""
    try:
        # By name, or mypy would check all of transformers, and differently for each of its versions.
        transformers = import_module("transformers")
    except ImportError as error:
        raise ValueError("expected the package transformers; install it with: pip install 'markov-icl[hf]'") from error
    width, depth, heads = SHAPES[size]
    blocks = transformers.GPT2Model(
        transformers.GPT2Config(
            vocab_size=1,
            bos_token_id=None,
            eos_token_id=None,
            n_positions=positions,
            n_embd=width,
            n_layer=depth,
            n_head=heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            activation_function="gelu_pytorch_tanh",  # gelu_new in one kernel, which saves a quarter of a step
            attn_implementation="sdpa",
        )
    )
    blocks.set_input_embeddings(None)  # prompts come as vectors; an unused parameter would never get a gradient
    return blocks


def _between_chains(weights: Float[Tensor, "B H tokens tokens"]) -> Float[Tensor, "B H n1 n1"]:
    """Sum what is taken from a chain's tokens, average what its tokens take; the query's one token is last."""
    by_token = nn.functional.pad(weights, (0, 1))
    taken = by_token[..., ::2] + by_token[..., 1::2]
    context = (taken[..., :-1:2, :] + taken[..., 1::2, :]) / 2
    return torch.cat([context, taken[..., -1:, :]], -2)
