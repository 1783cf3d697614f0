"""What a predictor is, and which prompts it may be asked about."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer
from numpy.typing import NDArray

from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.tasks.sampling import Prompts

__all__ = ["NotApplicable", "Predictor", "chain_states", "check_columns", "markov"]


class NotApplicable(ValueError):  # noqa: N818  # not a mistake of the caller: the predictor does not exist there
    """A predictor has no answer for this kind of task or prompts, however well formed they are."""


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts the query's next state from a prompt."""

    @property
    def name(self) -> str:
        """Return the name that tables show."""

    def predict(self, prompts: Prompts) -> NDArray[np.floating[Any]]:
        """Return probabilities of the next state ``[P, S]``, or values ``[P]``, for every prompt."""


def check_columns(task: Task, prompts: Prompts) -> None:
    """Refuse prompts whose columns are not the task's; the number of context columns is free.

    Raises:
        ValueError: if the columns have another length, or one task has states and the other has not.
    """
    if prompts.context.shape[2] != task.dimension:
        raise ValueError(
            f"expected prompts with columns of {task.dimension} entries, as in the task; got {prompts.context.shape[2]}"
        )
    if isinstance(task, MarkovTask) and prompts.context_states is None:
        raise ValueError("expected prompts of a Markov task; got numeric columns only")


def markov(task: Task) -> MarkovTask:
    """Return the task, if it has states.

    Raises:
        NotApplicable: for a regression task.
    """
    if not isinstance(task, MarkovTask):
        raise NotApplicable("expected a Markov task, with states to count; got a regression task")
    return task


def chain_states(task: MarkovTask, prompts: Prompts) -> tuple[Integer[np.ndarray, "P n L"], Integer[np.ndarray, "P L"]]:
    """Return the state indices of the context chains and of the query chain.

    Raises:
        ValueError: if the prompts are not of the task.
    """
    context, query = prompts.context_states, prompts.query_states
    if context is None or query is None:
        raise ValueError("expected prompts of a Markov task; got numeric columns only")
    if context.shape[2] != task.length:
        raise ValueError(f"expected prompts with chains of {task.length} states; got {context.shape[2]}")
    largest = int(max(context.max(initial=0), query.max(initial=0)))
    if largest >= task.states:
        raise ValueError(f"expected state indices below {task.states}; got {largest}")
    return context, query
