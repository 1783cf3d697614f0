"""Linear attention through the Gram matrix: what the token form computes, at a cost that does not depend on ``n``.

With ``S_l = (1/n) Z_l M Z_l^T``, ``S_0 = G``, a layer is one ``D x D`` matrix a prompt:
``T_l = I + sum_h P_h S_l Q_h``, ``Z_{l+1} = T_l Z_l``, ``S_{l+1} = T_l S_l T_l^T``. (In theory, section 2,
``S_l = C_l G C_l^T``.) Only the query's column ``z_l`` of ``Z_l`` is needed, and of the last layer only the bottom row.

Many tiny matrices are slow as ``[B, D, D]``; here prompts are the last axis, ``[D, D, B]``, so that every operation
is a long vector operation.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from markov_icl.features import vech_indices, vech_size
from markov_icl.models.lsa import LinearSelfAttention, check_tokens
from markov_icl.models.prompt_model import PromptModel

__all__ = ["EnlargedAttention", "gram_layers", "gram_predict"]


class EnlargedAttention(PromptModel):
    """The model of the enlarged space: ``sum_j x_j <vech(G), X^(j)>`` [Eq. 9], parameter ``X`` ``[J, m]``.

    Args:
        dimension: ``D``, rows of the prompt matrix; ``J = D - 1``, ``m = D (D + 1) / 2``.
        scale: standard deviation of the initial entries.
        seed: of the initial entries.
        dtype: of the parameter.

    Raises:
        ValueError: if ``dimension < 2``.
    """

    kind: ClassVar[str] = "enlarged"
    reads_gram: ClassVar[bool] = True

    def __init__(
        self, dimension: int, *, scale: float = 0.2, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if dimension < 2:
            raise ValueError(f"expected dimension >= 2; got {dimension}")
        self.dimension = dimension
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(dimension - 1, vech_size(dimension), generator=generator, dtype=torch.float64)
        self.X = nn.Parameter((scale * drawn).to(dtype))

    @property
    def config(self) -> dict[str, Any]:
        """Return what the constructor needs to build the same shapes again, JSON-ready."""
        return {"dimension": self.dimension}

    def forward(self, Z: Tensor) -> Float[Tensor, "B"]:
        """Return the predictions for prompt matrices ``[B, D, n+1]``, in numeric values of the states."""
        check_tokens(Z, self.X, self.dimension)
        context = Z[..., :-1]
        return gram_predict(self, context @ context.mT / context.shape[-1], Z[:, :-1, -1])


def gram_predict(model: nn.Module, gram: Tensor, query: Tensor) -> Float[Tensor, "B"]:
    """Return the model's predictions from Gram matrices, in numeric values of the states.

    Equal to ``model(Z)``, with first derivatives to the parameters, ``gram`` and ``query``. Second derivatives of
    two layers and more need the token form; here ``create_graph=True`` raises a RuntimeError.

    Args:
        model: :class:`~markov_icl.models.lsa.LinearSelfAttention` of any form, or :class:`EnlargedAttention`.
        gram: ``G = (1/n) sum_i z_i z_i^T``, symmetric, ``[B, D, D]``; fastest if prompts are contiguous in memory,
            as :func:`~markov_icl.tasks.sampling.sample_grams` lays them out.
        query: the query column without its label, ``[B, J]``.

    Raises:
        ValueError: for other shapes or another dtype than the model's, or a model that is no function of ``gram``.

    Source: theory, section 2.
    """
    return gram_layers(model, gram, query)[-1]


def gram_layers(model: nn.Module, gram: Tensor, query: Tensor) -> Float[Tensor, "L1 B"]:
    """Return the prediction read out after each layer, ``[L + 1, B]``; the first, before any layer, is 0.

    Arguments and errors as for :func:`gram_predict`.
    """
    match model:
        case EnlargedAttention():
            check_gram(gram, query, model.X, model.dimension)
            rows, columns = (torch.as_tensor(index, device=gram.device) for index in vech_indices(model.dimension))
            predictions = ((query @ model.X).T * gram.permute(1, 2, 0)[rows, columns]).sum(0)
            return torch.stack([torch.zeros_like(predictions), predictions])
        case LinearSelfAttention(reads_gram=True):
            P, Q = model.projections()
            check_gram(gram, query, P, model.dimension)
            free = model.dimension if model.form == "dense" else 1
            z = nn.functional.pad(query.T, (0, 0, 0, 1))
            return model.readout * _bottom_right(P[:, :, -free:], Q, gram.permute(1, 2, 0).contiguous(), z)
        case _:
            raise ValueError(f"expected linear attention or the enlarged model; got {type(model).__name__}")


def check_gram(gram: Tensor, query: Tensor, parameter: Tensor, dimension: int) -> None:
    """Refuse what is not a batch of Gram matrices and queries in the parameter's dtype."""
    prompts = gram.shape[0] if gram.ndim else 0
    if gram.shape != (prompts, dimension, dimension) or query.shape != (prompts, dimension - 1):
        raise ValueError(
            f"expected gram [B, {dimension}, {dimension}] and query [B, {dimension - 1}]; "
            f"got {list(gram.shape)} and {list(query.shape)}"
        )
    if not gram.dtype == query.dtype == parameter.dtype:
        raise ValueError(f"expected gram and query in {parameter.dtype}; got {gram.dtype} and {query.dtype}")


def _bottom_right(
    P: Float[Tensor, "L H r D"], Q: Float[Tensor, "L H D D"], S: Float[Tensor, "D D B"], query: Float[Tensor, "D B"]
) -> Float[Tensor, "L1 B"]:
    """Return the query's label entry after each layer; rows of the projections above the last ``r`` are zero.

    The last layer adds ``sum_h (S p_h) . (Q_h z)``, ``p_h`` the last row of ``P_h``. Its ``S = T S' T^T`` is applied
    to the ``p_h`` through the layer before, and never formed.
    """
    depth, heads, r, D = P.shape
    prompts = query.shape[1]
    p = P[-1, :, -1].T[..., None].expand(D, heads, prompts)
    P, Q = P.transpose(1, 2).reshape(depth, r, heads * D), Q.reshape(depth, heads * D, D)
    z = query[:, None]
    labels = [z[-1, 0]]
    for layer in range(depth - 2):
        S, z = _advance(S, z, P[layer], Q[layer])
        labels.append(z[-1, 0])
    if depth > 1:
        back = p + _attend(S, p[-r:], Q[-2].T, P[-2].T)  # T^T p
        both = torch.cat([z, _product(S, back)], 1)
        added = _attend(S, both, P[-2], Q[-2])
        both = both + (added if r == D else nn.functional.pad(added, (0, 0, 0, 0, D - r, 0)))
        z, Sp = both[:, :1], both[:, 1:]
        labels.append(z[-1, 0])
    else:
        Sp = _product(S, p)
    Qz = (Q[-1] @ z[:, 0]).view(heads, D, prompts).transpose(0, 1)
    labels.append(labels[-1] + (Sp * Qz).sum((0, 1)))
    return torch.stack(labels)


def _times(A: Tensor, C: Tensor, start: Tensor | None = None) -> Tensor:
    """Return ``start + A C`` for every prompt: ``[I, K, B]`` times ``[K, J, B]``."""
    columns, rows = A.unsqueeze(2).unbind(1), C.unbind(0)
    out = columns[0] * rows[0] if start is None else torch.addcmul(start, columns[0], rows[0])
    for column, row in zip(columns[1:], rows[1:], strict=True):
        out.addcmul_(column, row)
    return out


class _Product(torch.autograd.Function):
    """``A C`` for every prompt, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, C: Tensor) -> Tensor:
        ctx.save_for_backward(A, C)
        return _times(A, C)

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor | None, Tensor | None]:
        A, C = ctx.saved_tensors
        to_A, to_C = ctx.needs_input_grad
        return (
            _product(out, C.transpose(0, 1)) if to_A else None,
            _product(A.transpose(0, 1), out) if to_C else None,
        )


class _Attend(torch.autograd.Function):
    """``sum_h P_h S Q_h x``, ``[r, X, B]``, for columns ``x`` ``[D', X, B]``.

    The heads are stacked: ``P`` ``[r, HD]``, ``Q`` ``[HD, D']``.
    """

    @staticmethod
    def forward(ctx: Any, S: Tensor, x: Tensor, P: Tensor, Q: Tensor) -> Tensor:
        D, columns = len(S), x.shape[1]
        Qx = _heads_in(Q @ x.flatten(1), D, columns)
        SQx = _times(S, Qx)
        ctx.save_for_backward(S, x, P, Q, Qx, SQx)
        return (P @ _heads_out(SQx, columns)).view(len(P), *x.shape[1:])

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, Tensor]:
        _refuse_graph()
        S, x, P, Q, Qx, SQx = ctx.saved_tensors
        to_S, to_x, _, _ = ctx.needs_input_grad
        D, columns = len(S), x.shape[1]
        flat = out.flatten(1)
        left = _heads_in(P.T @ flat, D, columns)
        right = _heads_out(_times(S, left), columns)
        return (
            _times(left, Qx.transpose(0, 1)) if to_S else None,
            (Q.T @ right).view(x.shape) if to_x else None,
            flat @ _heads_out(SQx, columns).T,
            right @ x.flatten(1).T,
        )


def _refuse_graph() -> None:
    """Refuse ``create_graph=True``, where what forward saved would silently count as constant."""
    if torch.is_grad_enabled():
        raise RuntimeError("expected first derivatives only; second ones of two layers and more need the token form")


def _heads_in(stacked: Tensor, D: int, columns: int) -> Tensor:
    """Rearrange ``[HD, XB]`` to ``[D, HX, B]``."""
    heads, prompts = len(stacked) // D, stacked.shape[1] // columns
    return stacked.view(heads, D, columns * prompts).transpose(0, 1).reshape(D, heads * columns, prompts)


def _heads_out(parted: Tensor, columns: int) -> Tensor:
    """Rearrange ``[D, HX, B]`` to ``[HD, XB]``."""
    D, both, prompts = parted.shape
    heads, flat = both // columns, columns * prompts
    return parted.view(D, heads, flat).transpose(0, 1).reshape(heads * D, flat)


class _Layer(torch.autograd.Function):
    """``T S T^T`` and ``T z`` with ``T = I + sum_h P_h S Q_h``; ``W`` ``[r, D, B]`` holds the last rows of ``T - I``.

    Backward takes ``S`` to be symmetric, as it is; its derivative is right for symmetric changes.
    """

    @staticmethod
    def forward(ctx: Any, S: Tensor, z: Tensor, P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
        D, r, prompts = len(S), len(P), S.shape[2]
        PS = (P.view(-1, D) @ S.flatten(1)).view(r, len(Q), prompts)
        W = Q.T @ PS
        TS = _below(S, _times(W, S, S[-r:]), 0)
        ctx.save_for_backward(S, z, P, Q, PS, W, TS)
        TST = _below(TS, _times(TS, W.transpose(0, 1), TS[:, -r:]), 1)
        return TST, _below(z, _times(W, z, z[-r:]), 0)

    @staticmethod
    def backward(ctx: Any, S_out: Tensor, z_out: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, Tensor]:
        _refuse_graph()
        S, z, P, Q, PS, W, TS = ctx.saved_tensors
        to_S, to_z, _, _ = ctx.needs_input_grad
        D, r, W_T = len(S), len(P), W.transpose(0, 1)
        twice = S_out + S_out.transpose(0, 1)
        to_W = _times(twice[-r:], TS, z_out[-r:] * z.transpose(0, 1))
        QW = (Q @ to_W).view(P.numel() // D, S[0].numel())
        S_in = None
        if to_S:
            once = _times(twice[:, -r:], W, twice)
            S_in = _times(W_T, once[-r:], once).mul_(0.5).add_((P.view(-1, D).T @ QW).view(S.shape))
        z_in = _times(W_T, z_out[-r:], z_out) if to_z else None
        return S_in, z_in, (QW @ S.flatten(1).T).view(P.shape), (PS @ to_W.mT).sum(0)


def _below(whole: Tensor, last: Tensor, axis: int) -> Tensor:
    """Return ``whole`` with ``last`` in the last places along an axis."""
    kept = whole.shape[axis] - last.shape[axis]
    return torch.cat([whole.narrow(axis, 0, kept), last], axis) if kept else last


def _product(A: Tensor, C: Tensor) -> Tensor:
    result: Tensor = _Product.apply(A, C)  # type: ignore[no-untyped-call]
    return result


def _attend(S: Tensor, x: Tensor, P: Tensor, Q: Tensor) -> Tensor:
    result: Tensor = _Attend.apply(S, x, P, Q)  # type: ignore[no-untyped-call]
    return result


def _advance(S: Tensor, z: Tensor, P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = _Layer.apply(S, z, P, Q)  # type: ignore[no-untyped-call]
    return result
