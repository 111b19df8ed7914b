"""Columns of the database that a process keeps in memory, `COLUMN_CACHE_MB` of those asked for last.

They are kept by what never means another content.
"""

from collections.abc import Callable, Hashable
from threading import Lock, RLock
from typing import Any, Protocol, TypeVar, cast

from cachetools import LRUCache
from django.conf import settings


class Sized(Protocol):
    """What tells how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Column = TypeVar("Column", bound=Sized)
_kept: LRUCache[tuple[Hashable, ...], Any] = LRUCache(
    settings.COLUMN_CACHE_MB * 2**20, getsizeof=lambda column: column.nbytes
)
_lock = Lock()
_reading = RLock()
"""One thread reads at a time, and may meanwhile read what it needs for that: others often want the same, and
memory need not hold it twice."""


def kept(key: tuple[Hashable, ...], read: Callable[[], Column]) -> Column:
    """The column of that key, read where it is not kept."""
    with _lock:
        known = _kept.get(key)
    if known is not None:
        return cast(Column, known)
    with _reading:
        with _lock:
            known = _kept.get(key)
        if known is None:
            known = read()
            with _lock:
                # Nothing may be a replica that has not heard of it yet.
                if 0 < known.nbytes <= _kept.maxsize:
                    _kept[key] = known
    return cast(Column, known)


def have_room_for(count: float) -> bool:
    """Whether so many bytes can be kept at once."""
    with _lock:
        return count <= _kept.maxsize


def forget() -> None:
    with _lock:
        _kept.clear()
