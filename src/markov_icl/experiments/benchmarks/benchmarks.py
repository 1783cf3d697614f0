"""Every benchmark by name: fast paths beside what anybody would write instead, timed in one run."""

from __future__ import annotations

from collections.abc import Callable

from markov_icl.experiments.benchmarks import exact
from markov_icl.experiments.benchmarks import models as model
from markov_icl.experiments.benchmarks.timing import Benchmark

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Callable[..., list[Benchmark]]] = {
    "minimizer": exact.minimizer,
    "rational": exact.rational,
    "recovery": exact.recovery,
    "certify": exact.certify,
    "long-chains": exact.long_chains,
    "startup": exact.startup,
    "sampling": model.sampling,
    "train-step": model.train_step,
    "population": model.population,
}
