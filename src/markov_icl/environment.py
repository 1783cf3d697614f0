"""What a measured number was measured with."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["environment"]

_PACKAGES = ("markov-icl", "numpy", "scipy", "numba", "torch", "scikit-learn", "python-flint")


def environment() -> dict[str, Any]:
    """Return date, machine, cores, Python and package versions; JSON-ready, no host name and no path."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found | {"openblas_coretype": os.environ.get("OPENBLAS_CORETYPE")}
