"""Softmax attention over prompt columns: the linear model's layers, mask and interface, other weights."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from markov_icl.models.lsa import LinearSelfAttention

__all__ = ["SoftmaxAttention"]


class SoftmaxAttention(LinearSelfAttention):
    """``Z <- Z + sum_h P_h Z softmax(Z^T Q_h Z)``, each column's weights over the ``n`` context columns.

    Arguments, parameters and errors as for :class:`~markov_icl.models.lsa.LinearSelfAttention`.
    """

    kind: ClassVar[str] = "softmax"

    def weights(self, Z: Float[Tensor, "B D n1"], Q: Float[Tensor, "H D D"]) -> Float[Tensor, "B H n1 n1"]:
        """Return the weights: entry ``(i, k)`` is how much column ``k`` takes from column ``i``, 0 from the query."""
        scores = Z[:, None, :, :-1].mT @ Q @ Z[:, None]
        return nn.functional.pad(scores.softmax(-2), (0, 0, 0, 1))
