"""Whatever goes wrong, told in the contract's one shape, with what to do about it."""

import errno
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import psycopg
from django.core import signals
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import DatabaseError, DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views import defaults
from pydantic import ValidationError
from rest_framework import exceptions
from rest_framework.response import Response

from inference_store import blobs
from inference_store.api import ROUTE
from inference_store.contract.errors import ErrorBody, Refusal, message_of
from inference_store.services.access import REALM

log = logging.getLogger(__name__)

MOST_FIELDS = 50
MOST_MISTAKES = 5_000
"""Beyond these they are only counted: telling them apart would take more memory than the body."""
LONGEST_FIELD = 200
RETRY_AFTER_SECONDS = 2
NOTHING_HERE = "There is nothing at this address: see /api/inference-store/v1/docs for what there is."
TRY_AGAIN = "The database can't be reached just now: try again in a moment."
BLOBS_AWAY = "The blob store can't be reached just now: try again in a moment."
OUR_FAULT = Refusal(500, "internal", "That failed through no fault of yours: it has been logged.")


# --- What the contract refuses ------------------------------------------------------------------------------
def field_name(location: Iterable[Any]) -> str:
    return ".".join(str(part) for part in location)[:LONGEST_FIELD]


def refused_fields(error: ValidationError, prefix: tuple[Any, ...] = ()) -> dict[str, str]:
    """What is wrong, by the path of the field; what is wrong with the whole body stands under "body"."""
    fields: dict[str, str] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False)[:MOST_FIELDS]:
        fields.setdefault(field_name((*prefix, *each["loc"])) or "body", message_of(each))
    return fields


def refusal_of(error: ValidationError, body: bytes | None = None) -> Refusal:
    """A 400 that names every field that is wrong, or the place where the JSON breaks."""
    if (count := error.error_count()) > MOST_MISTAKES:
        message = f"has {count:,} mistakes; see the document at openapi.json for what is read here"
        return Refusal.invalid("body", message)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        if body is not None and "hex escape" in first["msg"] and (name := _surrogate_field(body)):
            return Refusal.invalid(name, "holds a lone surrogate, which is no character: remove it")
        return Refusal(
            400, "malformed", f"The body must be valid JSON. {first['msg']}.", {"body": first["msg"]}
        )
    fields = refused_fields(error)
    return Refusal(400, "invalid", sentence(fields), fields)


def sentence(fields: Mapping[str, str]) -> str:
    name, message = next(iter(fields.items()))
    more = f" (and {len(fields) - 1} more: see fields)" if len(fields) > 1 else ""
    return f"{name}: {message}{more}"


def _surrogate_field(body: bytes) -> str | None:
    """The path of the first string with a lone surrogate, which Python's own parser lets through."""
    try:
        waiting: list[tuple[tuple[Any, ...], Any]] = [((), json.loads(body))]
    except (ValueError, RecursionError):
        return None
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, key), item) for key, item in value.items()]
            waiting += [((*path, ascii(key)), key) for key in value]
        elif isinstance(value, list):
            waiting += [((*path, position), item) for position, item in enumerate(value)]
        elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return field_name(path).encode(errors="backslashreplace").decode()
    return None


# --- Everything else ----------------------------------------------------------------------------------------
def of_database(error: Exception) -> Refusal | None:
    """The refusal that a fault of the database becomes; None where the fault is ours."""
    cause = error.__cause__ or error
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return Refusal(
            503,
            "query_timeout",
            "The query took too long and was stopped: narrow the filter, for example by a time window.",
        )
    if isinstance(cause, psycopg.errors.DiskFull):
        return Refusal(507, "storage_full", "The database's disk is full: nothing was stored.")
    if isinstance(cause, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return Refusal(503, "busy", "Others wrote the same records at the same time: try again.")
    if isinstance(error, OperationalError | InterfaceError):
        return Refusal(503, "database_unavailable", TRY_AGAIN)
    if isinstance(error, DataError):
        return Refusal(400, "invalid", "The request holds a value that the database can't hold or compare.")
    return None


def _of_framework(error: exceptions.APIException) -> Refusal:
    status = error.status_code
    detail = str(error.detail)
    if isinstance(error, exceptions.NotAuthenticated):
        return Refusal(status, "unauthenticated", "Send a token: Authorization: Bearer <token>.")
    if isinstance(error, exceptions.UnsupportedMediaType):
        return Refusal(status, "unsupported_media_type", detail)
    if isinstance(error, exceptions.MethodNotAllowed):
        return Refusal(status, "method_not_allowed", f"{detail} See the Allow header for those that are.")
    code = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}.get(status, "refused")
    return Refusal(status, code, detail)


def of_exception(error: Exception) -> Refusal | None:
    """How an exception is answered; None where it is our fault."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ValidationError):
        # Only bodies and parameters may be refused; what we made ourselves and can't read is our fault.
        return None
    if isinstance(error, exceptions.APIException):
        return _of_framework(error)
    if isinstance(error, Http404):
        return Refusal.not_found(NOTHING_HERE)
    if isinstance(error, PermissionDenied):
        return Refusal(403, "forbidden", "You may not do that: ask an admin of the project.")
    if isinstance(error, DatabaseError | InterfaceError):
        return of_database(error)
    if isinstance(error, UnreadablePostError | BadRequest | SuspiciousOperation):
        return Refusal(400, "invalid", "The request can't be read: check its address, headers and body.")
    if isinstance(error, blobs.UnavailableError) or (
        isinstance(error, OSError) and error.errno in blobs.REFUSED_BY_DISK
    ):
        return Refusal(503, "blob_store_unavailable", BLOBS_AWAY)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(507, "storage_full", "The store's disk is full: nothing was stored.")
    return None


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """The framework's hook: an answer for every exception, a logged one where the fault is ours."""
    refusal = of_exception(error)
    if refusal is None:
        request = context["request"]
        signals.got_request_exception.send(sender=None, request=request)
        told = {"request": request._request}
        log.error("%s %s failed", request.method, request.path, exc_info=error, extra=told)
        refusal = OUR_FAULT
    elif refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s: %s", refusal.code, error)
    headers = dict(refusal.headers)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", f'{REALM}, error="invalid_token"')
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Response(body_of(refusal), status=refusal.status, headers=headers)


def body_of(refusal: Refusal) -> ErrorBody:
    return ErrorBody(error=refusal.message, code=refusal.code, fields=refusal.fields)


# --- Outside of the API's views -----------------------------------------------------------------------------
def _answer(request: HttpRequest, refusal: Refusal) -> HttpResponse | None:
    """The refusal where the address is the API's; None on a page."""
    if not request.path_info.startswith(f"/{ROUTE}"):
        return None
    response = HttpResponse(
        body_of(refusal).model_dump_json(), status=refusal.status, content_type="application/json"
    )
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    message = "The request can't be read: check its address and its Host header."
    return _answer(request, Refusal(400, "invalid", message)) or defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, Refusal(403, "forbidden", "You may not do that.")) or defaults.permission_denied(
        request, exception
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, Refusal.not_found(NOTHING_HERE)) or defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    refusal = of_exception(error) if isinstance(error, Exception) else None
    refusal = refusal or Refusal(
        500, "internal", "That failed through no fault of yours: it has been logged."
    )
    if answer := _answer(request, refusal):
        return answer
    return defaults.server_error(request)
