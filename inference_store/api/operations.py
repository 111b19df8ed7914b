"""What an operation of the API is: who may call it, what it takes, what it gives, and its documentation.

Each is declared once, on its handler; the access matrix, the parsing and the OpenAPI document follow.
"""

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeAlias

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel, ValidationError
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.views import APIView

from inference_store import replica
from inference_store.api import bodies, errors
from inference_store.api.authentication import authenticate_anew, caller_of
from inference_store.api.renderers import OneFormat, spelled
from inference_store.contract.base import RequestModel
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import ErrorBody, Refusal
from inference_store.contract.filters import LARGEST_LIMIT
from inference_store.models import RegisteredModel, Role

Body: TypeAlias = BaseModel | dict[str, Any]
Answer: TypeAlias = Body | tuple[int, Body] | HttpResponse
Handler: TypeAlias = Callable[..., Any]
Reader: TypeAlias = Callable[[Request, RegisteredModel], Any]

REASONS = {
    400: "A field or parameter is unknown, missing or wrong; `fields` names each.",
    401: "The token is missing, unknown, revoked or expired; `code` says which.",
    403: "The token lacks the scope, or your role in the project is too low; `code` says which.",
    404: "It does not exist, or you may not see it.",
    409: "It exists with other content, or has been used already.",
    411: "The body came without its length.",
    413: "The body is too large.",
    415: "The body's content type is not one that is read here.",
    416: "No byte of what is there lies in the range.",
    429: "Too many wrong tokens came from your address; `Retry-After` says how long to wait.",
    503: "The database is away, or the query took too long; try again, or narrow the filter.",
    507: "The disk is full.",
}


LIMIT = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT}
"""The schema of how many a list may give."""
LONG = "The address is longer than the web server reads: ask by POST, with a body."


TRUSTED_SECONDS = 1.0
"""Of a body that takes longer to come, it is asked again afterwards who sent it, and what they may."""


class Nothing(RequestModel):
    """The body of an operation that takes none."""


@dataclass(frozen=True)
class Operation:
    """What the handler was declared with."""

    operation_id: str
    scopes: tuple[TokenScope, ...]
    role: Role | None
    takes: type[BaseModel] | None
    query: frozenset[str]
    reads: bool = False
    """Whether the replica may serve it."""
    limit: str = "API_BODY_MAXIMUM_BYTES"
    reader: Reader | None = None

    def given(self, http: Request, model_id: str) -> dict[str, Any]:
        """The model and the body, for a caller who still may when all of the body is there."""
        found = self._reached(http, model_id)
        began = time.monotonic()
        found |= self._body(http, found.get("model"))
        if time.monotonic() - began > TRUSTED_SECONDS:
            authenticate_anew(http)
            found |= self._reached(http, model_id)
        return found

    def _reached(self, http: Request, model_id: str) -> dict[str, Any]:
        caller = caller_of(http)
        caller.require(*self.scopes)
        return {} if self.role is None else {"model": caller.model_for(model_id, self.role)}

    def _body(self, http: Request, model: RegisteredModel | None) -> dict[str, Any]:
        if self.takes is not None:
            return {"body": parse(http, self.takes, getattr(settings, self.limit))}
        if self.reader is not None and model is not None:
            return {"body": self.reader(http, model)}
        parse(http, Nothing, settings.API_BODY_MAXIMUM_BYTES, required=False)
        return {}


class StoreView(APIView):
    """A route. Its handlers are operations."""

    http_method_names = ["get", "head", "post", "put", "delete"]
    content_negotiation_class = OneFormat
    format_kwarg = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As the framework's, without what this API has none of: formats, versions and throttles.

        Handlers answer with bytes, and only refusals are rendered and say which methods are allowed.
        """
        self.args, self.kwargs = args, kwargs
        asked = Request(request, authenticators=self.get_authenticators(), parser_context={"kwargs": kwargs})
        self.request = asked
        try:
            self.perform_authentication(asked)
            self.check_permissions(asked)
            method = str(request.method).lower()
            known = method in self.http_method_names
            handler = getattr(self, method, None) if known else None
            answered: HttpResponseBase = (handler or self.http_method_not_allowed)(asked, *args, **kwargs)
            return answered
        except Exception as error:  # noqa: BLE001  (all are told in one shape)
            self.headers = self.default_response_headers
            return self.finalize_response(asked, self.handle_exception(error), *args, **kwargs)


def operation(
    operation_id: str,
    *,
    scope: TokenScope | tuple[TokenScope, ...],
    gives: Any,
    summary: str,
    role: Role | None = None,
    takes: type[BaseModel] | None = None,
    created: bool = False,
    query: Iterable[OpenApiParameter] = (),
    any_query: bool = False,
    limit: str = "API_BODY_MAXIMUM_BYTES",
    reader: Reader | None = None,
    reads: bool = False,
    refuses: Iterable[int] = (),
    tag: str = "inferences",
    request: Any = None,
    media_type: str = "application/json",
) -> Callable[[Handler], Handler]:
    """Declare a handler: it gets `model` (where the route names one), `body` (of type `takes`) and the rest.

    The caller's token must have `scope`, all where there are more. With `role`, the route's `model_id`
    becomes the `model` that the caller must have that role for. With `reader`, that makes the `body`. With
    `reads`, it only reads, and the replica may serve it. With `any_query`, it checks the query parameters
    itself.
    """
    parameters = list(query)
    known = frozenset(parameter.name for parameter in parameters)
    scopes = scope if isinstance(scope, tuple) else (scope,)
    declared = Operation(operation_id, scopes, role, takes, known, reads, limit, reader)

    def declare(handler: Handler) -> Handler:
        @wraps(handler)
        def run(view: StoreView, http: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            caller_of(http).require(*scopes)
            if not any_query:
                refuse_unknown_parameters(http, known)
            model_id = kwargs.pop("model_id") if role is not None else ""
            kwargs |= declared.given(http, model_id)
            if reads:
                fresh = replica.wants_fresh(http._request)
                answer = replica.read(lambda: handler(view, http, *args, **kwargs), fresh=fresh)
            else:
                answer = handler(view, http, *args, **kwargs)
            if isinstance(answer, HttpResponseBase):
                return answer
            status, body = answer if isinstance(answer, tuple) else (HTTPStatus.OK, answer)
            return HttpResponse(spelled(body), content_type="application/json", status=status)

        run.operation = declared  # type: ignore[attr-defined]
        answers = [HTTPStatus.OK, *([HTTPStatus.CREATED] if created else [])]
        statuses = {*refuses, *_refusals(role, takes is not None or reader is not None)}
        return extend_schema(
            operation_id=operation_id,
            summary=summary,
            description=inspect.getdoc(handler) or "",
            tags=[tag],
            parameters=parameters,
            request=request or takes,
            responses={(status, media_type): _described(gives, status) for status in answers}
            | ({(414, "text/html"): OpenApiResponse(OpenApiTypes.STR, LONG)} if parameters else {})
            | {status: OpenApiResponse(ErrorBody, REASONS[status]) for status in sorted(statuses)},
        )(run)

    return declare


def _refusals(role: Role | None, has_body: bool) -> set[int]:
    """The statuses that an operation can refuse with whatever it does."""
    statuses = {400, 401, 403, 429, 503}
    if role is not None:
        statuses.add(404)
    if has_body:
        statuses |= {411, 413, 415}
    return statuses


def _described(gives: Any, status: HTTPStatus) -> Any:
    text = "It is new." if status == HTTPStatus.CREATED else "The answer."
    return OpenApiResponse(gives, text)


def parameter(
    name: str, text: str, type_: Any = OpenApiTypes.STR, required: bool = False
) -> OpenApiParameter:
    """A query parameter; its type is one of the generator's, or a JSON schema."""
    return OpenApiParameter(name, type_, OpenApiParameter.QUERY, required=required, description=text)


def refuse_unknown_parameters(request: Request, known: frozenset[str]) -> None:
    if unknown := [name for name in request.query_params if name not in known]:
        takes = f"this takes {', '.join(sorted(known))}" if known else "this takes none"
        message = f"unknown query parameter: {takes}"
        raise Refusal(400, "invalid", f"{unknown[0][:200]}: {message}", dict.fromkeys(unknown[:50], message))


def content_type(request: Request, accepted: Iterable[str] = ("application/json",)) -> str:
    """The body's media type; 415 where it is none of the accepted."""
    sent = (request.content_type or "").partition(";")[0].strip().lower()
    if sent not in accepted:
        raise UnsupportedMediaType(
            sent, f"Send the body with Content-Type: {' or '.join(accepted)}, not {sent[:100] or 'none'}."
        )
    return sent


def parse(request: Request, takes: type[BaseModel], limit: int, required: bool = True) -> BaseModel:
    """The body as that model, or a refusal that names what is wrong."""
    pieces = bodies.chunks(request._request, limit)
    if required:
        content_type(request)
    body = b"".join(pieces)
    if not body and not required:
        return takes()
    try:
        read: BaseModel = takes.model_validate_json(body)
        return read
    except ValidationError as error:
        raise errors.refusal_of(error, body) from None
