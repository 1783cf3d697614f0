"""Words to choose from, and the refusal of a word that is none of them, with the nearest one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["METHODS", "hint", "unknown"]

METHODS = ("auto", "dense", "operator", "rational", "symbolic")
"""Ways to the minimizer."""


def hint(word: object, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice nearest to ``word``, or nothing if none is near.

    Of ``kind:parameters`` only the kind is compared, and the parameters are kept.
    """
    from difflib import get_close_matches

    kind, colon, parameters = str(word).partition(":")
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    near = get_close_matches(kind.strip().lower(), by_lower, n=1)
    return f" (did you mean '{by_lower[near[0]]}{colon}{parameters:.40}'?)" if near else ""


def unknown(expected: str, word: object, choices: Iterable[str]) -> ValueError:
    """Return the error ``expected <expected> a, b, c; got 'x' (did you mean 'a'?)``, to be raised."""
    words = [str(choice) for choice in choices]
    among = " or ".join(words) if len(words) == 2 else ", ".join(words)
    return ValueError(f"expected {expected} {among}; got {word!r:.60}{hint(word, words)}")
