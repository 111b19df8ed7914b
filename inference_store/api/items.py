"""The items of a bulk request: a JSON array, or one JSON object a line."""

from collections.abc import Iterable
from io import BytesIO
from typing import Annotated, Any

from django.conf import settings
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from rest_framework.request import Request

from inference_store.api import bodies, errors
from inference_store.api.operations import content_type
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import LARGEST_BULK, NewInferenceStorageRequest

LINES = "application/x-ndjson"
MOST_WRONG_ITEMS = 20
ITEM = {"$ref": "#/components/schemas/NewInferenceStorageRequest"}
DOCUMENTED_BODY = {
    "application/json": {"type": "array", "items": ITEM, "maxItems": LARGEST_BULK},
    LINES: ITEM,
}

_array: TypeAdapter[list[Any]] = TypeAdapter(Annotated[list[Any], Field(max_length=LARGEST_BULK)])


def other_model(model_id: str) -> Refusal:
    return Refusal.invalid("model_id", f"must be {model_id!r}, the model in the address")


def too_many() -> Refusal:
    return Refusal(413, "too_many", f"Send at most {LARGEST_BULK:,} items in one request.")


def read(request: Request, model_id: str) -> list[NewInferenceStorageRequest]:
    """The items, or a refusal that names each one that is wrong."""
    pieces = bodies.chunks(request._request, settings.INGEST_BODY_MAXIMUM_BYTES)
    sent_as = content_type(request, ("application/json", LINES))
    body = b"".join(pieces)
    return _checked(_lines(body) if sent_as == LINES else _elements(body), model_id)


def _lines(body: bytes) -> Iterable[bytes]:
    """Each line that holds something."""
    return (line for line in BytesIO(body) if not line.isspace())


def _elements(body: bytes) -> Iterable[Any]:
    try:
        return _array.validate_json(body)
    except ValidationError as error:
        if (
            error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
            == "too_long"
        ):
            raise too_many() from None
        raise errors.refusal_of(error, body) from None


def _checked(given: Iterable[Any], model_id: str) -> list[NewInferenceStorageRequest]:
    found: list[NewInferenceStorageRequest] = []
    fields: dict[str, str] = {}
    first = ""
    wrong = 0
    for position, item in enumerate(given):
        if position == LARGEST_BULK:
            raise too_many()
        refused = _read_one(item, position, model_id, found)
        if not refused:
            continue
        fields |= refused
        first = first or _told(position, item, refused)
        wrong += 1
        if wrong == MOST_WRONG_ITEMS:
            break
    if fields:
        more = f" ({wrong - 1} more items are wrong: see fields)" if wrong > 1 else ""
        raise Refusal(400, "invalid", f"{first}{more}. Nothing was stored.", fields)
    return found


def _read_one(
    item: Any, position: int, model_id: str, found: list[NewInferenceStorageRequest]
) -> dict[str, str]:
    """Append the item to those found, or tell what is wrong with it."""
    try:
        if isinstance(item, bytes):
            request = NewInferenceStorageRequest.model_validate_json(item)
        else:
            request = NewInferenceStorageRequest.model_validate(item)
    except ValidationError as error:
        refusal = errors.refusal_of(error, item if isinstance(item, bytes) else None)
        return {
            (f"{position}.{name}" if name != "body" else str(position)): message
            for name, message in refusal.fields.items()
        }
    if request.model_id != model_id:
        return {f"{position}.model_id": other_model(model_id).fields["model_id"]}
    found.append(request)
    return {}


def _told(position: int, item: Any, refused: dict[str, str]) -> str:
    if isinstance(item, bytes):
        try:
            item = from_json(item)
        except ValueError:
            item = None
    name = item.get("inference_id") if isinstance(item, dict) else None
    whose = f" (inference_id {name[:255]})" if isinstance(name, str) else ""
    field, message = next(iter(refused.items()))
    place = field.partition(".")[2]
    return f"item {position}{whose}: {place + ': ' if place else ''}{message}"
