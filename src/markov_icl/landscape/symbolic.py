"""Length 2 in closed form: ``X*`` as expressions in the start probabilities and the context size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, Prior
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart, MarkovTask, Task

if TYPE_CHECKING:
    import sympy

__all__ = ["SymbolicForm", "symbolic_minimizer"]


@dataclass(frozen=True, eq=False)
class SymbolicForm:
    """Formulas for binary chains of length 2 [Theorems 3.3, 3.4].

    Attributes:
        X: the three coordinates of ``X*`` in ``p``, ``n`` and, when starts are correlated, ``a = g(1)``.
        discriminant: ``X_2^2 - 4 X_1 X_3``; real parameters realize ``X*`` exactly where it is >= 0.
        symbols: what each symbol means.
    """

    X: tuple[sympy.Expr, ...]
    discriminant: sympy.Expr
    symbols: dict[str, str]

    def at(self, **values: Fraction | int) -> tuple[Fraction, ...]:
        """Evaluate ``X`` exactly, for instance ``at(p=Fraction(1, 2), n=10)``."""
        import sympy

        numbers = {sympy.Symbol(k, positive=True): sympy.Rational(v) for k, v in values.items()}
        results = [sympy.Rational(x.subs(numbers)) for x in self.X]
        return tuple(Fraction(int(r.p), int(r.q)) for r in results)


def symbolic_minimizer(task: Task) -> SymbolicForm:
    """Solve ``H X = h`` with symbols for the start law and the context size, the prior's numbers inserted.

    Raises:
        ValueError: unless the task is binary, of length 2, with values 0 and 1 and no bias.
    """
    plain = (
        isinstance(task, MarkovTask)
        and (task.states, task.length, task.bias) == (2, 2, False)
        and list(task.values) == [0, 1]
        and isinstance(task.initial, IndependentStart | CorrelatedStart)
    )
    if not plain or not isinstance(task, MarkovTask):
        raise ValueError(
            "expected binary chains of length 2, values 0,1, no bias, independent or correlated starts for "
            "formulas (use rational or dense)"
        )
    import sympy

    p, n = sympy.symbols("p n", positive=True)
    symbols = {"p": "probability that a chain starts in state 1", "n": "context size"}
    a = p
    if isinstance(task.initial, CorrelatedStart):
        a = sympy.Symbol("a", positive=True)
        symbols |= {"p": "probability that the query starts in state 1", "a": "g(1)"}
    X = [sympy.factor(x) for x in _solve(task.prior, a, n)]
    return SymbolicForm(tuple(X), sympy.factor(X[1] ** 2 - 4 * X[0] * X[2]), symbols)


def _solve(prior: Prior, a: sympy.Expr, n: sympy.Expr) -> list[sympy.Expr]:
    """Average over ``(p01, p11)`` given that the query starts in 1; its probability cancels.

    With ``f = (x, x y, y)``: ``mu = (a, a p11, a p11 + (1-a) p01)``, ``T4 = E f f^T``.
    """
    import sympy

    u, v = sympy.symbols("u v")  # p01, p11
    mu = sympy.Matrix([a, a * v, a * v + (1 - a) * u])
    T4 = sympy.Matrix([[a, a * v, a * v], [a * v, a * v, a * v], [a * v, a * v, a * v + (1 - a) * u]])
    moment = _kernel_moments(prior)

    def average(expression: sympy.Expr) -> sympy.Expr:
        polynomial = sympy.Poly(sympy.expand(expression), u, v)
        return sum((c * moment[i, j] for (i, j), c in polynomial.terms()), sympy.Integer(0))

    H = (T4 / n + (1 - 1 / n) * mu * mu.T).applyfunc(average)
    h = (v * mu).applyfunc(average)
    return list(H.LUsolve(h).applyfunc(sympy.cancel))


def _kernel_moments(prior: Prior) -> dict[tuple[int, int], sympy.Rational]:
    """Return ``E p01^i p11^j`` for ``i, j <= 2``."""
    import sympy

    powers = [(i, j) for i in range(3) for j in range(3)]
    if isinstance(prior, FinitePrior):
        values = [
            sum(
                (w * k[0][1] ** i * k[1][1] ** j for k, w in zip(prior.kernels, prior.weights, strict=True)),
                Fraction(0),
            )
            for i, j in powers
        ]
    else:
        values = [_beta_moment(prior, 0, i) * _beta_moment(prior, 1, j) for i, j in powers]
    return {power: sympy.Rational(v.numerator, v.denominator) for power, v in zip(powers, values, strict=True)}


def _beta_moment(prior: DirichletPrior, row: int, power: int) -> Fraction:
    b, a = prior.alpha[row]
    value = Fraction(1)
    for i in range(power):
        value *= (a + i) / (a + b + i)
    return value
