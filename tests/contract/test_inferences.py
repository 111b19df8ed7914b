"""What is sent to be stored, its metadata, registrations, policies: taken, or refused with a reason."""

import json
import math
import time
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from inference_store.contract import inferences, jobs, metadata
from inference_store.contract.enums import ACTIONS_OF_TASK, InferenceAction, MetadataType, TaskType

HASH = "0123456789abcdef" * 4
STANDARD: dict[str, Any] = {
    "data_hash": HASH,
    "data_size": 1,
    "task_type": "Object Detection",
    "inference_action": "detect",
}
METADATA: dict[str, Any] = {"standard_metadata": STANDARD}


class TheirTask(Enum):
    DETECTION = "Object Detection"
    TRANSLATION = "Translation"


def reasons(model: type[BaseModel], fields: dict[str, Any]) -> str:
    """Why it is refused."""
    with pytest.raises(ValidationError) as raised:
        model(**fields)
    return str(raised.value)


# --- Metadata ----------------------------------------------------------------------------------------------
def test_a_hash_is_kept_in_lower_case() -> None:
    assert metadata.NewStandardMetadataRequest(**STANDARD | {"data_hash": HASH.upper()}).data_hash == HASH


@pytest.mark.parametrize("task", [TaskType.OBJECT_DETECTION, "Object Detection", TheirTask.DETECTION])
def test_a_task_type_is_the_enum_its_value_or_a_foreign_enum(task: Any) -> None:
    assert (
        metadata.NewStandardMetadataRequest(**STANDARD | {"task_type": task}).task_type == "Object Detection"
    )
    registered = inferences.NewRegisterModelRequest(model_id="m", project_id="p", task_type=task)
    assert json.loads(registered.model_dump_json())["task_type"] == "Object Detection"


@pytest.mark.parametrize(
    "fields",
    [
        {"data_hash": HASH[:-1]},
        {"data_hash": HASH + "\n"},
        {"data_hash": "g" * 64},
        {"data_size": -1},
        {"data_size": 2**63},
        {"data_size": 0.5},
        {"task_type": TheirTask.TRANSLATION},
        {"task_type": "object detection"},
        {"inference_action": "translate"},
        {"latitude": 1},
        {"longitude": 1},
        {"latitude": 91, "longitude": 0},
        {"latitude": math.nan, "longitude": 0},
        {"data_source": "\x00"},
        {"data_source": "x" * 513},
        {"colour": "red"},
    ],
)
def test_standard_metadata_out_of_bounds(fields: dict[str, Any]) -> None:
    reasons(metadata.NewStandardMetadataRequest, STANDARD | fields)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("int", "007", 7),
        ("float", "1e3", 1000.0),
        ("string", "", ""),
        ("json", "null", None),
        ("json", ' {"a": [1, 2.50, "\\u00e9"]} ', {"a": [1, 2.5, "é"]}),
    ],
)
def test_a_metadata_value_is_parsed_as_its_type(type_: str, text: str, value: Any) -> None:
    parsed = metadata.NewExtendedMetadataRequest(key="k", type=MetadataType(type_), value=text).parsed()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("int", "1.0"),
        ("int", str(2**63)),
        ("float", "NaN"),
        ("float", "1e400"),
        ("json", ""),
        ("json", "{"),
        ("json", "NaN"),
        ("json", "[Infinity]"),
        ("json", "1e400"),
        ("json", '"\\u0000"'),
        ("json", '{"\\u0000": 1}'),
        ("json", '"\\ud800"'),
        ("json", "[" * 10_000 + "]" * 10_000),
        ("string", "\x00"),
        ("string", "\ud800"),
        ("bool", "true"),
    ],
)
def test_a_value_that_does_not_parse_is_refused(type_: str, text: str) -> None:
    reasons(metadata.NewExtendedMetadataRequest, {"key": "k", "type": type_, "value": text})


@pytest.mark.parametrize("key", ["", "\x00", "\ud800", "x" * 513, 1])
def test_a_key_out_of_bounds(key: Any) -> None:
    reasons(metadata.NewExtendedMetadataRequest, {"key": key, "type": "string", "value": ""})


def test_a_key_comes_once_whatever_its_type() -> None:
    twice = [{"key": "k", "type": "int", "value": "1"}, {"key": "k", "type": "string", "value": "1"}]
    assert "names the key 'k' twice" in reasons(
        metadata.NewMetadataCollectionRequest, METADATA | {"extended_metadata": twice}
    )


def test_many_keys_are_compared_in_linear_time() -> None:
    many = [{"key": str(number), "type": "int", "value": "1"} for number in range(50_000)]
    before = time.process_time()
    reasons(metadata.NewMetadataCollectionRequest, METADATA | {"extended_metadata": [*many, many[-1]]})
    assert time.process_time() - before < 3


# --- Inferences --------------------------------------------------------------------------------------------
COLLECTION = inferences.NewInferenceAndMetadataCollection


def test_an_empty_list_counts_as_given() -> None:
    empty = COLLECTION(object_detection=[], metadata=METADATA)
    assert (empty.list_name, empty.entries) == ("object_detection", [])
    absent = COLLECTION(metadata=METADATA)
    assert (absent.list_name, absent.entries) == (None, [])


def test_other_keys_of_an_entry_are_kept_as_they_came() -> None:
    item = {"class_name": "cat", "score": 1, "track": {"id": 7, "lost": None}}
    kept = COLLECTION(object_detection=[item], metadata=METADATA)
    assert json.loads(kept.encode())["object_detection"] == [item]
    assert kept.entries[0].label == "cat"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"object_detection": [], "image_segmentation": []}, "give one standardized list"),
        ({"object_detection": [{"score": 1}]}, "entry 0 lacks a label"),
        ({"object_detection": [{"label": "\x00"}]}, "holds a NUL"),
        ({"object_detection": [{"label": "\ud800"}]}, "lone surrogate"),
        ({"object_detection": [{"label": "a", "x": [math.nan]}]}, "not finite"),
        ({"object_detection": ["cat"]}, "valid dictionary"),
        ({"embedding": [1, None]}, "valid number"),
        ({"embedding": [math.nan]}, "finite number"),
        ({"embedding": [1e39]}, "less than or equal to"),
        ({"embedding": [0.0] * 16_001}, "at most 16000"),
        ({"inference": {"a": "\x00"}}, "holds a NUL"),
        ({"inference": math.inf}, "not finite"),
        ({"created_at": datetime(2026, 1, 31)}, "timezone"),  # noqa: DTZ001
        ({"labels": []}, "Extra inputs"),
    ],
)
def test_a_collection_that_cannot_be_stored(fields: dict[str, Any], words: str) -> None:
    assert words in reasons(COLLECTION, {"metadata": METADATA} | fields)


@pytest.mark.parametrize("id_", ["", ".", "a/b", "\x00", "\ud800", "x" * 256])
def test_ids_are_identifiers(id_: str) -> None:
    collection = COLLECTION(metadata=METADATA)
    reasons(inferences.NewInferenceStorageRequest, {"model_id": "m", "inference_id": id_, "data": collection})
    reasons(inferences.NewInferenceStorageRequest, {"model_id": id_, "inference_id": "i", "data": collection})


def test_two_times_of_one_inference_agree() -> None:
    now = datetime.now(UTC)
    collection = COLLECTION(metadata=METADATA, created_at=now)
    fields = {"model_id": "m", "inference_id": "i", "data": collection}
    inferences.NewInferenceStorageRequest(**fields, created_at=now)
    later = fields | {"created_at": now + timedelta(seconds=1)}
    assert "created_at differs" in reasons(inferences.NewInferenceStorageRequest, later)


@pytest.mark.parametrize("size", [-1, 16_001, 0.5])
def test_an_embedding_size_out_of_bounds(size: float) -> None:
    fields = {"model_id": "m", "project_id": "p", "task_type": "Text Embedding", "embedding_size": size}
    reasons(inferences.NewRegisterModelRequest, fields)


def test_every_task_has_actions_and_every_list_a_task() -> None:
    assert set(ACTIONS_OF_TASK) == set(TaskType)
    assert set().union(*ACTIONS_OF_TASK.values()) == set(InferenceAction)
    assert set(inferences.LIST_OF_TASK) == {task for task in TaskType if "Embedding" not in task.value}
    assert set(inferences.LIST_OF_TASK.values()) < set(COLLECTION.model_fields)


def test_answers_ignore_what_they_do_not_know_and_requests_do_not() -> None:
    upload = {"data_presigned_url": "http://x", "data_storage_key": "k", "expires_in": 900}
    assert inferences.DataUpload(**upload).data_storage_key == "k"
    assert "Extra inputs" in reasons(inferences.NewProtectionRequest, {"is_protected": True, "x": 1})


# --- Statistics and retention ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fields",
    [
        {"distribution_bin_count": 3, "distribution_bin_width": 1},
        {"distribution_bin_count": 0},
        {"distribution_bin_count": 10_001},
        {"distribution_bin_width": 0},
        {"distribution_bin_width": -1},
        {"distribution_bin_width": math.inf},
        {"distribution_minimum_value": 2, "distribution_maximum_value": 1},
        {"distribution_minimum_value": math.nan},
        {"type": "json"},
        {"key": ""},
    ],
)
def test_statistics_out_of_bounds(fields: dict[str, Any]) -> None:
    reasons(metadata.NewGetMetadataStatisticsRequest, {"key": "k", "type": "int"} | fields)


def policy(interval: int, record: int, blob: int) -> dict[str, Any]:
    return {"automated_interval": interval, "maximum_record_age": record, "maximum_blob_age": blob}


@pytest.mark.parametrize(("record", "blob"), [(0, 0), (24, 24), (24, 0), (-1, 0), (-1, 10_000)])
def test_a_blob_goes_no_later_than_its_record(record: int, blob: int) -> None:
    jobs.NewRetentionPolicyRequest(**policy(0, record, blob))


@pytest.mark.parametrize(
    ("interval", "record", "blob"), [(0, 24, 25), (0, -2, 0), (0, -1, -1), (-1, 24, 24), (0, 2**62, 0)]
)
def test_a_policy_out_of_bounds(interval: int, record: int, blob: int) -> None:
    reasons(jobs.NewRetentionPolicyRequest, policy(interval, record, blob))


def test_export_requests_share_no_lists() -> None:
    one, other = jobs.NewExportTaskRequest(), jobs.NewExportTaskRequest()
    one.include_inference_ids.append("x")
    assert other.include_inference_ids == []


@pytest.mark.parametrize("field", ["filter", "include_inference_id"])
def test_a_misspelt_export_is_refused(field: str) -> None:
    assert "Extra inputs" in reasons(jobs.NewExportTaskRequest, {field: {}})
