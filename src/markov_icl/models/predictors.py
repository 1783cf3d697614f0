"""Every predictor of the query's next state behind one protocol: ``predict(prompts)``.

Bayes and the baselines have files of their own; here are the oracle, the constant, and the models themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl import features
from markov_icl.models.baselines import CLASSIFIERS, Classifier, EmpiricalCounts, LinearRegression
from markov_icl.models.bayes import Bayes, PosteriorMean, posterior_mean, posterior_predictive
from markov_icl.models.counts import last_tuple, transition_counts
from markov_icl.models.protocol import NotApplicable, Predictor, chain_states, markov
from markov_icl.tasks.prompts import Task
from markov_icl.tasks.sampling import Prompts

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CLASSIFIERS",
    "Bayes",
    "Classifier",
    "Constant",
    "EmpiricalCounts",
    "Enlarged",
    "KernelKnown",
    "LinearRegression",
    "NotApplicable",
    "PosteriorMean",
    "Predictor",
    "Realized",
    "TorchModel",
    "posterior_mean",
    "posterior_predictive",
    "transition_counts",
]

_GRAM_ENTRIES, _TOKENS, _ATTENTION_ENTRIES = 2_000_000, 16_384, 2_000_000
"""Numbers of Gram matrices, prompt columns, or entries of one head's maps that a torch model is given at once."""


@dataclass(frozen=True)
class KernelKnown:
    """The oracle that is told the kernel: above the Bayes ceiling, out of reach of any predictor.

    Attributes:
        task: Markov.
    """

    task: Task
    name: str = "kernel known"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P S"]:
        """Return the kernel's row at the query's last tuple, ``[P, S]``.

        Raises:
            NotApplicable: if nobody knows the kernels, as for real sequences.
        """
        task = markov(self.task)
        _, query = chain_states(task, prompts)
        if prompts.kernels is None:
            raise NotApplicable("expected prompts that carry their kernels; got some without")
        row: Float[np.ndarray, "P S"] = prompts.kernels[np.arange(len(query)), last_tuple(task, query)]
        return row


@dataclass(frozen=True)
class Constant:
    """The same answer for every prompt: the floor.

    Attributes:
        answer: a value, or probabilities of the states ``[S]``.
    """

    answer: float | tuple[float, ...]
    name: str = "constant"

    def predict(self, prompts: Prompts) -> NDArray[np.float64]:
        """Return the answer for each prompt, ``[P]`` or ``[P, S]``."""
        answer = np.array(self.answer, dtype=float)
        return np.tile(answer, (len(prompts.target), *[1] * answer.ndim))


@dataclass(frozen=True, eq=False)
class Enlarged:
    """A point of the enlarged space, for instance ``X*``: ``sum_j x_j <vech(G), X^(j)>`` [Eq. 9].

    Attributes:
        X: ``[J m]``.
    """

    X: Float[np.ndarray, "N"]
    name: str = "X*"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P"]:
        """Return values ``[P]``.

        Raises:
            ValueError: if ``X`` is for prompts of another shape.
        """
        J = prompts.query.shape[1]
        size = J * features.vech_size(J + 1)
        if len(self.X) != size:
            raise ValueError(f"expected {size} coefficients of X for columns of {J + 1} entries; got {len(self.X)}")
        return features.predict(self.X, prompts.gram, prompts.query)


@dataclass(frozen=True, eq=False)
class Realized:
    """One layer with ``r`` heads: ``sum_s b_s^T G A_s x``.

    Attributes:
        b: last rows of the projections, ``[r, D]``.
        A: first columns of the key-query matrices, ``[r, D, J]``.
    """

    b: Float[np.ndarray, "r D"]
    A: Float[np.ndarray, "r D J"]
    name: str = "best (b, A)"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P"]:
        """Return values ``[P]``.

        Raises:
            ValueError: if the parameters are for prompts of another shape.
        """
        if self.b.shape[1] != prompts.context.shape[2]:
            raise ValueError(
                f"expected parameters for columns of {prompts.context.shape[2]} entries; got {self.b.shape[1]}"
            )
        left = np.einsum("rd,pde->pre", self.b, prompts.gram)
        right = np.einsum("rej,pj->pre", self.A, prompts.query)
        result: Float[np.ndarray, "P"] = (left * right).sum((1, 2))
        return result


@dataclass(frozen=True, eq=False)
class TorchModel:
    """A torch module, asked in evaluation mode and without gradients, a bounded batch at a time.

    A model that ``reads_gram``, as linear self-attention does, is given the Gram matrices, whose cost does not depend
    on the number of context columns; all others read the prompt matrix.

    Attributes:
        model: ``forward(Z [B, D, n+1]) -> [B]``, on any device and in any precision.
        name: what tables show.
    """

    model: Any
    name: str = "torch model"

    def predict(self, prompts: Prompts) -> Float[np.ndarray, "P"]:
        """Return values ``[P]``.

        Raises:
            ValueError: if the model is for prompts of another shape.
        """
        import torch

        D = prompts.context.shape[2]
        if getattr(self.model, "dimension", D) != D:
            raise ValueError(f"expected a model for columns of {D} entries; got one for {self.model.dimension}")
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                ask = self._from_gram if getattr(self.model, "reads_gram", False) else self._from_tokens
                return np.concatenate([part.cpu().numpy() for part in ask(prompts)]).astype(np.float64)
        finally:
            self.model.train(was_training)

    def _from_gram(self, prompts: Prompts) -> Sequence[Tensor]:
        from markov_icl.models.gram import gram_predict

        step = max(1, _GRAM_ENTRIES // prompts.context.shape[2] ** 2)
        parts = _slices(len(prompts.target), step)
        return [gram_predict(self.model, self._tensor(prompts.gram[p]), self._tensor(prompts.query[p])) for p in parts]

    def _from_tokens(self, prompts: Prompts) -> Sequence[Tensor]:
        columns = prompts.context.shape[1] + 1
        step = max(1, min(_TOKENS // columns, _ATTENTION_ENTRIES // columns**2))
        return [self.model(self._tensor(_matrices(prompts, part))) for part in _slices(len(prompts.target), step)]

    def _tensor(self, array: NDArray[np.float64]) -> Tensor:
        import torch

        like = next(iter(self.model.parameters()), torch.zeros(()))
        return torch.as_tensor(np.ascontiguousarray(array)).to(device=like.device, dtype=like.dtype)


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, count, step)]


def _matrices(prompts: Prompts, part: slice) -> Float[np.ndarray, "P D n1"]:
    return Prompts(prompts.context[part], prompts.query[part], prompts.target[part]).matrix
