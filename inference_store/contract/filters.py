"""What a caller can ask for: one filter for lists, counts, charts, exports and deletes."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from inference_store.contract.base import (
    INT64_MAX,
    STOP_AT_FIRST,
    Finite,
    Float32,
    Key,
    Latitude,
    Longitude,
    RequestModel,
    Text,
    parse_float,
    parse_int,
    storable_json,
)
from inference_store.contract.enums import (
    EmbeddingDistanceMetric,
    MetadataFilterOperator,
    MetadataFilterType,
    PaginationEmbeddingSortField,
    PaginationGranularInferenceSortField,
    PaginationSortDirection,
    PaginationSortField,
)

LARGEST_EMBEDDING = 16_000
DEFAULT_LIMIT = 50
LARGEST_LIMIT = 1_000

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_instant(text: str) -> datetime:
    """The instant that an RFC 3339 string names, in UTC, to the microsecond."""
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T12:00:00Z") from None


def _instant(text: str) -> str:
    parse_instant(text)
    return text


class TimeWindowFilter(RequestModel):
    """Inferences within a time window, both ends included: YYYY-MM-DDTHH:MM:SSZ, fractions allowed.

    To format an existing datetime object: dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    """

    start: Annotated[Text, AfterValidator(_instant)] | None = None
    end: Annotated[Text, AfterValidator(_instant)] | None = None


class GeoPoint(RequestModel):
    """A point on the globe, in degrees: latitude -90 to 90, longitude -180 to 180."""

    latitude: Latitude
    longitude: Longitude


class GeoCircle(RequestModel):
    """A circular search area: center, and radius in meters along the great circle."""

    center: GeoPoint
    radius: Annotated[Finite, Field(ge=0)]


class GeoRectangle(RequestModel):
    """A rectangular search area between any two opposite corners.

    `crosses_antimeridian` takes the area the other way round, through longitude 180.
    """

    p1: GeoPoint
    p2: GeoPoint
    crosses_antimeridian: bool = False


class GeolocationFilter(RequestModel):
    """Inferences in a circular or rectangular area on the globe; in both, where both are given."""

    gps_coordinates_circle: GeoCircle | None = None
    gps_coordinates_rectangle: GeoRectangle | None = None


class DeconstructedInferenceFilter(RequestModel):
    """Inferences of which some one entry has one of the labels and a score within the bounds."""

    labels: Annotated[list[Text], STOP_AT_FIRST] | None = None
    minimum_score: Finite | None = None
    maximum_score: Finite | None = None


def split_list(text: str) -> list[str]:
    """The items of "[a, b]": blanks trimmed; one written as a JSON string is taken as that string."""
    body = text.strip()
    if len(body) < 2 or body[0] != "[" or body[-1] != "]":
        raise ValueError("the operator 'in' takes a list in brackets: [v1, v2]")
    # Stripped once: the loop below would otherwise copy a long list for every item.
    body, items, position = body[1:-1].strip(), [], 0
    decoder = json.JSONDecoder()
    while body and position <= len(body):
        while position < len(body) and body[position].isspace():
            position += 1
        if body[position : position + 1] == '"' and (quoted := _quoted(decoder, body, position)):
            item, position = quoted
        else:
            comma = body.find(",", position)
            end = len(body) if comma < 0 else comma
            item, position = body[position:end].strip(), end
        items.append(item)
        position += 1  # past the comma
    return items


def _quoted(decoder: json.JSONDecoder, body: str, position: int) -> tuple[str, int] | None:
    """A JSON string that stands alone between commas and where it ends, or None."""
    try:
        item, end = decoder.raw_decode(body, position)
    except ValueError:
        return None
    while end < len(body) and body[end].isspace():
        end += 1
    return (item, end) if end == len(body) or body[end] == "," else None


def split_path(key: str) -> list[str]:
    r"""The segments of a dotted key; `\.` is a literal dot."""
    segments, current, position = [], "", 0
    while position < len(key):
        if key.startswith("\\.", position):
            current += "."
            position += 2
        elif key[position] == ".":
            segments.append(current)
            current, position = "", position + 1
        else:
            current += key[position]
            position += 1
    return [*segments, current]


class MetadataFilter(RequestModel):
    """Inferences whose metadata value of that key and type stands in a relation to `value`.

    Keys of the json types walk into the object by dots: x.y in {"x": {"y": 10}}.
    """

    key: Key
    operator: MetadataFilterOperator
    type: MetadataFilterType
    value: Text

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        _ = self.operands
        return self

    @property
    def operands(self) -> list[str] | list[int] | list[float]:
        """The values to compare with: as many as listed for `in`, else one."""
        one = self.operator != MetadataFilterOperator.IN.value
        texts = [self.value] if one else split_list(self.value)
        kind = str(self.type).rpartition(".")[2]
        if kind == "int":
            return [parse_int(text.strip()) for text in texts]
        if kind == "float":
            return [parse_float(text.strip()) for text in texts]
        # A quoted item of a list can spell by escapes what the value itself can't hold.
        return [storable_json(text) for text in texts]

    @staticmethod
    def form_values_for_in_operator(
        values_type: MetadataFilterType, values: list[str] | list[int] | list[float]
    ) -> str | None:
        """The value string "[v1, v2]" for the operator `in`; None for a type it can't hold."""
        try:
            MetadataFilterType(values_type)
        except ValueError:
            return None
        return "[" + ", ".join(_listed(value) for value in values) + "]"


def _listed(value: str | int | float) -> str:
    """A value as it can stand in a list: quoted where it would otherwise be split, trimmed or unquoted."""
    text = str(value)
    needs_quotes = text == "" or "," in text or text != text.strip() or text.startswith('"')
    return json.dumps(text, ensure_ascii=False) if needs_quotes else text


class BaseInferenceFilter(RequestModel):
    """All given filters must hold; with nothing set it restricts nothing."""

    inference_action_filter: Text | None = None
    data_hash_filter: Text | None = None
    data_source_filter: Text | None = None
    time_window_filter: TimeWindowFilter | None = None
    metadata_filter: Annotated[list[MetadataFilter], STOP_AT_FIRST] | None = None
    location_filter: GeolocationFilter | None = None
    deconstructed_inference_filter: DeconstructedInferenceFilter | None = None


class EmbeddingFilter(RequestModel):
    """Distance from a query embedding; the metric defaults to cosine."""

    query_embedding: Annotated[
        list[Float32], Field(min_length=1, max_length=LARGEST_EMBEDDING), STOP_AT_FIRST
    ]
    distance_metric: str | None = EmbeddingDistanceMetric.COSINE

    @field_validator("distance_metric")
    @classmethod
    def _known_metric(cls, value: str | None) -> str | None:
        return None if value is None else EmbeddingDistanceMetric(value).value

    @property
    def metric(self) -> EmbeddingDistanceMetric:
        return EmbeddingDistanceMetric(self.distance_metric or EmbeddingDistanceMetric.COSINE)


class Pagination(RequestModel):
    """Which part of the matching inferences, in which order.

    `cursor` (additional) continues after the page that gave it as `next_cursor`; it replaces `offset`.
    """

    direction: PaginationSortDirection | None = None
    limit: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    offset: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = None
    sort: PaginationSortField | PaginationEmbeddingSortField | PaginationGranularInferenceSortField | None = (
        None
    )
    cursor: Annotated[Text, Field(max_length=8_192)] | None = None

    @model_validator(mode="after")
    def _one_way_to_page(self) -> Self:
        if self.cursor is not None and self.offset:
            raise ValueError("give either cursor or offset")
        return self


EmbeddingForm = Literal["numbers", "base64", "none"]
"""How answers spell embeddings: as numbers, as base64 of little-endian float32, or not at all."""


class NewGetInferencesRequest(RequestModel):
    """Inferences matching a series of filters.

    `embeddings` (additional): how the answer spells embeddings, as numbers by default. With "base64",
    `packed_embedding` holds what would else be numbers in `data` or `embedding`; with "none", nothing does.
    """

    filters: BaseInferenceFilter = BaseInferenceFilter()
    embedding_filters: EmbeddingFilter | None = None
    pagination: Pagination | None = None
    presign: bool = False
    embeddings: EmbeddingForm | None = None
