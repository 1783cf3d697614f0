"""What every torch model of this package is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

__all__ = ["PromptModel"]


class PromptModel(nn.Module, ABC):
    """A module that maps prompt matrices ``[B, D, n+1]``, the query's label 0, to predictions ``[B]``.

    Attributes:
        kind: its name in files and at the command line.
        reads_gram: whether the context matters only through its Gram matrix, so that
            :func:`markov_icl.models.gram.gram_predict` gives the same predictions.
        dimension: ``D``, rows of the prompt matrix.
    """

    kind: ClassVar[str]
    reads_gram: ClassVar[bool] = False
    dimension: int

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return what the constructor needs to build the same shapes again, JSON-ready."""
