"""Columns of the database that a process keeps in memory, `COLUMN_CACHE_MB` of those asked for last.

They are kept by what never means another content.
"""

from collections.abc import Callable, Hashable
from threading import Lock

from cachetools import LRUCache
from django.conf import settings

from inference_store.query.numbers import Array

_kept: LRUCache[tuple[Hashable, ...], Array] = LRUCache(
    settings.COLUMN_CACHE_MB * 2**20, getsizeof=lambda column: column.nbytes
)
_lock = Lock()


def kept(key: tuple[Hashable, ...], read: Callable[[], Array]) -> Array:
    """The column of that key, read where it is not kept."""
    with _lock:
        known = _kept.get(key)
    if known is None:
        known = read()
        with _lock:
            # Nothing may be a replica that has not heard of it yet.
            if 0 < known.nbytes <= _kept.maxsize:
                _kept[key] = known
    return known


def have_room_for(count: float) -> bool:
    """Whether so many bytes can be kept at once."""
    with _lock:
        return count <= _kept.maxsize


def forget() -> None:
    with _lock:
        _kept.clear()
