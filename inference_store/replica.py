"""Reads that a streaming replica serves: of REPLICA_URL, where it has all that the caller may expect.

Whoever wrote something, or was shown how far a job is, leaves a position in the primary's write-ahead log
(`note`). A read asks the primary for the reader's last position, and goes to the replica only where that has
been replayed, and where it lags no longer than the bound. Else, and where the replica fails, the primary
answers. `docs/replica.md` says what is promised, `docs/decisions/` why it is done so.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from threading import Lock, Timer
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from inference_store import calling, counters, statements
from inference_store.contract.errors import Refusal

logger = logging.getLogger(__name__)

ALIAS = "replica"
HEADER = "X-Read-From"
"""Of answers that might have come from the replica: which of the two it was."""
PRIMARY = "primary"
AWAY_SECONDS = 5.0
"""So long after it could not be asked is a replica left alone."""
ASKED_SECONDS = 2.0
"""Of how far it is; a replica that hangs, its connections open, would say nothing for ever."""
SPARE_SECONDS = 2.0
"""That a read may take beyond the time limit of a statement."""
UNLIMITED_MS = 3_600_000
"""The time limit of a statement where there is none."""
KEPT_SECONDS = 600
"""Longer than any lag that a replica may have: older positions are forgotten."""
EVERYBODY = 0

T = TypeVar("T")
P = ParamSpec("P")

# As numbers of bytes. What was flushed is all that was acknowledged. Positions that the log has not reached
# came from another server, with a backup.
NOTED = """
    select (max(lsn) - '0/0')::bigint from inference_store_position
     where user_id = %s and lsn <= pg_current_wal_insert_lsn()
"""
POSITIONS = f"""
    select (select system_identifier from pg_control_system()), (pg_current_wal_flush_lsn() - '0/0')::bigint,
           (pg_current_wal_insert_lsn() - '0/0')::bigint, clock_timestamp(), ({NOTED}), ({NOTED})
"""  # noqa: S608 # nosec B608
REPLAYED = """
    select (select system_identifier from pg_control_system()), pg_is_in_recovery(),
           (pg_last_wal_replay_lsn() - '0/0')::bigint, pg_last_xact_replay_timestamp()
"""
NOTE = """
    insert into inference_store_position (user_id, lsn, noted_at)
    values (%s, pg_current_wal_insert_lsn(), clock_timestamp())
"""
FORGET = """
    delete from inference_store_position
     where user_id <> %s and noted_at < clock_timestamp() - make_interval(secs => %s)
"""


class UnfitError(Exception):
    """Why the replica must not be asked."""


class AwayError(Exception):
    """The replica can't be asked."""


@dataclass(frozen=True, slots=True)
class Positions:
    """What the primary says: which cluster it is, how far, what time it is, what this reader needs."""

    cluster: int
    flushed: int
    inserted: int
    now: datetime
    needed: int | None
    """None where it is not known whether positions were lost, as after a crash."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replica says: of which cluster it is, how far, and when its last transaction was committed."""

    cluster: int
    position: int
    committed_at: datetime | None

    def lag(self, positions: Positions) -> float | None:
        """Seconds that it may be behind, by the primary's clock; None where nobody can say."""
        if self.position >= positions.flushed:
            return 0.0
        if self.committed_at is None or self.committed_at > positions.now:
            return None
        return (positions.now - self.committed_at).total_seconds()


class _Away:
    """Until when this process leaves the replica alone; then one of its threads tries."""

    until: float | None = None

    @classmethod
    def is_over(cls) -> bool:
        if cls.until is None:
            return True
        if time.monotonic() < cls.until:
            return False
        cls.until = time.monotonic() + AWAY_SECONDS
        return True


_served: ContextVar[str | None] = ContextVar("served", default=None)
"""Where the read of this request was answered; None where it was none, and it leaves a position."""
_primary: ContextVar[Any] = ContextVar("primary", default=None)
"""The primary's connection, while the replica's stands in its place."""


def is_configured() -> bool:
    return ALIAS in settings.DATABASES


# --- Where a read is served ---------------------------------------------------------------------------------
def read(ask: Callable[[], T], *, fresh: bool = False) -> T:
    """What `ask` gives. It only reads; it may be asked twice, first of the replica and then of the primary.

    `fresh`: of the primary, without looking at the replica.
    """
    if not is_configured() or _primary.get() is not None:
        return ask()
    _served.set(PRIMARY)
    if fresh or connections[DEFAULT_DB_ALIAS].in_atomic_block or not _may_serve():
        return ask()
    try:
        limit = (settings.STATEMENT_TIMEOUT_MS or UNLIMITED_MS) / 1_000
        with _hung_up_after(limit + SPARE_SECONDS), _in_its_place():
            answer = ask()
    except (Http404, Refusal) as refusal:
        # Somebody else may have just made it, and told this caller.
        if isinstance(refusal, Refusal) and refusal.status != HTTPStatus.NOT_FOUND:
            raise
    except (DatabaseError, InterfaceError) as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise  # the primary would take as long
        logger.warning("The replica did not answer, the primary is asked: %s", error)
        connections[ALIAS].close()
    else:
        _served.set(ALIAS)
        return answer
    return ask()


def reads(view: Callable[..., T]) -> Callable[..., T]:
    """For a view that only reads: the replica may serve it. `Cache-Control: no-cache` asks the primary."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> T:
        return read(lambda: view(request, *args, **kwargs), fresh=wants_fresh(request))

    return wrapped


def leaves_no_position(view: Callable[P, T]) -> Callable[P, T]:
    """For a view that the primary serves, and that shows nothing a later read must have caught up with."""

    @wraps(view)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        _served.set(PRIMARY)
        return view(*args, **kwargs)

    return wrapped


def wants_fresh(request: HttpRequest) -> bool:
    return "no-cache" in request.META.get("HTTP_CACHE_CONTROL", "")


def of_primary(ask: Callable[P, T]) -> Callable[P, T]:
    """For what decides who may do what: asked of the primary, also in the midst of a read of the replica."""

    @wraps(ask)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        primary = _primary.get()
        if primary is None:
            return ask(*args, **kwargs)
        connections[DEFAULT_DB_ALIAS] = primary
        try:
            return ask(*args, **kwargs)
        finally:
            connections[DEFAULT_DB_ALIAS] = connections[ALIAS]

    return wrapped


@contextmanager
def _in_its_place() -> Iterator[None]:
    """Whatever asks the database in this thread asks the replica."""
    primary = connections[DEFAULT_DB_ALIAS]
    held = _primary.set(primary)
    connections[DEFAULT_DB_ALIAS] = connections[ALIAS]
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = primary
        _primary.reset(held)


@contextmanager
def _hung_up_after(seconds: float) -> Iterator[None]:
    """End the replica's connection where it has not answered by then: who waits for it gets an error."""
    held, lock, is_over = connections[ALIAS], Lock(), False

    def hang_up() -> None:
        with lock:
            if is_over or held.connection is None:
                return
            # A number of its own, so that it is the right one whoever closes the other.
            with socket.socket(fileno=os.dup(held.connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            is_over = True
        timer.cancel()


# --- Whether it may -----------------------------------------------------------------------------------------
def _may_serve() -> bool:
    if not _Away.is_over():
        return False
    who = calling.current()
    try:
        replayed, positions = _compared(who.user_id if who else None)
    except (UnfitError, AwayError) as error:
        _Away.until = time.monotonic() + AWAY_SECONDS
        logger.warning("The replica is left alone for %.0f s: %s", AWAY_SECONDS, error)
        return False
    _Away.until = None
    if positions.needed is None:
        note(EVERYBODY)
        return False
    lag = replayed.lag(positions)
    return replayed.position >= positions.needed and lag is not None and lag <= settings.REPLICA_LAG_SECONDS


def _compared(user_id: int | None) -> tuple[Replayed, Positions]:
    """What both say, the replica first: so it can't be ahead. UnfitError where it is no replica of this."""
    replayed, positions = _replayed(), _positions(user_id)
    if replayed.cluster != positions.cluster or replayed.position > positions.inserted:
        connections[ALIAS].close()
        raise UnfitError("REPLICA_URL names a server that has not its data from this primary")
    return replayed, positions


def _positions(user_id: int | None) -> Positions:
    cluster, flushed, inserted, now, noted, of_all = statements.rows(POSITIONS, [user_id, EVERYBODY])[0]
    return Positions(cluster, flushed, inserted, now, None if of_all is None else max(noted or 0, of_all))


def _replayed() -> Replayed:
    """How far the replica is, on the connection that a read would use then. Once more, where it was ended."""
    connection = connections[ALIAS]
    for is_last in (connection.connection is None, True):
        try:
            with _hung_up_after(ASKED_SECONDS), connection.cursor() as cursor:
                cursor.execute(REPLAYED)
                cluster, in_recovery, position, committed_at = cursor.fetchone()
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            if is_last:
                raise AwayError(str(error)) from error
            continue
        break
    if not in_recovery:
        connection.close()
        raise UnfitError("REPLICA_URL names a server that is no replica, or was promoted")
    return Replayed(cluster, position or 0, committed_at)


# --- What a caller must see ---------------------------------------------------------------------------------
def note(user_id: int) -> None:
    """What is committed by now, this user must see from now on."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(NOTE, [user_id])


def forget_positions() -> int:
    """Remove positions that every replica in use has long replayed; how many."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(FORGET, [EVERYBODY, KEPT_SECONDS])
        return int(cursor.rowcount)


def middleware(answer: calling.Answer) -> calling.Answer:
    """Around what knows its caller: whatever was no read leaves a position before it is answered."""
    if not is_configured():
        raise MiddlewareNotUsed

    def answered(request: HttpRequest) -> HttpResponseBase:
        before = _served.set(None)
        try:
            response = answer(request)
            served, who = _served.get(), calling.current()
        finally:
            _served.reset(before)
        if served is not None:
            response.headers[HEADER] = served
            counters.read_from(served)
        elif who and who.user_id is not None and response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            # Where this fails the request does: a write that was answered is never read stale.
            note(who.user_id)
        return response

    return answered


# --- For who watches ----------------------------------------------------------------------------------------
def current_lag(patience: float = 1.0) -> float | None:
    """Seconds that the replica is behind; 0 where it gets within the patience to where the primary was."""
    try:
        found, positions = _compared(None)
        end = time.monotonic() + patience
        while found.position < positions.flushed and time.monotonic() < end:
            time.sleep(0.02)
            found = _replayed()
        return found.lag(positions)
    finally:
        connections[ALIAS].close()
