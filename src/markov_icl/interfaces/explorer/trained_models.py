"""Trained models that outlive a request: another look at the same one should not train it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["TrainedModels"]

T = TypeVar("T")


class TrainedModels(Generic[T]):
    """The last results of something slow, by the values that decide them."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result kept for ``key``, or make and keep it; the one asked for longest ago goes."""
        if key not in self._found:
            self._found[key] = make()
        self._found.move_to_end(key)
        while len(self._found) > self._most:
            self._found.popitem(last=False)
        return self._found[key]
