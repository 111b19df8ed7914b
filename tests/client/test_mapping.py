"""Helpers that never ask the store: the metadata mapping, hashes, `in` lists, encodings, embeddings."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from inference_store import client as istore

HASH = hashlib.sha256(b"x").hexdigest()
STANDARD = istore.NewStandardMetadataRequest(
    data_hash=HASH, data_size=1, task_type="Image Classification", inference_action="predict"
)


def extended(value: Any) -> tuple[str, str]:
    mapped = istore.map_to_inference_store_metadata({"key": value})
    assert mapped["standard_metadata"] == {}
    (item,) = mapped["extended_metadata"]
    assert item["key"] == "key"
    return item["type"], item["value"]


class Colour(str, Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (1, "int", "1"),
        (-(2**63), "int", "-9223372036854775808"),
        (0.1, "float", "0.1"),
        (2.0, "float", "2.0"),
        (1e300, "float", "1e+300"),
        ("plain", "string", "plain"),
        ("", "string", ""),
        ("12", "string", "12"),
        ("true", "string", "true"),
        ("null", "string", "null"),
        ('"quoted"', "string", '"quoted"'),
        ("[a, b]", "string", "[a, b]"),
        ("{", "string", "{"),
        ("[NaN]", "string", "[NaN]"),
        ('["\\u0000"]', "string", '["\\u0000"]'),
        ("[" * 5000 + "]" * 5000, "string", "[" * 5000 + "]" * 5000),
        ('{"a": 1}', "json", '{"a": 1}'),
        (' [1, "é"]\n', "json", ' [1, "é"]\n'),
        (True, "json", "true"),
        (False, "json", "false"),
        ({"a": {"b": [1, None]}}, "json", '{"a": {"b": [1, null]}}'),
        ([1, "é"], "json", '[1, "é"]'),
        ((1, 2), "json", "[1, 2]"),
        ({}, "json", "{}"),
        (MappingProxyType({"a": MappingProxyType({"b": 1})}), "json", '{"a": {"b": 1}}'),
        (OrderedDict(a=1), "json", '{"a": 1}'),
        (Colour.RED, "string", "red"),
        (np.int64(7), "int", "7"),
        (np.float64(0.1), "float", "0.1"),
        (np.float32(0.5), "float", "0.5"),
    ],
)
def test_a_value_keeps_its_type(value: Any, type_: str, text: str) -> None:
    assert extended(value) == (type_, text)
    # What the mapping gives, the store takes.
    istore.NewExtendedMetadataRequest(key="key", type=istore.MetadataType(type_), value=text)


def test_three_keys_are_standard() -> None:
    data: dict[str, Any] = {"data_source": "camera 7", "latitude": 52.5, "longitude": 13, "weather": "fog"}
    mapped = istore.map_to_inference_store_metadata(data)
    assert mapped == {
        "standard_metadata": {"data_source": "camera 7", "latitude": "52.5", "longitude": "13"},
        "extended_metadata": [{"key": "weather", "type": "string", "value": "fog"}],
    }
    standard = STANDARD.model_dump(exclude_none=True) | mapped["standard_metadata"]
    collected = istore.NewMetadataCollectionRequest(
        standard_metadata=standard, extended_metadata=mapped["extended_metadata"]
    )
    assert collected.standard_metadata.latitude == 52.5


def test_a_source_that_looks_like_json_stays_a_source() -> None:
    mapped = istore.map_to_inference_store_metadata({"data_source": '["a"]', "latitude": "1.5"})
    assert mapped["standard_metadata"] == {"data_source": '["a"]', "latitude": "1.5"}


def test_none_is_left_out() -> None:
    mapped = istore.map_to_inference_store_metadata({"a": None, "latitude": None})  # type: ignore[dict-item]
    assert mapped == {"standard_metadata": {}, "extended_metadata": []}


def test_an_empty_mapping_is_empty() -> None:
    assert istore.map_to_inference_store_metadata({}) == {"standard_metadata": {}, "extended_metadata": []}


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), datetime.now(UTC), 1j, {"a": {1}}, [b"x"]])
def test_what_the_store_has_no_type_for_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="'key'"):
        extended(value)


UNSTORABLE = [
    float("nan"),
    float("inf"),
    2**63,
    [float("nan")],
    {"a": "\x00"},
    ["\ud800"],
    "\x00",
    '["\ud800"]',
]


@pytest.mark.parametrize("value", UNSTORABLE)
def test_what_is_out_of_bounds_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match="'key'"):
        extended(value)


@pytest.mark.parametrize(
    ("key", "value"), [("latitude", True), ("data_source", {"a": 1}), ("longitude", [1])]
)
def test_standard_metadata_is_no_json(key: str, value: Any) -> None:
    with pytest.raises(TypeError, match=key):
        istore.map_to_inference_store_metadata({key: value})


def test_a_key_is_a_string() -> None:
    with pytest.raises(TypeError, match="1"):
        istore.map_to_inference_store_metadata({1: "x"})  # type: ignore[dict-item]


class Lazy(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"a": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_any_mapping_will_do() -> None:
    assert extended(Lazy()) == ("json", '{"a": 1}')
    assert istore.map_to_inference_store_metadata(Lazy())["extended_metadata"][0]["value"] == "1"


def test_data_hash() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert istore.get_data_hash(b"") == empty


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["a", "b"], "[a, b]"),
        ([1, 2], "[1, 2]"),
        ([0.5, 1e22], "[0.5, 1e+22]"),
        ([], "[]"),
        (["a, b", " c", ""], '["a, b", " c", ""]'),
    ],
)
def test_values_for_the_in_operator(values: Any, text: str) -> None:
    form = istore.MetadataFilter.form_values_for_in_operator
    assert form(istore.MetadataFilterType.STRING, values) == text


def test_values_of_an_unknown_type_have_no_form() -> None:
    form = istore.MetadataFilter.form_values_for_in_operator
    assert form("json", ["a"]) is None  # type: ignore[arg-type]
    assert form(None, ["a"]) is None  # type: ignore[arg-type]


def test_collections_encode_as_utf8_json() -> None:
    metadata = istore.NewMetadataCollectionRequest(
        standard_metadata=STANDARD,
        extended_metadata=[istore.NewExtendedMetadataRequest(key="é", type="string", value="ü")],
    )
    assert json.loads(metadata.encode())["extended_metadata"] == [
        {"key": "é", "type": "string", "value": "ü"}
    ]
    assert "é".encode() in metadata.encode()

    collection = istore.NewInferenceAndMetadataCollection(
        image_classification=[{"label": "a", "score": 0.5, "extra": None}],
        embedding=[1.5],
        metadata=metadata,
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    encoded = json.loads(collection.encode())
    assert encoded["image_classification"] == [{"label": "a", "score": 0.5, "extra": None}]
    assert encoded["created_at"] == "2026-01-31T00:00:00Z"
    assert "object_detection" not in encoded
    assert istore.NewInferenceAndMetadataCollection.model_validate_json(collection.encode()) == collection


def inference(**fields: Any) -> istore.Inference:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    return istore.Inference(
        model_id="m",
        inference_id="i",
        created_at=moment,
        updated_at=moment,
        inference_action="embed",
        data_hash=HASH,
        version="v2",
        **fields,
    )


@pytest.mark.parametrize(
    ("data", "embedding", "structured"),
    [
        ("[1, 0.5, -2e3]", None, [1, 0.5, -2000.0]),
        ("[]", None, []),
        (None, None, None),
        ("", None, None),
        ("a cat", None, None),
        ("{}", None, None),
        ("[1, true]", None, None),
        ('[1, "2"]', None, None),
        ("7", None, None),
        ('[{"label": "a"}]', None, None),
        ('[{"label": "a"}]', [0.5], [0.5]),
        ("[]", [0.5], [0.5]),
    ],
)
def test_structured_embedding(data: str | None, embedding: Any, structured: Any) -> None:
    assert inference(data=data, embedding=embedding).structured_embedding == structured
