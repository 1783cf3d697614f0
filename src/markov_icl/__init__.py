"""Exact optima, recovery and certificates for in-context learning of Markov chains by linear self-attention."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markov_icl.analysis.evaluation import evaluate, standard_predictors
    from markov_icl.analysis.realizability import realizability_map
    from markov_icl.features import phi, predict
    from markov_icl.landscape.minimizer import minimizer
    from markov_icl.landscape.slices import coordinate_slices
    from markov_icl.models.checkpoint import load_model
    from markov_icl.models.lsa import LinearSelfAttention
    from markov_icl.models.population import train_population
    from markov_icl.models.predictors import posterior_predictive
    from markov_icl.models.training import train
    from markov_icl.moments.compute import compute_moments, rational_moments
    from markov_icl.moments.enumeration import enumerate_moments
    from markov_icl.recovery.certificate.certificate import Certificate
    from markov_icl.recovery.certificate.verify import verify
    from markov_icl.recovery.factor import recover
    from markov_icl.recovery.heads.heads import heads
    from markov_icl.recovery.search.fit import best
    from markov_icl.recovery.search.nearest import nearest
    from markov_icl.recovery.solver.certify import certify
    from markov_icl.tasks.data import from_sequences
    from markov_icl.tasks.prompts import MarkovTask, RegressionTask
    from markov_icl.tasks.sampling import sample_grams, sample_prompts
    from markov_icl.tasks.spec import task_from_file

_HOMES = {
    "Certificate": "recovery.certificate.certificate",
    "LinearSelfAttention": "models.lsa",
    "MarkovTask": "tasks.prompts",
    "RegressionTask": "tasks.prompts",
    "best": "recovery.search.fit",
    "certify": "recovery.solver.certify",
    "compute_moments": "moments.compute",
    "coordinate_slices": "landscape.slices",
    "enumerate_moments": "moments.enumeration",
    "evaluate": "analysis.evaluation",
    "from_sequences": "tasks.data",
    "heads": "recovery.heads.heads",
    "load_model": "models.checkpoint",
    "minimizer": "landscape.minimizer",
    "nearest": "recovery.search.nearest",
    "phi": "features",
    "posterior_predictive": "models.predictors",
    "predict": "features",
    "rational_moments": "moments.compute",
    "realizability_map": "analysis.realizability",
    "recover": "recovery.factor",
    "sample_grams": "tasks.sampling",
    "sample_prompts": "tasks.sampling",
    "standard_predictors": "analysis.evaluation",
    "task_from_file": "tasks.spec",
    "train": "models.training",
    "train_population": "models.population",
    "verify": "recovery.certificate.verify",
}

__all__ = [
    "Certificate",
    "LinearSelfAttention",
    "MarkovTask",
    "RegressionTask",
    "best",
    "certify",
    "compute_moments",
    "coordinate_slices",
    "enumerate_moments",
    "evaluate",
    "from_sequences",
    "heads",
    "load_model",
    "minimizer",
    "nearest",
    "phi",
    "posterior_predictive",
    "predict",
    "rational_moments",
    "realizability_map",
    "recover",
    "sample_grams",
    "sample_prompts",
    "standard_predictors",
    "task_from_file",
    "train",
    "train_population",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'markov_icl' has no attribute {name!r}")
    return getattr(import_module(f"markov_icl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
