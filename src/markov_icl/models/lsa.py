"""Linear self-attention in token space, written as the paper writes it: the definition.

A layer maps the prompt matrix ``Z [D, n+1]`` to ``Z + (1/n) sum_h P_h Z M (Z^T Q_h Z)``; ``M = diag(1, ..., 1, 0)``
hides the query. The prediction is the bottom-right entry.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from markov_icl.choices import FORMS, unknown
from markov_icl.models.prompt_model import PromptModel

__all__ = ["LinearSelfAttention", "check_tokens"]


class LinearSelfAttention(PromptModel):
    """Layers of linear self-attention with residual connections.

    ``form`` says which entries of ``P`` and ``Q`` are free:

    - ``dense``: all of them, parameters ``P``, ``Q`` ``[layers, heads, D, D]``;
    - ``sparse``: the last row ``b`` of ``P`` and the first ``J = D - 1`` columns ``A`` of ``Q`` [Eq. 7], parameters
      ``b [layers, heads, D]``, ``A [layers, heads, D, J]``;
    - ``restricted``: the same with ``Q = -[A 0]`` [Eq. 11]. The label row then holds ``y_i - w.x_i``, so the prediction
      is *minus* the bottom-right entry (as in Ahn et al. 2023; the paper prints it without the minus).

    Args:
        dimension: ``D``, rows of the prompt matrix.
        depth: number of layers.
        heads: attention heads a layer; their outputs are added.
        form: one of :data:`FORMS`.
        scale: standard deviation of the initial entries.
        seed: of the initial entries.
        dtype: of the parameters.

    Raises:
        ValueError: for an unknown form or a size below 1.

    Source: theory, section 2; Eq. 7 and Eq. 11.
    """

    kind: ClassVar[str] = "lsa"
    reads_gram: ClassVar[bool] = True

    def __init__(
        self,
        dimension: int,
        depth: int = 1,
        heads: int = 1,
        form: str = "dense",
        *,
        scale: float = 0.2,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown("form to be one of", form, FORMS)
        if dimension < 2 or depth < 1 or heads < 1:
            raise ValueError(f"expected dimension >= 2, depth >= 1, heads >= 1; got {dimension}, {depth} and {heads}")
        self.dimension, self.depth, self.heads, self.form = dimension, depth, heads, form
        generator = torch.Generator().manual_seed(seed)

        def entries(*shape: int) -> nn.Parameter:
            drawn = scale * torch.randn(depth, heads, *shape, generator=generator, dtype=torch.float64)
            return nn.Parameter(drawn.to(dtype))

        if form == "dense":
            self.P, self.Q = entries(dimension, dimension), entries(dimension, dimension)
        else:
            self.b, self.A = entries(dimension), entries(dimension, dimension - 1)

    @property
    def config(self) -> dict[str, Any]:
        """Return what the constructor needs to build the same shapes again, JSON-ready."""
        return {"dimension": self.dimension, "depth": self.depth, "heads": self.heads, "form": self.form}

    @property
    def readout(self) -> float:
        """Return the sign between the bottom-right entry and the prediction."""
        return -1.0 if self.form == "restricted" else 1.0

    def projections(self) -> tuple[Float[Tensor, "L H D D"], Float[Tensor, "L H D D"]]:
        """Return ``P`` and ``Q`` of every layer and head, zeros filled in."""
        if self.form == "dense":
            return self.P, self.Q
        P = nn.functional.pad(self.b[..., None, :], (0, 0, self.dimension - 1, 0))
        Q = nn.functional.pad(self.A, (0, 1))
        return P, -Q if self.form == "restricted" else Q

    def weights(self, Z: Float[Tensor, "B D n1"], Q: Float[Tensor, "H D D"]) -> Float[Tensor, "B H n1 n1"]:
        """Return ``(1/n) M Z^T Q_h Z``: entry ``(i, k)`` is how much column ``k`` takes from column ``i``."""
        columns = Z.shape[-1]
        mask = torch.ones(columns, dtype=Z.dtype, device=Z.device)
        mask[-1] = 0.0
        scores = Z[:, None].transpose(-1, -2) @ Q @ Z[:, None]
        return mask[:, None] * scores / (columns - 1)

    def layers(self, Z: Tensor) -> list[Float[Tensor, "B D n1"]]:
        """Return the prompt matrices ``Z_0 = Z, Z_1, ..., Z_L``, each ``[B, D, n+1]``.

        Raises:
            ValueError: for another shape or dtype, or without a context column.
        """
        check_tokens(Z, next(self.parameters()), self.dimension)
        states = [Z]
        for P, Q in zip(*self.projections(), strict=True):
            Z = states[-1]
            states.append(Z + (P @ (Z[:, None] @ self.weights(Z, Q))).sum(1))
        return states

    def attention_maps(self, Z: Tensor) -> list[Float[Tensor, "B H n1 n1"]]:
        """Return the attention weights of every layer."""
        _, Q = self.projections()
        return [self.weights(state, one) for state, one in zip(self.layers(Z)[:-1], Q, strict=True)]

    def forward(self, Z: Tensor) -> Float[Tensor, "B"]:
        """Return the predictions for prompt matrices ``[B, D, n+1]``, in numeric values of the states."""
        return self.readout * self.layers(Z)[-1][:, -1, -1]


def check_tokens(Z: Tensor, parameter: Tensor, dimension: int) -> None:
    """Refuse what is not a batch of prompt matrices ``[B, D, n+1]``, ``n >= 1``, in the parameter's dtype."""
    if Z.ndim != 3 or Z.shape[1] != dimension or Z.shape[2] < 2:
        raise ValueError(f"expected prompt matrices [B, {dimension}, n+1] with n >= 1; got {list(Z.shape)}")
    if Z.dtype != parameter.dtype:
        raise ValueError(f"expected prompt matrices in {parameter.dtype}; got {Z.dtype}")
