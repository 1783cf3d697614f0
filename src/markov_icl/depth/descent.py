"""Restricted layers as descent: the iterates that the label row of the prompt matrix carries [Theorem 4.1].

With ``J`` query entries, columns ``z_j = (x_j, y_j)`` and residuals ``r_j = y_j - w.x_j``, a layer with heads
``(b_h, A_h)`` moves

    w <- w + sum_h A_h^T G_w b_h,    G_w = (1/n) sum_j (x_j, r_j)(x_j, r_j)^T,    w_0 = 0,

and the label row of column ``i`` is ``y_i - w_l.x_i`` (query: ``-w_l.x_{n+1}``). ``G_w`` is a congruence of the Gram
matrix ``G``, so the iterates need nothing else of the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from markov_icl.tasks.sampling import Prompts

if TYPE_CHECKING:
    from markov_icl.models.lsa import LinearSelfAttention

__all__ = ["Equivalence", "RestrictedParameters", "Step", "Trajectory", "descend", "equivalence", "residual_gram"]

_TOKEN_NUMBERS = 20_000_000
"""Numbers held at once by the comparison in token space: 160 MB."""


@dataclass(frozen=True, eq=False)
class RestrictedParameters:
    """Parameters of layers in the restricted space [Eq. 11].

    Attributes:
        b: last rows of the projections, ``[L, H, D]``.
        A: ``-Q = [A 0]``, ``[L, H, D, J]``; its first ``J`` rows are ``Abar``, its last row is ``a``.

    Raises:
        ValueError: for shapes that do not fit.
    """

    b: Float[np.ndarray, "L H D"]
    A: Float[np.ndarray, "L H D J"]

    def __post_init__(self) -> None:
        b, A = (np.asarray(v, dtype=float) for v in (self.b, self.A))
        if b.ndim != 3 or b.shape[-1] < 2 or A.shape != (*b.shape, b.shape[-1] - 1):
            raise ValueError(f"expected b of shape [L, H, D] and A of shape [L, H, D, D - 1]; got {b.shape}, {A.shape}")
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "A", A)

    @classmethod
    def of(cls, model: LinearSelfAttention) -> RestrictedParameters:
        """Read the parameters of a restricted model.

        Raises:
            ValueError: for a model of another kind or form.
        """
        kind, form = getattr(model, "kind", "unknown"), getattr(model, "form", "none")
        if (kind, form) != ("lsa", "restricted"):
            raise ValueError(f"expected a restricted linear self-attention model; got kind {kind}, form {form}")
        from markov_icl.models.bridge import layer_parameters

        found = layer_parameters(model)
        return cls(found.b, found.A)


@dataclass(frozen=True, eq=False)
class Step:
    """One layer's step on a batch of prompts.

    Attributes:
        layer: one-based.
        w: where it starts, ``[P, J]``.
        gram: Gram matrices of the prompts, ``[P, D, D]``.
        b: ``[H, D]``.
        A: ``[H, D, J]``.
        move: where it goes minus where it starts, ``[P, J]``.
    """

    layer: int
    w: Float[np.ndarray, "P J"]
    gram: Float[np.ndarray, "P D D"]
    b: Float[np.ndarray, "H D"]
    A: Float[np.ndarray, "H D J"]
    move: Float[np.ndarray, "P J"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The iterates of a batch of prompts.

    Attributes:
        parameters: of the layers.
        gram: of the prompts, ``[P, D, D]``.
        w: iterates ``w_0 = 0, ..., w_L``, ``[L+1, P, J]``.
        directions: ``G_w b_h`` of every layer, ``[L, H, P, D]``: the first ``J`` entries are
            ``(1/n) sum s_j x_j = -(dR1/dw) b``, the last is ``(1/n) sum s_j r_j = -(dR2/dw_J) b``.
    """

    parameters: RestrictedParameters
    gram: Float[np.ndarray, "P D D"]
    w: Float[np.ndarray, "L1 P J"]
    directions: Float[np.ndarray, "L H P D"]

    @property
    def preconditioners(self) -> Float[np.ndarray, "L H J D"]:
        """Return ``[Abar^T a]`` of every layer and head: they map a direction to a step."""
        return self.parameters.A.swapaxes(-1, -2)

    def predictions(self, query: Float[np.ndarray, "P J"]) -> Float[np.ndarray, "L1 P"]:
        """Return ``w_l.x_{n+1}`` after every layer, the first one being 0."""
        result: Float[np.ndarray, "L1 P"] = np.einsum("lpj,pj->lp", self.w, query)
        return result

    def residuals(self, context: Float[np.ndarray, "P n D"]) -> Float[np.ndarray, "L1 P n"]:
        """Return ``y_j - w_l.x_j``, the label row of the context after every layer."""
        fitted: Float[np.ndarray, "L1 P n"] = np.einsum("lpj,pnj->lpn", self.w, context[..., :-1])
        result: Float[np.ndarray, "L1 P n"] = context[..., -1] - fitted
        return result

    def step(self, layer: int) -> Step:
        """Return the step of one layer, one-based.

        Raises:
            ValueError: if there is no such layer.
        """
        depth = len(self.directions)
        if not 1 <= layer <= depth:
            raise ValueError(f"expected a layer from 1 to {depth}; got {layer}")
        b, A = self.parameters.b[layer - 1], self.parameters.A[layer - 1]
        start = self.w[layer - 1]
        return Step(layer, start, self.gram, b, A, self.w[layer] - start)


def residual_gram(w: Float[np.ndarray, "P J"], gram: Float[np.ndarray, "P D D"]) -> Float[np.ndarray, "P D D"]:
    """Return ``(1/n) sum_j (x_j, r_j)(x_j, r_j)^T``: the Gram matrix with residuals for labels."""
    J = w.shape[-1]
    left = gram.copy()
    left[:, J] -= np.einsum("pj,pjd->pd", w, gram[:, :J])
    left[:, :, J] -= np.einsum("pj,pdj->pd", w, left[:, :, :J])
    return left


def descend(parameters: RestrictedParameters | LinearSelfAttention, gram: Float[np.ndarray, "P D D"]) -> Trajectory:
    """Run the recursion of Theorem 4.1 from Gram statistics alone.

    Args:
        parameters: of the layers, or a restricted model.
        gram: ``G = (1/n) sum_j z_j z_j^T`` of every prompt.

    Raises:
        ValueError: for a model in another form, or if the sizes do not fit.

    Source: Theorem 4.1; theory, section 6.
    """
    if not isinstance(parameters, RestrictedParameters):
        parameters = RestrictedParameters.of(parameters)
    depth, heads, D = parameters.b.shape
    if gram.ndim != 3 or gram.shape[1:] != (D, D):
        raise ValueError(f"expected Gram matrices of shape [P, {D}, {D}]; got {gram.shape}")
    w = np.zeros((depth + 1, len(gram), D - 1))
    directions = np.empty((depth, heads, len(gram), D))
    for layer in range(depth):
        G = residual_gram(w[layer], gram)
        directions[layer] = np.einsum("pde,he->hpd", G, parameters.b[layer])
        w[layer + 1] = w[layer] + np.einsum("hpd,hdj->pj", directions[layer], parameters.A[layer])
    return Trajectory(parameters, gram, w, directions)


@dataclass(frozen=True)
class Equivalence:
    """How far the layers are from the descent they are said to run.

    Attributes:
        max_abs: largest difference in any entry of any prompt matrix after any layer, and of the prediction.
        largest: largest label row entry in size, that ``max_abs`` may be compared with.
        prompts: how many.
        layers: how many.
    """

    max_abs: float
    largest: float
    prompts: int
    layers: int

    @property
    def relative(self) -> float:
        """Return ``max_abs`` over ``max(1, largest)``."""
        return self.max_abs / max(1.0, self.largest)


def equivalence(model: LinearSelfAttention, prompts: Prompts) -> Equivalence:
    """Compare the layers in token space, in float64, with the recursion: the executable Theorem 4.1.

    Every entry is compared: the label row with ``y_i - w_l.x_i`` and ``-w_l.x_{n+1}``, the other rows with the
    prompt's own, the prediction with ``w_L.x_{n+1}``.

    Raises:
        ValueError: for a model in another form, or if the sizes do not fit.

    Source: Theorem 4.1, with the readout ``-[Z_L]_{D,n+1}``; the paper prints it without the minus.
    """
    import torch

    trajectory = descend(model, prompts.gram)
    layers = type(model)(**model.config, dtype=torch.float64)
    layers.load_state_dict(model.state_dict())
    P, n = prompts.context.shape[:2]
    worst, largest = 0.0, 0.0
    chunk = max(1, _TOKEN_NUMBERS // ((n + 1) * (layers.heads * (n + 1) + (layers.depth + 1) * layers.dimension)))
    for first in range(0, P, chunk):
        part = slice(first, first + chunk)
        Z = prompts.matrix[part]
        w = trajectory.w[:, part]
        expected = np.broadcast_to(Z, (len(w), *Z.shape)).copy()
        expected[:, :, -1] -= np.einsum("lpj,pjn->lpn", w, Z[:, :-1])
        with torch.no_grad():
            states = torch.stack(layers.layers(torch.from_numpy(Z))).numpy()
            prediction = layers(torch.from_numpy(Z)).numpy()
        answer = np.einsum("pj,pj->p", w[-1], prompts.query[part])
        worst = max(worst, float(np.abs(states - expected).max()), float(np.abs(prediction - answer).max()))
        largest = max(largest, float(np.abs(expected[:, :, -1]).max()))
    return Equivalence(worst, largest, P, layers.depth)
