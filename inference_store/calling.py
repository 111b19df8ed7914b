"""Who is being served: one request, command or job, as a context variable that anything below may read."""

import getpass
import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, UnreadablePostError

API, PAGE, ADMIN, COMMAND, JOB = "api", "page", "admin", "command", "job"
"""The doors."""
PROBES = {"/healthz", "/readyz", "/metrics"}
"""Asked by machines, also while the database is away."""
HEADER: Final = "X-Request-ID"
ENVIRON: Final = "inference_store.calling"
"""Where a request's WSGI environment keeps who was served, for the line about it in the access log."""
TASK_HEADER: Final = "inference_store_request_id"
"""Under which a task's message carries the id of the request that sent it."""
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

Answer = Callable[[HttpRequest], HttpResponseBase]


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


# --- Requests -----------------------------------------------------------------------------------------------
def request_id(sent: str | None) -> str:
    """The id that was sent if it is well-formed, else a new one: it goes into headers, logs and rows."""
    return sent if sent and WELL_FORMED.fullmatch(sent) else new_id()


def door(path: str) -> str:
    if path.startswith("/api/"):
        return API
    return ADMIN if path.startswith("/admin/") else PAGE


def client_address(remote: str, forwarded: str, proxies: int) -> str:
    """The client's address: `remote` is who is connected, or the one that the outermost of our proxies saw.

    Each proxy appends whom it saw to X-Forwarded-For; what stands left of ours, anybody may have written.
    """
    seen = [each.strip() for each in forwarded.split(",")] if proxies and forwarded else []
    if len(seen) >= proxies > 0:
        with suppress(ValueError):
            return str(ipaddress.ip_address(seen[-proxies]))
    return remote


def client_of(request: HttpRequest) -> str | None:
    """The client's address, for who counts failed logins; None where there is none."""
    calling = _current.get()
    return (calling.address if calling else request.META.get("REMOTE_ADDR")) or None


def middleware(answer: Answer) -> Answer:
    """Outermost: every answer names its request."""

    def answered(request: HttpRequest) -> HttpResponseBase:
        meta = request.META
        calling = Calling(
            request_id(meta.get("HTTP_X_REQUEST_ID")),
            door(request.path_info),
            address=client_address(
                meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES
            ),
        )
        with serving(calling):
            response = answer(request)
            meta[ENVIRON] = current()
        response.headers[HEADER] = calling.request_id
        return response

    return answered


def identify_session(answer: Answer) -> Answer:
    """After AuthenticationMiddleware: whose session it is, on pages. The API has no sessions."""

    def answered(request: HttpRequest) -> HttpResponseBase:
        # Without the cookie nobody is logged in, and nothing need be read.
        reads_session = door(request.path_info) != API and request.path_info not in PROBES
        if reads_session and settings.SESSION_COOKIE_NAME in request.COOKIES:
            # A form may come slowly: who sends it is looked up when it is here. Broken ones go on.
            with suppress(UnreadablePostError):
                request.POST.keys()
            identify(request.user)
        return answer(request)

    return answered


# --- Commands -----------------------------------------------------------------------------------------------
def of_command() -> Calling:
    """A management command, by the system's user who runs it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = "unknown"
    return Calling(new_id(), COMMAND, username=name)
