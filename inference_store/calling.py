"""Who is being served: one request, command or job, as a context variable that anything below may read."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

API, PAGE, ADMIN, COMMAND, JOB = "api", "page", "admin", "command", "job"
"""The doors."""


@dataclass(frozen=True, slots=True)
class Calling:
    """What is being served, and for whom."""

    request_id: str
    door: str
    user_id: int | None = None
    username: str = ""
    token: str = ""
    """The token's hint, never its secret."""
    address: str = ""
    """The client's IP address; empty where there is none, as behind a unix socket."""


_current: ContextVar[Calling | None] = ContextVar("calling", default=None)


def current() -> Calling | None:
    """What is being served just now; None outside of requests, commands and jobs."""
    return _current.get()


def current_id() -> str:
    """The id of the request that is being served; empty where there is none."""
    calling = _current.get()
    return calling.request_id if calling else ""


def identify(user: Any, token: str = "") -> None:
    """Note who calls, once authentication has told; nothing where nobody is logged in or served."""
    calling = _current.get()
    if calling is not None and user.pk is not None:
        _current.set(replace(calling, user_id=user.pk, username=user.get_username(), token=token))  # nosec B107


@contextmanager
def serving(calling: Calling) -> Iterator[Calling]:
    """While the block runs, that is what is being served."""
    before = _current.set(calling)
    try:
        yield calling
    finally:
        _current.reset(before)


def set_current(calling: Calling | None) -> None:
    """For those who are told of the beginning and of the end, but have no block: Celery's signals."""
    _current.set(calling)


def new_id() -> str:
    return uuid4().hex
