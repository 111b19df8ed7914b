"""Whether the store can serve, part by part."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from threading import Lock

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from inference_store import blobs, replica
from inference_store.celery import app

NEEDED = ("database", "migrations")
"""Without these nothing is answered; of the others, an operator should know."""
PATIENCE_SECONDS = 2.0
KEPT_SECONDS = 1.0
HEARTBEAT = "inference_store.heartbeat"
LATE_SECONDS = 60.0
OK = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What each part says: "ok", or what is wrong."""

    parts: dict[str, str]

    @property
    def is_ready(self) -> bool:
        return all(self.parts[part] == OK for part in NEEDED)


def note_heartbeat() -> None:
    """By a worker, at the scheduler's word: both are alive."""
    cache.set(HEARTBEAT, time.time(), timeout=None)


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return OK


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    known = set(executor.loader.disk_migrations)
    newer = {each for each in executor.loader.applied_migrations if each[0] == "inference_store"} - known
    if newer:
        return "the database is of a newer release: upgrade this process"
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    return f"{missing} not applied: run manage.py migrate" if missing else OK


def _cache() -> str:
    cache.get(HEARTBEAT)
    return OK


def _broker() -> str:
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=0, timeout=int(PATIENCE_SECONDS))
    return OK


def _blobs() -> str:
    blobs.probe()
    return OK


def _jobs() -> str:
    seen = cache.get(HEARTBEAT)
    if seen is None:
        return "no worker has been seen: start a worker and a scheduler"
    age = time.time() - seen
    return OK if age < LATE_SECONDS else f"no worker has been seen for {age:.0f} s"


def _replica() -> str:
    try:
        lag = replica.current_lag()
    except replica.UnfitError as error:
        return f"{error}: the primary serves all reads"
    if lag is None or lag > settings.REPLICA_LAG_SECONDS:
        behind = "for a time that nobody knows" if lag is None else f"by {lag:.0f} s"
        return f"it lags {behind}: the primary serves all reads"
    return OK


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "cache": _cache,
    "broker": _broker,
    "blobs": _blobs,
    "jobs": _jobs,
} | ({"replica": _replica} if replica.is_configured() else {})


def _told(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  (whatever it is, the part is not there)
        return f"failed: {type(error).__name__}"
    finally:
        connection.close()


class Kept:
    """The last answer of this process, so that asking often costs nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: Readiness | None = None
        self._until = 0.0

    def forget(self) -> None:
        self._told = None

    def look(self) -> Readiness:
        """What the parts say; asked once a second at most, and all within two."""
        with self._lock:
            if self._told is None or time.monotonic() > self._until:
                self._told = Readiness(_ask())
                self._until = time.monotonic() + KEPT_SECONDS
            return self._told


def _ask() -> dict[str, str]:
    pool = ThreadPoolExecutor(len(CHECKS), "readiness")
    asked = {part: pool.submit(_told, check) for part, check in CHECKS.items()}
    end = time.monotonic() + PATIENCE_SECONDS
    parts = {}
    for part, future in asked.items():
        try:
            parts[part] = future.result(max(0.0, end - time.monotonic()))
        except NoAnswer:
            parts[part] = f"no answer within {PATIENCE_SECONDS:.0f} s"
    pool.shutdown(wait=False, cancel_futures=True)
    return parts


kept = Kept()
