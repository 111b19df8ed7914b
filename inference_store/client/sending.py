"""Sends one request, again where that can do no harm."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import NamedTuple

import httpx

from inference_store.client.connection import current
from inference_store.client.errors import UNREACHABLE, InferenceStoreError, error_body

RETRIES = 4
FIRST_WAIT_SECONDS = 0.5
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A store that asks for more patience than this is reported, not waited for."""

# The request never left, so even a delete can be sent again.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_PASSING = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_BUSY = frozenset({429, 503})
_PASSING_STATUSES = _BUSY | {502, 504}
# A 503 that would only take the store's time again, and a 429 that comes again as long as the token is wrong.
_IN_VAIN = frozenset({"query_timeout", "too_many_wrong_tokens"})
_random = SystemRandom()


class Sent(NamedTuple):
    """The last answer, and whether an attempt before it may have been carried out."""

    response: httpx.Response
    maybe_done: bool


def send(
    request: httpx.Request, *, repeatable: bool, receive: Callable[[httpx.Response], None] | None = None
) -> Sent:
    """Send a request up to five times, with growing, jittered waits or those that the store asks for.

    Args:
        request: What to send; its content is bytes, so that it can be sent again.
        repeatable: Whether carrying it out twice is the same as once. If not, it is only sent again where
            no connection could be opened or the store said that it is busy.
        receive: What reads a success piece by piece, from its beginning at each attempt.

    Raises:
        InferenceStoreError: no answer came; status 0, code "unreachable".
    """
    client, maybe_done = current().client, False
    for attempt in range(RETRIES + 1):
        last = attempt == RETRIES
        try:
            response = client.send(request, stream=receive is not None)
            if receive is not None:
                _hand_over(response, receive)
        except httpx.RequestError as error:
            again = _PASSING if repeatable else _NOT_SENT
            if last or not isinstance(error, again):
                raise _unreachable(request, error) from error
            maybe_done |= not isinstance(error, _NOT_SENT)
            time.sleep(_jitter(attempt))
            continue
        asked = _retry_after(response)
        if last or asked > LONGEST_RETRY_AFTER_SECONDS or not _will_pass(response, repeatable):
            return Sent(response, maybe_done)
        maybe_done |= response.status_code != httpx.codes.TOO_MANY_REQUESTS
        time.sleep(asked + _jitter(attempt))
    raise AssertionError("the last attempt returns or raises")


def _hand_over(response: httpx.Response, receive: Callable[[httpx.Response], None]) -> None:
    with closing(response):
        if response.is_success:
            receive(response)
        else:
            response.read()


def _will_pass(response: httpx.Response, repeatable: bool) -> bool:
    if response.status_code not in (_PASSING_STATUSES if repeatable else _BUSY):
        return False
    body = error_body(response)
    return body is None or body.code not in _IN_VAIN


def _jitter(attempt: int) -> float:
    return _random.uniform(0, FIRST_WAIT_SECONDS * 2**attempt)


def _retry_after(response: httpx.Response) -> float:
    """Seconds from the header Retry-After, which holds a number or a date; 0 without one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _unreachable(request: httpx.Request, error: httpx.RequestError) -> InferenceStoreError:
    where = f"{request.url.scheme}://{request.url.netloc.decode()}"
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    done = "" if isinstance(error, _NOT_SENT) else "; the call may have been carried out"
    return InferenceStoreError(0, f"{where} gave no answer to {request.method} ({reason}){done}", UNREACHABLE)
