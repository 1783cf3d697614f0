"""Shape and type annotations are executed while the tests run.

Not in the modules whose constructors read raw input: there the annotations say what is stored,
and malformed input must meet the validation, not the type checker.
"""

from pathlib import Path

from hypothesis import settings
from jaxtyping import install_import_hook

PACKAGE = Path(__file__).parents[1] / "src/markov_icl"
CHECKED = [
    "choices",
    "environment",
    "files",
    "memory",
    "threads",
    "progress",
    "rationals",
    "features",
    "moments",
    *(f"landscape.{path.stem}" for path in (PACKAGE / "landscape").glob("*.py")),
    *(
        f"landscape.operator.{path.stem}"
        for path in (PACKAGE / "landscape/operator").glob("*.py")
        if not path.stem.endswith("_kernels")  # compiled
    ),
    "recovery",
    "models",
    "depth",
    "analysis",
    "experiments",
    "tasks.sampling",
    "tasks.laws",
    "tasks.literal",
    "tasks.device_sampling",
    "tasks.data",
]

install_import_hook([f"markov_icl.{name}" for name in CHECKED], "beartype.beartype")
settings.register_profile("markov-icl", deadline=None, derandomize=True)
settings.load_profile("markov-icl")
