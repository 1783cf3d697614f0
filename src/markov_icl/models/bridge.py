"""NumPy parameters and points <-> torch modules: the only crossing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import nn

from markov_icl.features import Numbers, gram_dimension, phi, split_blocks
from markov_icl.models.gram import EnlargedAttention
from markov_icl.models.lsa import LinearSelfAttention

__all__ = [
    "LayerParameters",
    "Parameters",
    "enlarged_module",
    "layer_parameters",
    "module_of",
    "to_module",
    "to_parameters",
    "to_point",
]


@dataclass(frozen=True, eq=False)
class Parameters:
    """One layer that predicts ``sum_s b_s^T G A_s x``: ``b`` ``[r, D]``, ``A`` ``[r, D, J]``."""

    b: Float[np.ndarray, "r D"]
    A: Float[np.ndarray, "r D J"]


@dataclass(frozen=True, eq=False)
class LayerParameters:
    """Last rows ``b`` ``[L, H, D]`` of the projections, and the form's own ``A`` ``[L, H, D, J]``."""

    b: Float[np.ndarray, "L H D"]
    A: Float[np.ndarray, "L H D J"]


def to_module(b: Numbers, A: Numbers, dtype: torch.dtype = torch.float64) -> LinearSelfAttention:
    """Return the sparse one-layer model with these parameters, one head each.

    Args:
        b: ``[r, D]``, or ``[D]`` for one head.
        A: ``[r, D, J]``, or ``[D, J]``; ``J = D - 1``. Exact entries are rounded.
        dtype: of the module.

    Raises:
        ValueError: for other shapes.
    """
    rows, matrices = np.asarray(b, dtype=float), np.asarray(A, dtype=float)
    if rows.ndim == 1 and matrices.ndim == 2:
        rows, matrices = rows[None], matrices[None]
    if rows.ndim != 2 or matrices.shape != (*rows.shape, rows.shape[-1] - 1) or not len(rows):
        raise ValueError(f"expected b [r, D] and A [r, D, D-1]; got {list(np.shape(b))} and {list(np.shape(A))}")
    model = LinearSelfAttention(rows.shape[1], heads=len(rows), form="sparse", dtype=dtype)
    _fill(model.b, rows[None])
    _fill(model.A, matrices[None])
    return model


def enlarged_module(X: Numbers, dtype: torch.dtype = torch.float64) -> EnlargedAttention:
    """Return the enlarged model at a point.

    Args:
        X: ``[J m]`` or ``[J, m]``, ``J = D - 1``. Exact entries are rounded.
        dtype: of the module.

    Raises:
        ValueError: if no such ``D`` exists.
    """
    blocks = split_blocks(np.asarray(X, dtype=float))
    dimension = gram_dimension(blocks.shape[1])
    if len(blocks) != dimension - 1:
        raise ValueError(f"expected {dimension - 1} blocks of {blocks.shape[1]} numbers; got {len(blocks)}")
    model = EnlargedAttention(dimension, dtype=dtype)
    _fill(model.X, blocks)
    return model


def module_of(result: Any, dtype: torch.dtype = torch.float64) -> LinearSelfAttention | EnlargedAttention:
    """Return the model that a result describes: its parameters ``b``, ``A`` if it has them, else its point ``X``.

    Args:
        result: such as a ``Fit`` or :class:`Parameters`, or a :class:`~markov_icl.landscape.closed_form.ClosedForm`.
        dtype: of the module.

    Raises:
        ValueError: if it has neither.
    """
    if hasattr(result, "b") and hasattr(result, "A"):
        return to_module(result.b, result.A, dtype)
    if hasattr(result, "X"):
        return enlarged_module(result.X, dtype)
    raise ValueError(f"expected a result with b and A, or with X; got {type(result).__name__}")


def to_parameters(model: nn.Module) -> Parameters:
    """Return what a layer of linear attention predicts with, whatever its form.

    The restricted form's ``Q = -[A 0]`` and its readout cancel: ``A`` is the ``A`` of the form.

    Raises:
        ValueError: unless the model is one layer of linear attention.

    Source: theory, section 2.
    """
    if not isinstance(model, LinearSelfAttention) or not model.reads_gram or model.depth != 1:
        raise ValueError(f"expected one layer of linear attention; got {_description(model)}")
    P, Q = model.projections()
    return Parameters(_array(P[0, :, -1]), model.readout * _array(Q[0, :, :, :-1]))


def to_point(model: nn.Module) -> Float[np.ndarray, "N"]:
    """Return the point of the enlarged space, ``[J m]``, at which it predicts what the model predicts.

    ``X`` itself, or ``sum_s phi(b_s, A_s)`` [Eq. 8].

    Raises:
        ValueError: unless the model is the enlarged one or one layer of linear attention.
    """
    if isinstance(model, EnlargedAttention):
        return _array(model.X).reshape(-1)
    found = to_parameters(model)
    total: Float[np.ndarray, "N"] = np.sum([phi(b, A) for b, A in zip(found.b, found.A, strict=True)], axis=0)
    return total


def layer_parameters(model: nn.Module) -> LayerParameters:
    """Return the parameters of every layer of the sparse [Eq. 7] or the restricted form [Eq. 11].

    Raises:
        ValueError: for any other model.
    """
    if not isinstance(model, LinearSelfAttention) or not model.reads_gram or model.form == "dense":
        raise ValueError(f"expected linear attention in the sparse or restricted form; got {_description(model)}")
    return LayerParameters(_array(model.b), _array(model.A))


def _fill(parameter: nn.Parameter, values: NDArray[np.float64]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    """Return a copy in float64."""
    copied: NDArray[np.float64] = tensor.detach().to("cpu", torch.float64, copy=True).numpy()
    return copied


def _description(model: nn.Module) -> str:
    if not isinstance(model, LinearSelfAttention):
        return type(model).__name__
    return f"{model.kind}, {model.form}, {model.depth} layers"
