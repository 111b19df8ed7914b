"""One call of the API: a contract model out, a contract model back, or an InferenceStoreError."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from inference_store.client.connection import current
from inference_store.client.errors import INVALID, NOT_A_STORE, NOT_FOUND, InferenceStoreError, error_body
from inference_store.client.sending import send
from inference_store.contract.base import Identifier
from inference_store.contract.vectors import AS_BASE64

Answer = TypeVar("Answer", bound=BaseModel)
NDJSON = "application/x-ndjson"
_identifier: TypeAdapter[str] = TypeAdapter(Identifier)


def call(
    answer: type[Answer],
    method: str,
    *segments: str,
    body: BaseModel | bytes | None = None,
    params: Mapping[str, str] | None = None,
    repeatable: bool = True,
) -> Answer:
    """Ask the store.

    Args:
        answer: The model that a success is read as.
        method: The HTTP method.
        segments: The segments of the path under the API's base, unquoted.
        body: A request model, or NDJSON as bytes.
        params: The query string.
        repeatable: Whether it may be sent again when it is unknown whether it was carried out.

    Raises:
        InferenceStoreError: the store refused, gave no answer, or what answered is no store.
    """
    connection = current()
    headers = connection.headers
    content = None
    if body is not None:
        headers = [*headers, ("Content-Type", NDJSON if isinstance(body, bytes) else "application/json")]
        content = body if isinstance(body, bytes) else spelled(body)
    # Not by the client, which would parse and merge for each call what is the same for all of them.
    request = httpx.Request(
        method,
        address(connection.settings.base_url, segments, tuple(params.items()) if params else ()),
        content=content,
        headers=headers,
        extensions=connection.extensions,
    )
    response = send(request, repeatable=repeatable).response
    if not response.is_success:
        raise refusal(response)
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_a_store(response) from error


def spelled(body: BaseModel) -> bytes:
    """A request model as JSON, an embedding as base64."""
    return body.model_dump_json(exclude_none=True, context=AS_BASE64).encode()


def find(
    answer: type[Answer],
    method: str,
    *segments: str,
    body: BaseModel | None = None,
    params: Mapping[str, str] | None = None,
    repeatable: bool = True,
) -> Answer | None:
    """As `call`, but None where the store says that there is no such thing."""
    try:
        return call(answer, method, *segments, body=body, params=params, repeatable=repeatable)
    except InferenceStoreError as error:
        # Something else at a wrong address answers 404 too, without the store's code.
        if error.status == httpx.codes.NOT_FOUND and error.code == NOT_FOUND:
            return None
        raise


@lru_cache(maxsize=256)
def address(base_url: str, segments: tuple[str, ...], params: tuple[tuple[str, str], ...]) -> httpx.URL:
    url = httpx.URL(base_url + path(*segments))
    return url.copy_merge_params(dict(params)) if params else url


def path(*segments: str) -> str:
    """The path of those segments, quoted.

    Raises:
        InferenceStoreError: a segment can't be an id, and would name some other resource.
    """
    for segment in segments:
        try:
            _identifier.validate_python(segment)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InferenceStoreError(400, f"{segment!r:.80} can't be an id: {reason}", INVALID) from None
    return "".join("/" + quote(segment, safe="") for segment in segments)


def refusal(response: httpx.Response) -> InferenceStoreError:
    """What an answer that is no success says."""
    if body := error_body(response):
        return InferenceStoreError(response.status_code, body.error, body.code, body.fields)
    if not response.is_error or response.status_code == httpx.codes.NOT_FOUND:
        return _not_a_store(response)
    # A proxy in front of the store has its own words for 413 or 502.
    return InferenceStoreError(response.status_code, response.reason_phrase or "refused", "http_error")


def _not_a_store(response: httpx.Response) -> InferenceStoreError:
    url = response.request.url
    where = f"{url.scheme}://{url.netloc.decode()}{url.path}"
    target = response.headers.get("Location")
    hint = f"it redirects to {target}; set the base URL to that server" if target else "check the base URL"
    message = f"{where} did not answer as an inference store: {hint}"
    return InferenceStoreError(response.status_code, message, NOT_A_STORE)
