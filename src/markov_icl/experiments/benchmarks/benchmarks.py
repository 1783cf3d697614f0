"""Every benchmark by name: fast paths beside what anybody would write instead, timed in one run."""

from __future__ import annotations

from collections.abc import Callable

from markov_icl.choices import BENCHMARKS
from markov_icl.experiments.benchmarks import exact
from markov_icl.experiments.benchmarks import models as model
from markov_icl.experiments.benchmarks.timing import Benchmark

__all__ = ["TIMED"]

_WITHOUT_MODELS = (exact.minimizer, exact.rational, exact.recovery, exact.certify, exact.long_chains, exact.startup)
_WITH_MODELS = (model.sampling, model.train_step, model.population)
TIMED: dict[str, Callable[..., list[Benchmark]]] = dict(zip(BENCHMARKS, (*_WITHOUT_MODELS, *_WITH_MODELS), strict=True))
