"""What a measured number was measured with, and what this machine offers."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

__all__ = [
    "browser",
    "data_folder",
    "environment",
    "existing_parent",
    "gpu",
    "is_writable",
    "memory_bytes",
    "package_version",
    "requirements",
    "thread_counts",
]

_PACKAGES = ("markov-icl", "numpy", "scipy", "numba", "torch", "scikit-learn", "python-flint")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return date, machine, cores, Python and package versions; JSON-ready, no host name and no path.

    Args:
        device: what was computed on, as torch names it; on ``cuda`` the GPU is named as well.
    """
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    found |= {name: package_version(name) for name in _PACKAGES}
    found["openblas_coretype"] = os.environ.get("OPENBLAS_CORETYPE")
    return found | ({"gpu": gpu()} if device.startswith("cuda") else {})


def package_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def requirements() -> dict[str, dict[str, str]]:
    """Return what this package declares: for every extra, and ``""`` for none, each package's least version."""
    found: dict[str, dict[str, str]] = {}
    for extra, name, least in _declared():
        found.setdefault(extra, {})[name] = least
    return found


def _declared() -> Iterator[tuple[str, str, str]]:
    for line in requires("markov-icl") or ():
        named = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra *== *['\"]([^'\"]+)", line)
        least = re.search(r">= *([0-9][0-9.]*)", line)
        if named:
            yield extra[1] if extra else "", named[0].lower(), least[1] if least else ""


def memory_bytes() -> tuple[int, int] | None:
    """Return the machine's memory and what of it is free to use, in bytes; None where nobody says."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        kilobytes = dict(re.findall(r"^(MemTotal|MemAvailable): *([0-9]+) kB$", text, re.MULTILINE))
        return 1024 * int(kilobytes["MemTotal"]), 1024 * int(kilobytes["MemAvailable"])
    except (OSError, KeyError):
        try:
            page = os.sysconf("SC_PAGE_SIZE")
            return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return None


def thread_counts() -> dict[str, int]:
    """Return how many threads each library would use now: BLAS of NumPy and SciPy, numba, torch."""
    import numba
    import numpy as np
    import scipy.linalg
    import torch
    from threadpoolctl import threadpool_info

    assert np.__version__
    assert scipy.linalg.lapack is not None  # loads SciPy's own BLAS
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    counts = {"BLAS": max(blas)} if blas else {}
    return counts | {"numba": int(getattr(numba.config, "NUMBA_NUM_THREADS", 0)), "torch": torch.get_num_threads()}


def gpu() -> str | None:
    """Return the name and memory of the CUDA device that torch sees; None if it sees none."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    more = torch.cuda.device_count() - 1
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB" + (f" (and {more} more)" if more else "")


def browser() -> str | None:
    """Return the Chromium or Chrome on the search path; None if there is none."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def data_folder() -> Path:
    """Return ``$XDG_DATA_HOME/markov-icl``, by default below ``~/.local/share``; it may not be there yet."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "markov-icl"


def existing_parent(folder: Path) -> Path:
    """Return ``folder``, or the nearest folder above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def is_writable(folder: Path) -> bool:
    """Return whether files can be written in ``folder``, made first if it is missing; nothing is made here."""
    parent = existing_parent(folder)
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
