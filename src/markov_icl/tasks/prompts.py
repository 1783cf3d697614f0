"""What a prompt is: the Markov task, the regression task and the laws of their first states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from markov_icl.tasks.kernels import (
    FinitePrior,
    Prior,
    as_fraction,
    as_pmf,
    exact_stationary,
    symmetric_dirichlet,
)

__all__ = [
    "CorrelatedStart",
    "IndependentStart",
    "InitialLaw",
    "MarkovTask",
    "RegressionTask",
    "StationaryStart",
    "Task",
    "independent_start",
]

_MAX_ROWS = 100_000
_MAX_ENTRIES = 1_000_000
"""Of a kernel: its prior is written out entry by entry, in fractions."""
_MAX_NUMBER = 10**9
_MOST_DIM, _MOST_BITS = 100, 300_000
"""Of a covariance: a full one of 40 rows of small fractions is eliminated in seconds."""
_SMALLEST = Fraction(1, 10**30)


@dataclass(frozen=True)
class IndependentStart:
    """First ``k`` states of every chain, query included, drawn from one pmf over ``k``-tuples ``[R]``."""

    pmf: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pmf", as_pmf(self.pmf, "the initial pmf"))


@dataclass(frozen=True)
class StationaryStart:
    """First ``k`` states from the stationary law of the drawn kernel."""


@dataclass(frozen=True)
class CorrelatedStart:
    """Two states: ``x_{n+1,1} ~ Bernoulli(p)``, context ``x_{i,1} ~ Bernoulli(g(x_{n+1,1}))`` given it.

    Source: Theorem 3.4 and Example C.5, where ``g(x) = (x - p)^2``.

    Attributes:
        p: probability that the query starts in state 1.
        g: ``(g(0), g(1))``, probabilities that a context chain starts in state 1.
    """

    p: Fraction
    g: tuple[Fraction, Fraction]

    def __post_init__(self) -> None:
        if len(self.g) != 2:
            raise ValueError(f"expected two values g(0), g(1); got {len(self.g)}")
        numbers = [as_fraction(v, "a correlated-start probability") for v in (self.p, *self.g)]
        if not all(0 <= v <= 1 for v in numbers):
            raise ValueError(f"expected probabilities p, g(0), g(1) in [0, 1]; got {', '.join(map(str, numbers)):.60}")
        object.__setattr__(self, "p", numbers[0])
        object.__setattr__(self, "g", (numbers[1], numbers[2]))


InitialLaw = IndependentStart | StationaryStart | CorrelatedStart


def independent_start(pmf: Sequence[object], states: int, order: int) -> IndependentStart:
    """Return the initial law given by a pmf over states (drawn i.i.d. ``order`` times) or over tuples."""
    probabilities = as_pmf(pmf, "the initial pmf")
    if len(probabilities) == states:
        product = [Fraction(1)]
        for _ in range(order):
            product = [a * b for a in product for b in probabilities]
        return IndependentStart(tuple(product))
    if len(probabilities) != states**order:
        wanted = f"{states}" if order == 1 else f"{states} or {states**order}"
        raise ValueError(f"expected an initial pmf with {wanted} entries; got {len(probabilities)}")
    return IndependentStart(probabilities)


def _integer(value: object, name: str, low: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value.__index__()) < low:
        raise ValueError(f"expected {name} to be a whole number >= {low}; got {value!r:.60}")
    number = int(value.__index__())
    if number > _MAX_NUMBER:
        raise ValueError(f"expected {name} to be at most {_MAX_NUMBER:,}; got a number of {len(str(number))} digits")
    return number


@dataclass(frozen=True)
class MarkovTask:
    """The law of a prompt: ``n`` context chains and a query chain from one unknown kernel.

    Attributes:
        states: ``S >= 2``.
        order: ``k >= 1``, the chain's memory; the kernel has ``S**k`` rows.
        length: ``L > k``, states in a chain; the query shows ``d = L - 1`` of them.
        context: ``n >= 1``, number of example chains.
        prior: law of the kernel; None means every row uniform on the simplex.
        initial: law of the first ``k`` states; None means uniform.
        values: numeric value of each state, ``[S]``; None means ``0..S-1``.
        bias: append a constant 1 to every chain's column, before the label (beyond the paper).

    Raises:
        ValueError: "expected ...; got ..." for anything malformed.
    """

    states: int = 2
    order: int = 1
    length: int = 2
    context: int = 10
    prior: Prior = None  # type: ignore[assignment]  # None in, a prior ever after
    initial: InitialLaw = None  # type: ignore[assignment]
    values: tuple[Fraction, ...] = None  # type: ignore[assignment]
    bias: bool = False

    def __post_init__(self) -> None:
        for name, low in (("states", 2), ("order", 1), ("length", 2), ("context", 1)):
            object.__setattr__(self, name, _integer(getattr(self, name), name, low))
        if self.order * (self.states - 1).bit_length() > 64 or self.states**self.order > _MAX_ROWS:
            raise ValueError(
                f"expected at most {_MAX_ROWS} kernel rows; got {self.states} states to the power {self.order}"
            )
        if self.states ** (self.order + 1) > _MAX_ENTRIES:
            raise ValueError(
                f"expected kernels of at most {_MAX_ENTRIES:,} entries; got {self.states} states, order {self.order}"
            )
        if self.length <= self.order:
            raise ValueError(f"expected length > order = {self.order}; got length {self.length}")
        if not isinstance(self.bias, bool):
            raise ValueError(f"expected bias to be true or false; got {self.bias!r:.60}")
        self._complete()

    def _complete(self) -> None:
        rows = self.states**self.order
        prior = symmetric_dirichlet(self.states, self.order) if self.prior is None else self.prior
        if not isinstance(prior, Prior):
            raise ValueError(f"expected a prior (see markov_icl.tasks.kernels); got {prior!r:.60}")
        if prior.shape != (rows, self.states):
            raise ValueError(
                f"expected a prior over kernels with {rows} rows of {self.states} states; "
                f"got {prior.shape[0]} rows of {prior.shape[1]}"
            )
        object.__setattr__(self, "prior", prior)
        initial = self.initial
        if initial is None:
            initial = independent_start([Fraction(1, self.states)] * self.states, self.states, self.order)
        if not isinstance(initial, InitialLaw):
            raise ValueError(f"expected an initial law (see markov_icl.tasks.prompts); got {initial!r:.60}")
        if isinstance(initial, IndependentStart) and len(initial.pmf) != rows:
            raise ValueError(f"expected an initial pmf over {rows} tuples of states; got {len(initial.pmf)} entries")
        if isinstance(initial, CorrelatedStart) and (self.states, self.order) != (2, 1):
            raise ValueError(
                f"expected 2 states and order 1 with correlated starts; got {self.states} states, order {self.order}"
            )
        if isinstance(initial, StationaryStart) and isinstance(prior, FinitePrior):
            for kernel in prior.kernels:
                exact_stationary(kernel)
        object.__setattr__(self, "initial", initial)
        values = range(self.states) if self.values is None else self.values
        numbers = tuple(as_fraction(v, "a state's value") for v in values)
        if len(numbers) != self.states or len(set(numbers)) != self.states:
            raise ValueError(f"expected {self.states} distinct values, one a state; got {len(numbers)}")
        if max(abs(v) for v in numbers) > _MAX_NUMBER:
            raise ValueError(f"expected values from -1e9 to 1e9; got {max(numbers, key=abs)!s:.40}")
        object.__setattr__(self, "values", numbers)

    @property
    def rows(self) -> int:
        """Return ``S**k``, the number of kernel rows."""
        return int(self.states**self.order)

    @property
    def blocks(self) -> int:
        """Return ``J``: the query's ``d`` states, plus one for a bias."""
        return self.length - 1 + self.bias

    @property
    def dimension(self) -> int:
        """Return ``D = J + 1``, the size of the Gram matrix."""
        return self.blocks + 1

    @cached_property
    def times(self) -> tuple[int, ...]:
        """Return the time, one-based, that each of the ``D`` entries of a column shows; 0 is the bias."""
        return (*range(1, self.length), *([0] if self.bias else []), self.length)


@dataclass(frozen=True)
class RegressionTask:
    """In-context linear regression: ``x ~ N(0, covariance)``, ``w ~ N(0, I)``, ``y = w.x``, i.i.d. examples.

    Source: Ahn et al. (2023); Zhang, Frei, Bartlett (2024).

    Attributes:
        dim: ``d >= 1``.
        context: ``n >= 1`` examples.
        covariance: ``[d, d]`` symmetric positive definite; None means the identity.
    """

    dim: int = 1
    context: int = 10
    covariance: tuple[tuple[Fraction, ...], ...] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("dim", "context"):
            object.__setattr__(self, name, _integer(getattr(self, name), name, 1))
        if self.dim > _MOST_DIM:
            raise ValueError(f"expected a regression of dimension at most {_MOST_DIM}; got {self.dim}")
        identity = [[int(i == j) for j in range(self.dim)] for i in range(self.dim)]
        rows = identity if self.covariance is None else self.covariance
        sigma = tuple(tuple(as_fraction(v, "a covariance entry") for v in row) for row in rows)
        if len(sigma) != self.dim or any(len(row) != self.dim for row in sigma):
            raise ValueError(f"expected a covariance of shape [{self.dim}, {self.dim}]")
        if any(sigma[i][j] != sigma[j][i] for i in range(self.dim) for j in range(i)):
            raise ValueError("expected a symmetric covariance; got one that differs from its transpose")
        entries = [v for row in sigma for v in row if v]
        if any(not _SMALLEST <= abs(v) <= 1 / _SMALLEST for v in entries):
            raise ValueError("expected covariance entries of 0, or from 1e-30 to 1e30 in size; got others")
        if any(sigma[i][j] for i in range(self.dim) for j in range(i)) and _bits(entries) * self.dim > _MOST_BITS:
            raise ValueError("expected a smaller covariance, or numbers of fewer digits; got one that takes minutes")
        _require_positive_definite(sigma)
        object.__setattr__(self, "covariance", sigma)

    @property
    def blocks(self) -> int:
        """Return ``J = d``."""
        return self.dim

    @property
    def dimension(self) -> int:
        """Return ``D = d + 1``."""
        return self.dim + 1


def _bits(numbers: Iterable[Fraction]) -> int:
    return sum(v.numerator.bit_length() + v.denominator.bit_length() for v in numbers)


def _require_positive_definite(sigma: tuple[tuple[Fraction, ...], ...]) -> None:
    rest = [list(row) for row in sigma]
    for k in range(len(rest)):
        pivot = rest[k][k]
        if pivot <= 0:
            raise ValueError(f"expected a positive definite covariance; got pivot {pivot!s:.40} at row {k + 1}")
        for i in (i for i in range(k + 1, len(rest)) if rest[i][k]):
            factor = rest[i][k] / pivot
            for j in range(k + 1, len(rest)):
                rest[i][j] -= factor * rest[k][j]


Task = MarkovTask | RegressionTask
