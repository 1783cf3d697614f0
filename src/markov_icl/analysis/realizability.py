"""Where do transformer parameters reach the enlarged optimum? The map over ``(p, n)`` at length 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import phi
from markov_icl.landscape.minimizer import minimizer
from markov_icl.progress import Progress, shown
from markov_icl.tasks.kernels import Prior, as_fraction
from markov_icl.tasks.prompts import MarkovTask, independent_start

__all__ = ["RealizabilityMap", "realizability_map", "theorem_parameters"]


@dataclass(frozen=True, eq=False)
class RealizabilityMap:
    """The discriminant ``X_2^2 - 4 X_1 X_3`` of ``X*``: real ``(b, A)`` reach ``X*`` exactly where it is >= 0.

    Attributes:
        p: start probabilities, ``[P]``.
        n: context sizes, ``[C]``.
        discriminant: exact fractions, ``[P, C]``.
        loss: ``f~*`` at each point, ``[P, C]``.
        b: the formula's ``b`` [Eq. 10], nan where it has no real value, ``[P, C, 2]``.
        A: the formula's ``A``, ``[P, C, 2]``.
        formula_error: largest ``|phi(b, A) - X*|`` where the formula is real; nan if it nowhere is.
    """

    p: tuple[Fraction, ...]
    n: tuple[int, ...]
    discriminant: NDArray[np.object_]
    loss: Float[np.ndarray, "P C"]
    b: Float[np.ndarray, "P C 2"]
    A: Float[np.ndarray, "P C 2"]
    formula_error: float

    @property
    def realizable(self) -> NDArray[np.bool_]:
        """Return where the discriminant is nonnegative, ``[P, C]``."""
        return np.asarray(self.discriminant >= 0, dtype=bool)


def realizability_map(
    p: Sequence[object],
    n: Sequence[int],
    prior: Prior | None = None,
    progress: Progress = False,
) -> RealizabilityMap:
    """Solve length-2 binary tasks with ``Bernoulli(p)`` starts exactly at every point of a grid.

    Args:
        p: start probabilities in (0, 1).
        n: context sizes, at least 1.
        prior: over binary kernels of order 1; uniform when None.
        progress: whether to draw a bar, or who wants to know.

    Raises:
        ValueError: for an empty grid or a probability outside (0, 1).

    Source: Theorem 3.3; theory, section 4.
    """
    starts = tuple(as_fraction(v, "each p") for v in p)
    if not starts or not n or not all(0 < v < 1 for v in starts):
        raise ValueError("expected at least one context size and start probabilities strictly between 0 and 1")
    discriminant = np.empty((len(starts), len(n)), dtype=object)
    loss = np.empty((len(starts), len(n)))
    b, A = np.full((2, len(starts), len(n), 2), np.nan)
    errors = [np.nan]
    # The sign of the discriminant decides, so it is taken from fractions; the formula is then tried in floats.
    with shown(progress, "points") as tell:
        for i, start in enumerate(starts):
            for k, context in enumerate(n):
                law = independent_start([1 - start, start], 2, 1)
                task = MarkovTask(context=context, prior=prior, initial=law)  # type: ignore[arg-type]
                form = minimizer(task, "rational")
                assert form.X_exact is not None
                x1, x2, x3 = form.X_exact
                discriminant[i, k], loss[i, k] = x2**2 - 4 * x1 * x3, form.loss
                formula = theorem_parameters(form.X_exact) if discriminant[i, k] >= 0 else None
                if formula is not None:
                    b[i, k], A[i, k] = formula[0], formula[1][:, 0]
                    errors.append(float(np.abs(phi(*formula) - form.X).max()))
            tell((i + 1) / len(starts), f"{i + 1} of {len(starts)} rows")
    error = float(np.nanmax(errors)) if len(errors) > 1 else np.nan
    return RealizabilityMap(starts, tuple(n), discriminant, loss, b, A, error)


def theorem_parameters(
    X: Sequence[Fraction | float] | NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the formula's ``b`` ``[2]`` and ``A`` ``[2, 1]`` for length 2, None where it is not real [Eq. 10].

    ``b = (1, b_2)``, ``A = (X_1, X_3 / b_2)``, ``b_2 = (X_2 + sqrt(X_2^2 - 4 X_1 X_3)) / (2 X_1)``.
    """
    x1, x2, x3 = X
    root = float(x2**2 - 4 * x1 * x3)
    if root < 0 or x1 == 0:
        return None
    x1, x2, x3 = float(x1), float(x2), float(x3)
    b2 = (x2 + np.copysign(np.sqrt(root), x2)) / (2 * x1)
    return np.array([1.0, b2]), np.array([[x1], [x3 / b2 if b2 else x2]])
