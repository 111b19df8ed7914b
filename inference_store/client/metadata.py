"""Metadata of inferences, and how it is distributed."""

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any

from pydantic import ValidationError

from inference_store.client.calls import call, find
from inference_store.contract.base import ResponseModel
from inference_store.contract.enums import MetadataType
from inference_store.contract.metadata import (
    Metadata,
    MetadataKeyTypeCounts,
    MetadataStatistics,
    NewExtendedMetadataRequest,
    NewGetMetadataStatisticsRequest,
    parse_metadata_value,
)

__all__ = [
    "create_metadata",
    "delete_metadata",
    "get_data_hash",
    "get_metadata",
    "get_metadata_key_type_counts",
    "get_metadata_statistics",
    "map_to_inference_store_metadata",
]

STANDARD_KEYS = frozenset({"data_source", "latitude", "longitude"})


class _MetadataList(ResponseModel):
    metadata: list[Metadata]


def create_metadata(
    model_id: str, inference_id: str, request_body: NewExtendedMetadataRequest
) -> Metadata | None:
    """Create metadata for an inference; a key that it has already is replaced.

    Args:
        model_id: The model id.
        inference_id: The id of the inference.
        request_body: The metadata to attach to the inference.

    Returns:
        The metadata details.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(Metadata, "POST", *_path(model_id, inference_id), body=request_body)


def get_metadata(model_id: str, inference_id: str) -> list[Metadata]:
    """Get all metadata for a particular inference.

    Args:
        model_id: The model id.
        inference_id: The id of the inference.

    Returns:
        The metadata details.

    Raises:
        InferenceStoreError: the store refused, 404 where there is no such inference.
    """
    return call(_MetadataList, "GET", *_path(model_id, inference_id)).metadata


def delete_metadata(model_id: str, inference_id: str, key: str) -> str | None:
    """Delete metadata for a particular inference and key.

    Args:
        model_id: The model id.
        inference_id: The id of the inference.
        key: The key of the metadata to delete.

    Returns:
        The deleted key; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    path = _path(model_id, inference_id)
    deleted = find(ResponseModel, "DELETE", *path, params={"key": key}, repeatable=False)
    return None if deleted is None else key


def _path(model_id: str, inference_id: str) -> tuple[str, ...]:
    return ("models", model_id, "inferences", inference_id, "metadata")


def get_metadata_key_type_counts(model_id: str) -> MetadataKeyTypeCounts | None:
    """Get how many inferences of a model hold each metadata key, by type.

    Args:
        model_id: The model id.

    Returns:
        The count of each key and type; None where there is no model that one may see.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(MetadataKeyTypeCounts, "GET", "models", model_id, "metadata-keys")


def get_metadata_statistics(
    model_id: str, request_body: NewGetMetadataStatisticsRequest
) -> MetadataStatistics | None:
    """Get statistics for a particular metadata key and type.

    Args:
        model_id: The model id.
        request_body: The metadata statistics criteria.

    Returns:
        The metadata statistics; None where there is no model that one may see.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    path = ("models", model_id, "metadata-statistics")
    return find(MetadataStatistics, "POST", *path, body=request_body)


def get_data_hash(data: bytes) -> str:
    """Get the SHA256 hexdigest of the data being inferred upon.

    Args:
        data: The input inference data.

    Returns:
        The data hash.
    """
    return hashlib.sha256(data).hexdigest()


def map_to_inference_store_metadata(
    data: Mapping[str, str | float | int | Mapping[str, Any]],
) -> dict[str, Any]:
    """Map a dictionary into the store's form, in which every key, type and value is a string.

    data_source, latitude and longitude become standard metadata, all others extended metadata: int, float,
    string, or json for booleans, mappings, lists, and strings that hold a JSON object or array. A key
    whose value is None is left out.

    Args:
        data: The metadata.

    Returns:
        {"standard_metadata": {key: value}, "extended_metadata": [{"key", "type", "value"}]}

    Raises:
        TypeError: a value is of no type that the store has.
        ValueError: a value is out of its type's bounds, like NaN.
    """
    given = {key: value for key, value in data.items() if value is not None}
    return {
        "standard_metadata": {key: _standard(key, given[key]) for key in given if key in STANDARD_KEYS},
        "extended_metadata": [_extended(key, given[key]) for key in given if key not in STANDARD_KEYS],
    }


def _standard(key: str, value: Any) -> str:
    type_, text = _spelled(key, value)
    if type_ is MetadataType.JSON and not isinstance(value, str):
        raise TypeError(f"{key} can't be a {type(value).__name__}")
    return text


def _extended(key: str, value: Any) -> dict[str, str]:
    type_, text = _spelled(key, value)
    try:
        NewExtendedMetadataRequest(key=key, type=type_, value=text)
    except ValidationError as error:
        raise ValueError(f"metadata {key!r}: {error.errors()[0]['msg']}") from None
    return {"key": key, "type": type_.value, "value": text}


def _spelled(key: str, value: Any) -> tuple[MetadataType, str]:
    """The type that a value has in the store, and its spelling there."""
    if not isinstance(key, str):
        raise TypeError(f"metadata key {key!r} is not a string")
    if isinstance(value, Enum):
        value = value.value
    # bool before the numbers, of which it is one.
    if isinstance(value, bool | Mapping | list | tuple):
        return MetadataType.JSON, _json(key, value)
    if isinstance(value, Integral):
        return MetadataType.INT, str(int(value))
    if isinstance(value, Real):
        return MetadataType.FLOAT, repr(float(value))
    if isinstance(value, str):
        return (MetadataType.JSON if _is_json_container(value) else MetadataType.STRING), value
    raise TypeError(f"metadata {key!r} is a {type(value).__name__}; give a string, number, mapping or list")


def _json(key: str, value: Any) -> str:
    def plain(item: Any) -> dict[str, Any]:
        if isinstance(item, Mapping):
            return dict(item)
        raise TypeError(f"metadata {key!r} holds a {type(item).__name__}, which JSON can't spell")

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=plain)
    except ValueError as error:
        raise ValueError(f"metadata {key!r}: {error}") from None


def _is_json_container(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        parse_metadata_value(MetadataType.JSON.value, text)
    except (ValueError, TypeError):  # TypeError: a lone surrogate
        return False
    return True
