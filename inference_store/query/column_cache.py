"""Columns of the database that a process keeps in memory, `COLUMN_CACHE_MB` of those asked for last.

They are kept by what never means another content.
"""

import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from threading import Lock, RLock, Thread
from typing import Any, Protocol, TypeVar

from cachetools import LRUCache
from django.conf import settings
from django.db import connections

logger = logging.getLogger(__name__)


class Sized(Protocol):
    """What tells how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Column = TypeVar("Column", bound=Sized)
_kept: LRUCache[tuple[Hashable, ...], Any] = LRUCache(
    settings.COLUMN_CACHE_MB * 2**20, getsizeof=lambda column: column.nbytes
)
_coming: dict[tuple[Hashable, ...], Thread] = {}
_lock = Lock()
_reading, _bringing = RLock(), RLock()
"""One thread reads at a time, and one more in the background: others often want the same, and memory need not
hold it twice. It may meanwhile read what it needs for that."""


def kept(key: tuple[Hashable, ...], read: Callable[[], Column]) -> Column:
    """The column of that key, read where it is not kept."""
    known: Column | None = _known(key)
    return _read_once(key, read, _reading) if known is None else known


def _read_once(
    key: tuple[Hashable, ...], read: Callable[[], Column], reading: AbstractContextManager[Any]
) -> Column:
    with reading:
        known: Column | None = _known(key)
        if known is None:
            known = read()
            with _lock:
                # Nothing may be a replica that has not heard of it yet.
                if 0 < known.nbytes <= _kept.maxsize:
                    _kept[key] = known
    return known


def kept_or_coming(key: tuple[Hashable, ...], read: Callable[[], Column]) -> Column | None:
    """The column of that key; None where it is not kept: it is read in the background."""
    known: Column | None = _known(key)
    if known is None:
        with _lock:
            if key not in _coming:
                thread = Thread(target=_bring, args=(key, read), daemon=True)
                thread.start()
                _coming[key] = thread
    return known


def _bring(key: tuple[Hashable, ...], read: Callable[[], Sized]) -> None:
    try:
        _read_once(key, read, _bringing)
    except Exception:
        logger.exception("A column could not be read; it is read when it is asked for again.")
    finally:
        with _lock:
            del _coming[key]
        connections.close_all()


def _known(key: tuple[Hashable, ...]) -> Any:
    with _lock:
        return _kept.get(key)


def have_room_for(count: float) -> bool:
    """Whether so many bytes can be kept at once."""
    with _lock:
        return count <= _kept.maxsize


def forget() -> None:
    with _lock:
        _kept.clear()
