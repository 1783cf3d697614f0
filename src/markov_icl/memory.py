"""How much memory work may take, and the refusal of work that would take more."""

from __future__ import annotations

__all__ = ["DEFAULT_MEMORY_GB", "require"]

DEFAULT_MEMORY_GB = 8.0
"""What a computation may take unless its caller says otherwise."""


def require(needed: float, allowed: float, what: str, hint: str = "use a shorter length, or allow more memory") -> None:
    """Refuse work that would not fit in memory, before it begins.

    Args:
        needed: gigabytes.
        allowed: gigabytes.
        what: the work with its size, such as ``a dense system of 660 unknowns``.
        hint: what the caller can change.

    Raises:
        ValueError: unless ``needed <= allowed``.

    >>> require(1.0, 8.0, "a dense system of 660 unknowns")
    """
    if not needed <= allowed:
        raise ValueError(f"expected work within {allowed:g} GB; got {what}, which needs about {needed:.3g} GB ({hint})")
