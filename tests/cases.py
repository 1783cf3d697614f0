"""Named tasks that the laws in contracts.py are checked on."""

import json
from fractions import Fraction as F
from pathlib import Path

from markov_icl.tasks.kernels import DirichletPrior, FinitePrior, beta_prior, fixed_kernel, symmetric_dirichlet
from markov_icl.tasks.prompts import (
    CorrelatedStart,
    IndependentStart,
    MarkovTask,
    RegressionTask,
    StationaryStart,
    independent_start,
)

HALF = F(1, 2)
TWO_KERNELS = FinitePrior(
    (((F(9, 10), F(1, 10)), (F(2, 5), F(3, 5))), ((F(1, 5), F(4, 5)), (F(1, 2), F(1, 2)))), (F(1, 3), F(2, 3))
)
THREE_STATE_KERNEL = fixed_kernel([["1/2", "1/4", "1/4"], ["1/10", "4/5", "1/10"], [0, "1/2", "1/2"]])
SIGMA = ((F(2), F(1, 2)), (F(1, 2), F(1)))


def bernoulli(p):
    return independent_start([1 - F(p), F(p)], 2, 1)


POLYNOMIAL = {
    "uniform": MarkovTask(length=3, context=2),
    "single-context": MarkovTask(length=2, context=1, initial=bernoulli("3/10")),
    "beta": MarkovTask(length=3, context=2, prior=beta_prior(["1/2", 2, 3, "5/2"]), initial=bernoulli("4/5")),
    "dirichlet": MarkovTask(states=3, length=2, context=2, prior=symmetric_dirichlet(3, 1, "1/2")),
    "dirichlet-rows": MarkovTask(
        states=3, length=2, context=1, prior=DirichletPrior(((1, 2, 3), (2, 2, 2), (F(1, 2), 1, 1)))
    ),
    "finite": MarkovTask(length=3, context=3, prior=TWO_KERNELS),
    "fixed": MarkovTask(states=3, length=2, context=2, prior=THREE_STATE_KERNEL),
    "finite-stationary": MarkovTask(length=3, context=2, prior=TWO_KERNELS, initial=StationaryStart()),
    "fixed-stationary": MarkovTask(states=3, length=2, context=2, prior=THREE_STATE_KERNEL, initial=StationaryStart()),
    "correlated": MarkovTask(length=3, context=2, initial=CorrelatedStart(F(3, 10), (F(9, 100), F(49, 100)))),
    "correlated-finite": MarkovTask(
        length=3, context=2, prior=TWO_KERNELS, initial=CorrelatedStart(F(1, 2), (F(1, 4), F(3, 4)))
    ),
    "order-2": MarkovTask(order=2, length=4, context=1, initial=IndependentStart((F(1, 2), 0, F(1, 3), F(1, 6)))),
    "order-2-stationary": MarkovTask(
        order=2,
        length=3,
        context=2,
        prior=fixed_kernel([["1/2", "1/2"], ["1/4", "3/4"], ["2/3", "1/3"], ["1/5", "4/5"]]),
        initial=StationaryStart(),
    ),
    "signed-values": MarkovTask(length=3, context=2, values=(-1, 1)),
    "odd-values": MarkovTask(states=3, length=2, context=2, values=(F(-1, 2), 3, F(7, 3))),
    "bias": MarkovTask(length=3, context=2, bias=True),
    "bias-three-states": MarkovTask(states=3, length=2, context=2, bias=True),
    "nearly-absorbing": MarkovTask(
        length=3, context=2, prior=fixed_kernel([["999999/1000000", "1/1000000"], ["1/1000000", "999999/1000000"]])
    ),
    "rare-start": MarkovTask(length=3, context=2, initial=bernoulli("1/1000000")),
}

NOT_POLYNOMIAL = {
    "stationary": MarkovTask(length=3, context=4, initial=StationaryStart()),
    "stationary-order-2": MarkovTask(order=2, length=3, context=2, initial=StationaryStart()),
    "stationary-dirichlet": MarkovTask(states=3, length=3, context=2, initial=StationaryStart()),
}

REGRESSION = {
    "regression": RegressionTask(3, 10),
    "regression-covariance": RegressionTask(2, 3, SIGMA),
}

REFERENCE = {
    entry["name"]: entry for entry in json.loads((Path(__file__).parent / "reference_minimizers.json").read_text())
}


def reference_task(entry):
    rows = sorted(entry["alpha"])
    return MarkovTask(
        entry["states"],
        entry["order"],
        entry["d"] + 1,
        entry["n"],
        DirichletPrior(tuple(tuple(F(a) for a in entry["alpha"][row]) for row in rows)),
        IndependentStart(tuple(F(entry["init"][row]) for row in sorted(entry["init"]))),
    )
