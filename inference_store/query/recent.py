"""What this process read a moment ago, so that a search need not ask for it first.

It may be another's by now: whoever uses it has to find that out from the statement it is used in.
"""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TTLCache

SECONDS = 5.0
"""Far less than an index or a segment outlives its replacement."""
MOST = 1_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Of the last keys asked for, what was read for each."""

    def __init__(self) -> None:
        self._known: TTLCache[Key, Value] = TTLCache(MOST, SECONDS)
        self._lock = Lock()

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        with self._lock:
            known = self._known.get(key)  # in one step: it may be over between two
        if known is not None:
            return known
        value = read()
        with self._lock:
            self._known[key] = value
        return value

    def forget(self, key: Key) -> None:
        with self._lock:
            self._known.pop(key, None)

    def forget_all(self) -> None:
        with self._lock:
            self._known.clear()
