"""Priors over transition kernels, with exact rational parameters.

A kernel of order ``k`` on ``S`` states has one row for each ``k``-tuple of preceding states, oldest
state most significant: shape ``[S**k, S]``, rows summing to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Integral, Rational, Real

import flint
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.features import Numbers
from markov_icl.rationals import fraction_array, rational

__all__ = [
    "DirichletPrior",
    "FinitePrior",
    "Prior",
    "as_fraction",
    "as_pmf",
    "beta_prior",
    "exact_stationary",
    "fixed_kernel",
    "is_sparse",
    "log_stationary",
    "sample_indices",
    "sample_kernels",
    "sample_log_kernels",
    "stationary",
    "symmetric_dirichlet",
    "tuple_matrices",
]

_EXTREME = 10**9
_MOST_EXACT_ROWS = 256
"""A dense system of this order is solved in fractions in about a second."""
_SPARSE = 0.1
"""Below this parameter NumPy draws rows as ``v, 1 - v``, and ``U^(1/a)`` falls below ``1e-308`` too often."""
_NUMBER = re.compile(r"[+-]?\d{1,400}(/\d{1,400}|(\.\d{0,400})?([eE][+-]?\d{1,3})?)|[+-]?\.\d{1,400}")


def as_fraction(value: object, name: str = "number") -> Fraction:
    """Read a number exactly; a float means its shortest decimal, so ``0.3`` is ``3/10``.

    Raises:
        ValueError: for anything that is not a finite real number.
    """
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text) and not re.search(r"/0+$", text):
            return Fraction(text)
    elif not isinstance(value, bool | np.bool_):
        if isinstance(value, Rational | Integral):
            return Fraction(int(value.numerator), int(value.denominator))
        if isinstance(value, Real) and np.isfinite(float(value)):
            return Fraction(repr(float(value)))
    raise ValueError(f"expected {name} to be a finite number such as 3, 0.3 or 3/10; got {value!r:.60}")


def as_pmf(values: Iterable[object], name: str = "probabilities") -> tuple[Fraction, ...]:
    """Read probabilities that are nonnegative and sum to one.

    Written as fractions or decimals the sum must be exact; floats may be off by rounding
    (1e-9) and are then divided by their sum.

    Raises:
        ValueError: if an entry is negative or the sum is not one.
    """
    raw = list(values)
    pmf = [as_fraction(v, f"each entry of {name}") for v in raw]
    total = sum(pmf, Fraction(0))
    if any(q < 0 for q in pmf):
        raise ValueError(f"expected {name} to be nonnegative; got {min(pmf)}")
    slack = Fraction(1, 10**9) if any(isinstance(v, float | np.floating) for v in raw) else Fraction(0)
    if abs(total - 1) > slack:
        raise ValueError(f"expected {name} to sum to 1; got a sum of {_show(total)}")
    return tuple(q / total for q in pmf)


def _show(value: Fraction) -> str:
    return f"{value!s:.40}" if value.denominator < 10**6 else repr(float(value))


@dataclass(frozen=True)
class DirichletPrior:
    """Independent rows, row ``r ~ Dirichlet(alpha[r])``; for two states each entry is a Beta variable.

    Attributes:
        alpha: positive parameters, ``[rows, states]``, in the order of the next state.
    """

    alpha: tuple[tuple[Fraction, ...], ...]

    def __post_init__(self) -> None:
        rows = tuple(tuple(as_fraction(a, "a Dirichlet parameter") for a in row) for row in self.alpha)
        if not rows or len({len(r) for r in rows}) != 1 or len(rows[0]) < 2:
            raise ValueError("expected Dirichlet parameters as rows of equal length >= 2")
        if any(a <= 0 for row in rows for a in row):
            raise ValueError(f"expected positive prior parameters; got {min(a for row in rows for a in row)}")
        extreme = [a for row in rows for a in row if not Fraction(1, _EXTREME) <= a <= _EXTREME]
        if extreme:
            raise ValueError(f"expected prior parameters from 1e-9 to 1e9; got {float(extreme[0]):.3g}")
        object.__setattr__(self, "alpha", rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(rows, states)``."""
        return len(self.alpha), len(self.alpha[0])

    @cached_property
    def alpha_float(self) -> Float[np.ndarray, "R S"]:
        """Return the parameters rounded to floats."""
        return np.array(self.alpha, dtype=float)


@dataclass(frozen=True)
class FinitePrior:
    """Finitely many kernels with weights; one kernel alone is a task without uncertainty.

    Attributes:
        kernels: ``[kernels, rows, states]``.
        weights: probabilities, ``[kernels]``.
    """

    kernels: tuple[tuple[tuple[Fraction, ...], ...], ...]
    weights: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        kernels = tuple(
            tuple(as_pmf(row, f"row {r + 1} of kernel {k + 1}") for r, row in enumerate(kernel))
            for k, kernel in enumerate(self.kernels)
        )
        weights = as_pmf(self.weights, "kernel weights")
        if not kernels or len(kernels) != len(weights):
            raise ValueError(f"expected one weight for each kernel; got {len(kernels)} kernels, {len(weights)} weights")
        shapes = {(len(k), len(r)) for k in kernels for r in k}
        if len(shapes) != 1:
            raise ValueError("expected kernels of one shape [rows, states]; got several")
        object.__setattr__(self, "kernels", kernels)
        object.__setattr__(self, "weights", weights)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(rows, states)``."""
        return len(self.kernels[0]), len(self.kernels[0][0])

    @cached_property
    def kernels_float(self) -> Float[np.ndarray, "K R S"]:
        """Return the kernels rounded to floats."""
        return np.array(self.kernels, dtype=float)

    @cached_property
    def stationary_float(self) -> Float[np.ndarray, "K R"]:
        """Return the kernels' stationary laws rounded to floats.

        Raises:
            ValueError: if a kernel has several.
        """
        return np.array([exact_stationary(kernel) for kernel in self.kernels], dtype=float)


Prior = DirichletPrior | FinitePrior


def symmetric_dirichlet(states: int, order: int, concentration: object = 1) -> DirichletPrior:
    """Return ``Dirichlet(a, ..., a)`` for every row; ``a = 1`` is uniform on the simplex."""
    a = as_fraction(concentration, "the Dirichlet parameter")
    return DirichletPrior(((a,) * states,) * states**order)


def beta_prior(parameters: Sequence[object]) -> DirichletPrior:
    """Return ``p01 ~ Beta(a0, b0), p11 ~ Beta(a1, b1), ...`` from ``a0, b0, a1, b1, ...``, a pair a row."""
    numbers = [as_fraction(a, "a Beta parameter") for a in parameters]
    if len(numbers) < 4 or len(numbers) % 2:
        raise ValueError(f"expected a pair of Beta parameters for each row; got {len(numbers)} numbers")
    return DirichletPrior(tuple((b, a) for a, b in zip(numbers[::2], numbers[1::2], strict=True)))


def fixed_kernel(kernel: Iterable[Iterable[object]]) -> FinitePrior:
    """Return the prior that always draws ``kernel``, ``[rows, states]``."""
    return FinitePrior((tuple(tuple(row) for row in kernel),), (Fraction(1),))  # type: ignore[arg-type]


def tuple_matrices(kernels: Numbers) -> Numbers:
    """Return the order-1 transition matrices on ``k``-tuples, ``[K, R, R]``, of kernels ``[K, R, S]``."""
    count, rows, states = kernels.shape
    on_tuples = np.zeros((count, rows, rows), dtype=kernels.dtype)
    tuples = np.arange(rows)
    for s in range(states):
        on_tuples[:, tuples, (tuples * states) % rows + s] = kernels[:, :, s]
    return on_tuples


def stationary(kernels: Float[np.ndarray, "K R S"]) -> Float[np.ndarray, "K R"]:
    """Return the stationary laws over ``k``-tuples of kernels with positive entries.

    Grassmann-Taksar-Heyman elimination: no subtraction, so nearly reducible kernels keep full
    relative accuracy. Source: Grassmann, Taksar, Heyman (1985).
    """
    P = tuple_matrices(kernels)
    size = P.shape[1]
    for k in range(size - 1, 0, -1):
        P[:, :k, k] /= P[:, k, :k].sum(1)[:, None]
        P[:, :k, :k] += P[:, :k, k, None] * P[:, None, k, :k]
    pi = np.ones(P.shape[:2])
    for k in range(1, size):
        pi[:, k] = np.einsum("Ki,Ki->K", pi[:, :k], P[:, :k, k])
    result: Float[np.ndarray, "K R"] = pi / pi.sum(1, keepdims=True)
    return result


def log_stationary(logs: Float[np.ndarray, "K R S"]) -> Float[np.ndarray, "K R"]:
    """Return the same from logarithms of the entries, where the entries themselves may be too small for a double."""
    P = np.full((len(logs), logs.shape[1], logs.shape[1]), -np.inf)
    P[tuple_matrices(np.ones_like(logs)) > 0] = -0.0
    P += tuple_matrices(logs)
    size = P.shape[1]
    for k in range(size - 1, 0, -1):
        P[:, :k, k] -= np.logaddexp.reduce(P[:, k, :k], axis=1)[:, None]
        P[:, :k, :k] = np.logaddexp(P[:, :k, :k], P[:, :k, k, None] + P[:, None, k, :k])
    pi = np.zeros(P.shape[:2])
    for k in range(1, size):
        pi[:, k] = np.logaddexp.reduce(pi[:, :k] + P[:, :k, k], axis=1)
    result: Float[np.ndarray, "K R"] = np.exp(pi - np.logaddexp.reduce(pi, axis=1)[:, None])
    return result


def exact_stationary(kernel: Sequence[Sequence[Fraction]]) -> tuple[Fraction, ...]:
    """Return the stationary law over ``k``-tuples of one rational kernel, ``[R]``.

    Raises:
        ValueError: if the kernel has several stationary laws.
    """
    if len(kernel) > _MOST_EXACT_ROWS:
        raise ValueError(f"expected a stationary law of at most {_MOST_EXACT_ROWS} rows; got {len(kernel)}")
    array = np.array([[rational(q) for q in row] for row in kernel], dtype=object)
    P = tuple_matrices(array[None])[0]
    size = P.shape[0]
    rows = [[P[j, i] - (i == j) for j in range(size)] for i in range(size)]
    A = flint.fmpq_mat([*rows, [flint.fmpq(1)] * size])
    if A.rank() < size:
        raise ValueError("expected a kernel with one stationary law; got a reducible kernel with several")
    rhs = flint.fmpq_mat(size + 1, 1, [0] * size + [1])
    pi = (A.transpose() * A).solve(A.transpose() * rhs)
    return tuple(fraction_array(pi))


def sample_kernels(prior: Prior, count: int, rng: np.random.Generator) -> Float[np.ndarray, "K R S"]:
    """Draw ``count`` kernels, float64."""
    if isinstance(prior, DirichletPrior):
        if prior.shape[1] == 2 and (prior.alpha_float == 1).all():  # Beta(1, 1) is uniform, and much faster so
            p = rng.random((count, len(prior.alpha)))
            return np.stack([1 - p, p], axis=2)
        if is_sparse(prior):
            drawn: Float[np.ndarray, "K R S"] = np.exp(sample_log_kernels(prior, count, rng))
            return drawn
        return np.stack([rng.dirichlet(alpha, count) for alpha in prior.alpha_float], axis=1)
    return prior.kernels_float[sample_indices(prior, count, rng)]


def is_sparse(prior: DirichletPrior) -> bool:
    """Return whether entries may be too small for a double, or a complement too close to 1."""
    return bool((prior.alpha_float < _SPARSE).any())


def sample_log_kernels(prior: DirichletPrior, count: int, rng: np.random.Generator) -> Float[np.ndarray, "K R S"]:
    """Draw logarithms of kernels: a ``Gamma(a)`` variable is ``Gamma(a + 1) U^(1/a)``, and nothing underflows."""
    alpha = np.broadcast_to(prior.alpha_float, (count, *prior.shape))
    logs = np.log(rng.standard_gamma(alpha + 1)) - rng.standard_exponential(alpha.shape) / alpha
    result: Float[np.ndarray, "K R S"] = logs - np.logaddexp.reduce(logs, axis=2)[:, :, None]
    return result


def sample_indices(prior: FinitePrior, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw which of the kernels each of ``count`` prompts has, ``[count]``."""
    return rng.choice(len(prior.kernels), count, p=np.array(prior.weights, dtype=float))
