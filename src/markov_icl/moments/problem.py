"""What a search or a proof is about: a task, or a quadratic given as moments."""

from __future__ import annotations

from typing import Any

from markov_icl.moments.compute import cheapest_exact
from markov_icl.moments.system import Moments, RationalMoments
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from markov_icl.tasks.spec import TaskSpec, task_to_dict

__all__ = ["Problem", "float_moments", "moments_of_header", "pose"]

Problem = MarkovTask | RegressionTask | Moments | RationalMoments


def pose(problem: Problem) -> tuple[Moments | RationalMoments, dict[str, Any] | None]:
    """Return the problem's moments and, where they can be computed afresh from it, the task as plain data.

    Moments that are only estimates have no such header: a proof is then about the estimate itself.
    """
    if isinstance(problem, Moments | RationalMoments):
        return problem, None
    system = cheapest_exact(problem)
    return system, None if system.is_estimate else task_to_dict(problem)


def float_moments(problem: Problem) -> Moments:
    """Return the problem's moments in float64."""
    return pose(problem)[0].to_float()


def moments_of_header(header: dict[str, Any]) -> Moments | RationalMoments:
    """Return the moments of a task in the form of :func:`~markov_icl.tasks.spec.task_to_dict`."""
    return cheapest_exact(TaskSpec.read(header).task())
