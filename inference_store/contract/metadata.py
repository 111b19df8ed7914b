"""Typed metadata: what is attached to an inference, and statistics over it."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import from_json

from inference_store.contract.base import (
    INT64_MAX,
    STOP_AT_FIRST,
    Finite,
    ForeignEnum,
    Key,
    Latitude,
    Longitude,
    Name,
    RequestModel,
    ResponseModel,
    Text,
    parse_float,
    parse_int,
    storable_json,
)
from inference_store.contract.enums import InferenceAction, MetadataStatisticsType, MetadataType, TaskType
from inference_store.contract.filters import BaseInferenceFilter

DEFAULT_BIN_COUNT = 10
LARGEST_BIN_COUNT = 10_000
# An enumeration's member looks its value up each time.
INT, FLOAT, JSON = MetadataType.INT.value, MetadataType.FLOAT.value, MetadataType.JSON.value


def parse_metadata_value(type_: str, text: str) -> Any:
    """The value that `text` spells in that type; ValueError where it spells none."""
    if type_ == INT:
        return parse_int(text)
    if type_ == FLOAT:
        return parse_float(text)
    if type_ == JSON:
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
        return storable_json(value)
    return text


def metadata_column_names(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A column's name for each (key, type), in their order: `metadata.<key>`.

    A key of several types has `metadata.<key>:<type>` for each. No two names are the same.
    """
    pairs = sorted(keys)
    types, names = Counter(key for key, _ in pairs), set[str]()
    columns = {}
    for key, type_ in pairs:
        name = f"metadata.{key}" if types[key] == 1 else f"metadata.{key}:{type_}"
        while name in names:  # a key may itself end in a type's name
            name += f":{type_}"
        names.add(name)
        columns[key, type_] = name
    return columns


class NewExtendedMetadataRequest(RequestModel):
    """Custom metadata for an inference: a string that spells a value of the declared type."""

    key: Key
    type: MetadataType
    value: Text

    @model_validator(mode="after")
    def _value_parses(self) -> Self:
        # Where the property will find it: its own way there takes a lock.
        self.__dict__["parsed_value"] = parse_metadata_value(str(self.type), self.value)
        return self

    @cached_property
    def parsed_value(self) -> Any:
        """The value itself: int, float, str or any JSON value."""
        return parse_metadata_value(str(self.type), self.value)

    def parsed(self) -> Any:
        return self.parsed_value


class NewStandardMetadataRequest(RequestModel):
    """Standard metadata: whose data, by which task and action, from where.

    Allowed pairs: Image Classification: predict, predict_proba, embed. Object Detection and Oriented
    Object Detection: detect. Image Segmentation: predict, predict_proba. Image and Text Embedding: embed.
    """

    data_hash: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    data_size: Annotated[int, Field(ge=0, le=INT64_MAX)]
    task_type: Annotated[TaskType, ForeignEnum]
    inference_action: Annotated[InferenceAction, ForeignEnum]
    data_source: Name | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def _a_whole_place(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("give latitude and longitude together, or neither")
        return self


class NewMetadataCollectionRequest(RequestModel):
    """Standard and extended metadata of one inference."""

    standard_metadata: NewStandardMetadataRequest
    extended_metadata: Annotated[list[NewExtendedMetadataRequest], STOP_AT_FIRST] = []

    @model_validator(mode="after")
    def _one_value_a_key(self) -> Self:
        seen: set[str] = set()
        for item in self.extended_metadata:
            if item.key in seen:
                raise ValueError(f"extended_metadata names the key {item.key[:80]!r} twice")
            seen.add(item.key)
        return self

    def encode(self) -> bytes:
        """As UTF-8 JSON bytes."""
        return self.model_dump_json(exclude_none=True).encode()


class Metadata(ResponseModel):
    """One metadata value of an inference, as a string of its declared type."""

    key: str
    type: str
    value: str


class MetadataKeyTypeCounts(ResponseModel):
    """How many live inferences of a model hold each (key, type): {key: {type: count}}."""

    counts: dict[str, dict[str, int]]


class MetadataStatistics(ResponseModel):
    """The distribution of one metadata key. `truncated` (additional): more values than are listed."""

    count: int | None = None
    distribution: dict[str, int] | None = None
    min: float | None = None
    max: float | None = None
    truncated: bool = False


class NewGetMetadataStatisticsRequest(RequestModel):
    """Statistics of a metadata key under the filters; 10 bins unless count or width is given."""

    filters: BaseInferenceFilter | None = None
    key: Key
    type: MetadataStatisticsType
    distribution_bin_count: Annotated[int, Field(ge=1, le=LARGEST_BIN_COUNT)] | None = None
    distribution_bin_width: Annotated[Finite, Field(gt=0)] | None = None
    distribution_maximum_value: Finite | None = None
    distribution_minimum_value: Finite | None = None

    @model_validator(mode="after")
    def _bins_agree(self) -> Self:
        low, high = self.distribution_minimum_value, self.distribution_maximum_value
        if self.distribution_bin_count is not None and self.distribution_bin_width is not None:
            raise ValueError("give either distribution_bin_count or distribution_bin_width")
        if low is not None and high is not None and low > high:
            raise ValueError("distribution_minimum_value is above distribution_maximum_value")
        return self
