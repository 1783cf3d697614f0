"""A restricted model layer by layer: every objective, loss, accuracy beside Bayes, distance to the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from markov_icl.depth.descent import Equivalence, Trajectory, descend, equivalence
from markov_icl.depth.objectives import decompose, first_group, group_values, second_group
from markov_icl.depth.pareto import distances, front_of, generational_distance, line_front
from markov_icl.models.predictors import posterior_predictive
from markov_icl.models.scores import nearest_state
from markov_icl.progress import Progress, shown
from markov_icl.tasks.prompts import MarkovTask, Task
from markov_icl.tasks.sampling import Prompts, sample_prompts

if TYPE_CHECKING:
    from markov_icl.models.lsa import LinearSelfAttention

__all__ = ["FRONTS", "Ceiling", "Distance", "Layer", "Profile", "profile"]

FRONTS = {
    "R1": "R1 over all of w",
    "R2": "R2 over all of w",
    "both": "R1 and R2 over all of w",
    "R2, w_J": "R2 over w_J alone, as Theorem 4.1 differentiates it",
}
"""Names of the fronts, and the objectives and unknowns they are fronts of."""
_FRONT_PROMPTS = {"sampled": 24, "nsga2": 4}
_EXPLODED = 1e8  # steps are quadratic in w: a few layers further there are no numbers left
_CHUNK_NUMBERS = 4_000_000
_EQUIVALENCE_PROMPTS = 64
_FRESH = 2  # a stream of its own: models trained with the same seed have not seen these prompts


@dataclass(frozen=True)
class Distance:
    """Distance of one layer's iterates to their prompts' fronts, normalized (see :mod:`markov_icl.depth.pareto`).

    Attributes:
        mean: Generational Distance, mean convention.
        mean_se: its standard error over prompts.
        veldhuizen: Generational Distance, Van Veldhuizen's convention with ``p = 2``.
        on_front: share of prompts whose iterate no point looked at dominates.
    """

    mean: float
    mean_se: float
    veldhuizen: float
    on_front: float


@dataclass(frozen=True, eq=False)
class Layer:
    """One row of the profile; layer 0 is the input, where ``w = 0``.

    Attributes:
        layer: how many layers have run.
        loss: mean squared error of ``w_l.x_{n+1}``, in squared states.
        loss_se: its standard error.
        accuracy: share of queries whose nearest state value is the target; nan for regression.
        accuracy_se: its standard error.
        first: means of ``R1_1 .. R1_D`` over prompts, ``[D]``.
        second: means of ``R2_1 .. R2_D``, ``[D]``.
        shares: of the step into this layer, by objective, ``[2, D]``; nan for layer 0.
        distance: to each front of :data:`FRONTS`.
        outside: share of prompts whose iterate lies outside the box of the fronts.
    """

    layer: int
    loss: float
    loss_se: float
    accuracy: float
    accuracy_se: float
    first: Float[np.ndarray, "D"]
    second: Float[np.ndarray, "D"]
    shares: Float[np.ndarray, "2 D"]
    distance: dict[str, Distance]
    outside: float


@dataclass(frozen=True)
class Ceiling:
    """The Bayes predictor on the same prompts.

    Attributes:
        loss: mean squared error of the posterior mean.
        accuracy: of the most probable state.
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Profile:
    """A model on fresh prompts, layer by layer.

    Attributes:
        layers: rows 0 to ``L``.
        bayes: on the same prompts; None where the posterior is not at hand (regression, stationary starts).
        prompts: how many the scores and objectives are means over.
        front_prompts: how many of them have fronts.
        front_method: ``sampled`` or ``nsga2``.
        box: of the fronts.
        unbounded: objectives that some prompt's box alone keeps from minus infinity.
        equivalence: token space against the recursion, on the first prompts.
    """

    layers: tuple[Layer, ...]
    bayes: Ceiling | None
    prompts: int
    front_prompts: int
    front_method: str
    box: float
    unbounded: tuple[str, ...]
    equivalence: Equivalence


def profile(
    model: LinearSelfAttention,
    task: Task,
    prompts: int = 2000,
    fronts: int | None = None,
    method: str = "sampled",
    box: float = 2.0,
    seed: int = 0,
    progress: Progress = False,
) -> Profile:
    """Follow a restricted model through its layers on fresh prompts (Fig. 2).

    Args:
        model: linear self-attention in the restricted form.
        task: the prompts' law.
        prompts: scores and objectives are means over so many.
        fronts: so many of them get Pareto fronts; None takes 24, or 4 with NSGA-II.
        method: ``sampled`` or ``nsga2``.
        box: the fronts are sought for ``w`` in ``[-box, box]^J``.
        seed: of prompts and fronts.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for a model in another form or of another size, one whose iterates explode, or numbers that are not
            positive.
    """
    if model.dimension != task.dimension:
        raise ValueError(f"expected a model of dimension {task.dimension} for this task; got {model.dimension}")
    find = front_of(method)
    fronts = min(prompts, _FRONT_PROMPTS[method]) if fronts is None else fronts
    if not 1 <= fronts <= prompts:
        raise ValueError(f"expected 1 to {prompts} prompts with fronts; got {fronts}")
    # The recursion of Theorem 4.1 gives every layer's iterates at once; few prompts hold it to the layers themselves.
    drawn = sample_prompts(task, prompts, np.random.default_rng([seed, _FRESH]))
    path = _bounded_descent(model, drawn)
    few = Prompts(*(v[:_EQUIVALENCE_PROMPTS] for v in (drawn.context, drawn.query, drawn.target)))
    # A front belongs to one prompt and costs far more than a score, so few prompts have one.
    far: dict[str, list[Float[np.ndarray, "L1"]]] = {name: [] for name in FRONTS}
    unbounded: set[str] = set()
    with shown(progress, "fronts") as tell:
        for p in range(fronts):
            context, w = drawn.context[p], path.w[:, p]
            for group in ("R1", "R2", "both"):
                front = find(group, context, near=w, box=box, seed=seed + p)
                far[group].append(distances(group_values(group, w, context), front))
                unbounded |= set(front.unbounded)
            far["R2, w_J"].append(_along_last(w, context, box))
            tell((p + 1) / fronts, f"fronts of {p + 1} of {fronts} prompts")
    return Profile(
        _rows(path, task, drawn, {name: np.stack(found) for name, found in far.items()}, box),
        _ceiling(task, drawn),
        prompts,
        fronts,
        method,
        box,
        tuple(sorted(unbounded)),
        equivalence(model, few),
    )


def _bounded_descent(model: LinearSelfAttention, drawn: Prompts) -> Trajectory:
    with np.errstate(over="ignore", invalid="ignore"):
        path = descend(model, drawn.gram)
        largest = np.abs(path.w).max((1, 2))
    beyond = np.flatnonzero(np.logical_not(largest <= _EXPLODED))
    if len(beyond):
        layer = int(beyond[0])
        raise ValueError(
            f"expected iterates that stay finite on this task; got |w| = {largest[layer]:.1e} after layer {layer} "
            "(a model trained at a lower rate, or on prompts like these, may do better)"
        )
    return path


def _along_last(w: Float[np.ndarray, "L1 J"], context: Float[np.ndarray, "n D"], box: float) -> Float[np.ndarray, "L1"]:
    found = [distances(second_group(one[None], context), line_front(context, one, box))[0] for one in w]
    return np.array(found)


def _rows(
    path: Trajectory, task: Task, drawn: Prompts, far: dict[str, Float[np.ndarray, "F L1"]], box: float
) -> tuple[Layer, ...]:
    predictions = path.predictions(drawn.query)
    errors = (predictions - drawn.target) ** 2
    right = _right(task, predictions, drawn.target)
    count = len(drawn.target)
    rows = []
    for layer, w in enumerate(path.w):
        found = {group: values[:, layer] for group, values in far.items()}
        rows.append(
            Layer(
                layer,
                float(errors[layer].mean()),
                float(errors[layer].std() / np.sqrt(count)),
                float(right[layer].mean()),
                float(right[layer].std() / np.sqrt(count)),
                first_group(w, drawn.gram).mean(0),
                _mean_second(w, drawn.context),
                decompose(path.step(layer)).shares if layer else np.full((2, task.dimension), np.nan),
                {group: _distance(values) for group, values in found.items()},
                float((np.abs(w) > box).any(1).mean()),
            )
        )
    return tuple(rows)


def _distance(found: Float[np.ndarray, "F"]) -> Distance:
    return Distance(
        generational_distance(found).value,
        float(found.std() / np.sqrt(len(found))),
        generational_distance(found, "veldhuizen").value,
        float((found == 0).mean()),
    )


def _mean_second(w: Float[np.ndarray, "P J"], context: Float[np.ndarray, "P n D"]) -> Float[np.ndarray, "D"]:
    chunk = max(1, _CHUNK_NUMBERS // context[0].size)
    total = sum(second_group(w[k : k + chunk], context[k : k + chunk]).sum(0) for k in range(0, len(w), chunk))
    result: Float[np.ndarray, "D"] = np.asarray(total) / len(w)
    return result


def _right(
    task: Task, predictions: Float[np.ndarray, "L1 P"], target: Float[np.ndarray, "P"]
) -> Float[np.ndarray, "L1 P"]:
    """Return 1 where rounding to the nearest state's value is right; nan for regression, which has no states."""
    if not isinstance(task, MarkovTask):
        return np.full(predictions.shape, np.nan)
    wanted = nearest_state(task, target)
    return np.array([nearest_state(task, one) == wanted for one in predictions], dtype=float)


def _ceiling(task: Task, drawn: Prompts) -> Ceiling | None:
    if not isinstance(task, MarkovTask):
        return None
    try:
        law = posterior_predictive(task, drawn)
    except ValueError:  # starts that depend on a Dirichlet kernel: the posterior is not conjugate
        return None
    values = np.array(task.values, dtype=float)
    return Ceiling(
        float(((law @ values - drawn.target) ** 2).mean()), float((values[law.argmax(1)] == drawn.target).mean())
    )
