"""The words that options and arguments take, each set once, and the refusal of a word that is none of them.

Nothing here decides a number: which function a word stands for is said where the function is.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BENCHMARKS",
    "DEVICES",
    "ENGINES",
    "FORMS",
    "FRONTS",
    "INITIALS",
    "KINDS",
    "METHODS",
    "MODELS",
    "NORMS",
    "OPTIMIZERS",
    "PLACEMENTS",
    "POPULATION_OPTIMIZERS",
    "PRECISIONS",
    "PREDICTORS",
    "PRIORS",
    "SCALES",
    "SEEDS",
    "SIZES",
    "TRAINING_DEVICES",
    "WHOLE",
    "hint",
    "unknown",
]

PRIORS = ("uniform", "beta", "dirichlet", "finite", "fixed")
"""Laws of a task's kernels."""
INITIALS = ("uniform", "bernoulli", "pmf", "stationary", "correlated")
"""Laws of a chain's first states."""
WHOLE = ("uniform", "stationary")
"""Laws that no parameters follow."""
METHODS = ("auto", "dense", "operator", "rational", "symbolic")
"""Ways to the minimizer."""
DEVICES = ("cpu", "cuda")
"""Where long chains are solved, and what the spec of a run may name."""
TRAINING_DEVICES = ("auto", *DEVICES)
"""Where models are trained; ``auto`` takes a GPU where there is one."""
NORMS = ("frobenius", "euclidean")
"""How far a realizable point is: by its symmetric blocks, or by ``X``."""
MODELS = ("lsa", "softmax", "enlarged", "gpt2")
"""Kinds of model that are trained."""
FORMS = ("dense", "sparse", "restricted")
"""Which entries of ``P`` and ``Q`` of linear attention are free."""
SIZES = ("tiny", "small", "standard")
"""Configurations of GPT-2."""
PRECISIONS = (32, 64)
"""Bits of a model's numbers."""
OPTIMIZERS = ("adam", "adamw", "sgd")
"""Of training on sampled prompts."""
POPULATION_OPTIMIZERS = ("lbfgs", "gd")
"""Of training on the exact population loss."""
PREDICTORS = (
    "bayes", "rounded", "kernel", "counts", "logistic", "linear", "3nn", "svm", "optimum", "best", "constant",
)  # fmt: skip
"""The standard predictors, in the order of the table."""
FRONTS = ("sampled", "nsga2")
"""How a Pareto front is found."""
KINDS = ("separable", "inseparable", "random", "degenerate")
"""Of drawn instances of bilinear separability."""
PLACEMENTS = ("working", "printed")
"""Where the reduction puts the constraints on ``z2``."""
SCALES = ("quick", "paper")
"""Sizes at which an experiment is defined."""
SEEDS = 5
"""Of every trained curve, unless somebody asks for more."""
ENGINES = ("loky", "ray")
"""What runs go on in parallel with."""
BENCHMARKS = (
    "minimizer", "rational", "recovery", "certify", "long-chains", "startup", "sampling", "train-step", "population",
)  # fmt: skip
"""Fast paths that are timed beside plain ones."""


def hint(word: object, choices: Iterable[object]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice nearest to ``word``, or nothing if none is near.

    Of ``kind:parameters`` only the kind is compared, and the parameters are kept.
    """
    from difflib import get_close_matches

    kind, colon, parameters = str(word).partition(":")
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    near = get_close_matches(kind.strip().lower(), by_lower, n=1)
    return f" (did you mean '{by_lower[near[0]]}{colon}{parameters:.40}'?)" if near else ""


def unknown(expected: str, word: object, choices: Iterable[object]) -> ValueError:
    """Return the error ``expected <expected> a, b, c; got 'x' (did you mean 'a'?)``, to be raised."""
    words = [str(choice) for choice in choices]
    among = " or ".join(words) if len(words) == 2 else ", ".join(words)
    return ValueError(f"expected {expected} {among}; got {word!r:.60}{hint(word, words)}")
