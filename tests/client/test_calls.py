"""What each function sends, and what it makes of the answer."""

from collections.abc import Callable
from typing import Any

import pytest

from inference_store import client as istore
from tests.client.scripted_store import Answer, ScriptedStore

BASE = "/api/inference-store/v1"
MOMENT = "2026-01-31T12:00:00Z"
INFERENCE = {
    "model_id": "m",
    "inference_id": "i",
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "inference_action": "predict",
    "data_hash": "a" * 64,
    "version": "v2",
    "data_coordinates": {"latitude": 1.5, "longitude": 2.5},
    "metadata": [{"key": "k", "type": "int", "value": "1"}],
}
MODEL = {"model_id": "m", "created_at": MOMENT, "updated_at": MOMENT, "embedding_size": 0}
PROJECT = {"project_id": "p", "name": "P", "role": "admin"}
METADATA = {"key": "k", "type": "int", "value": "1"}
EXPORT = {"id": "e", "progress_count": 0, "expected_count": 1, "state": "pending"}
POLICY = {
    "id": "p",
    "model_id": "m",
    "delete_action": "soft",
    "maximum_record_age": 2,
    "maximum_blob_age": 1,
    "automated_interval": 0,
}
TASK = {
    "id": "t",
    "retention_policy_id": "p",
    "deleted_record_count": 0,
    "deleted_blob_count": 0,
    "total_record_count": 0,
    "total_blob_count": 0,
    "state": "pending",
    "maximum_record_age_limit": MOMENT,
    "maximum_blob_age_limit": MOMENT,
}
FOUND = {"inference_id": "i", "created_at": MOMENT, "reason": "record", "blob_count": 1, "blob_bytes": 9}

STANDARD = {
    "data_hash": "a" * 64,
    "data_size": 1,
    "task_type": "Image Classification",
    "inference_action": "predict",
}
COLLECTION = istore.NewInferenceAndMetadataCollection(
    image_classification=[{"label": "a"}],
    metadata=istore.NewMetadataCollectionRequest(standard_metadata=STANDARD),
)
SENT_COLLECTION = {
    "image_classification": [{"label": "a"}],
    "metadata": {"standard_metadata": STANDARD, "extended_metadata": []},
}
STORAGE = istore.NewInferenceStorageRequest(model_id="m", inference_id="i", data=COLLECTION)
SENT_STORAGE = {"model_id": "m", "inference_id": "i", "data": SENT_COLLECTION, "is_protected": False}
LABELLED = istore.BaseInferenceFilter(
    deconstructed_inference_filter=istore.DeconstructedInferenceFilter(labels=["cat"])
)
SENT_LABELLED = {"deconstructed_inference_filter": {"labels": ["cat"]}}

Case = tuple[Callable[[], Any], str, Any, Any, Any]
CASES: dict[str, Case] = {
    # function: (call, "METHOD target", body sent, body answered, value returned)
    "register_model_for_inference_storage": (
        lambda: istore.register_model_for_inference_storage(
            istore.NewRegisterModelRequest(
                model_id="m", project_id="p", task_type=istore.TaskType.TEXT_EMBEDDING, embedding_size=3
            )
        ),
        "POST /models",
        {"model_id": "m", "project_id": "p", "task_type": "Text Embedding", "embedding_size": 3},
        MODEL,
        "m",
    ),
    "get_registered_model": (
        lambda: istore.get_registered_model("m"),
        "GET /models/m",
        None,
        MODEL,
        istore.Model(**MODEL),
    ),
    "list_registered_models": (
        istore.list_registered_models,
        "GET /models",
        None,
        {"models": [MODEL]},
        [istore.Model(**MODEL)],
    ),
    "create_project": (
        lambda: istore.create_project("p", "P"),
        "POST /projects",
        {"project_id": "p", "name": "P"},
        PROJECT,
        istore.Project(**PROJECT),
    ),
    "list_projects": (
        istore.list_projects,
        "GET /projects",
        None,
        {"projects": [PROJECT]},
        [istore.Project(**PROJECT)],
    ),
    "create_inference": (
        lambda: istore.create_inference("m", STORAGE),
        "POST /models/m/inferences?embeddings=base64",
        SENT_STORAGE,
        INFERENCE,
        istore.Inference(**INFERENCE),
    ),
    "create_inference_from_upload": (
        lambda: istore.create_inference_from_upload("m", "i", "key", is_protected=True),
        "POST /models/m/create-from-upload",
        {"inference_id": "i", "metadata_storage_key": "key", "is_protected": True},
        INFERENCE,
        istore.Inference(**INFERENCE),
    ),
    "get_inference": (
        lambda: istore.get_inference("m", "i"),
        "GET /models/m/inferences/i?embeddings=base64",
        None,
        INFERENCE,
        istore.Inference(**INFERENCE),
    ),
    "get_inference presigned": (
        lambda: istore.get_inference("m", "i", presign=True),
        "GET /models/m/inferences/i?presign=true&embeddings=base64",
        None,
        INFERENCE | {"presigned_url": "http://x"},
        istore.Inference(**INFERENCE, presigned_url="http://x"),
    ),
    "filter_inferences": (
        lambda: istore.filter_inferences("m", istore.NewGetInferencesRequest(filters=LABELLED)),
        "POST /models/m/search",
        {"filters": SENT_LABELLED, "pagination": {"limit": 50}, "presign": False, "embeddings": "base64"},
        {"inferences": [INFERENCE], "next_cursor": None},
        [istore.Inference(**INFERENCE)],
    ),
    "map_cells": (
        lambda: istore.map_cells("m", istore.NewMapCellsRequest(zoom=4, viewport=istore.Viewport(south=1))),
        "POST /models/m/map-cells",
        {"filters": {}, "viewport": {"south": 1, "west": -180, "north": 90, "east": 180}, "zoom": 4},
        {"zoom": 4, "count": 0, "cells": [], "points": []},
        istore.MapCells(zoom=4, count=0, cells=[], points=[]),
    ),
    "filter_granular_inferences": (
        lambda: istore.filter_granular_inferences(
            "m",
            istore.NewGetInferencesRequest(
                pagination=istore.Pagination(sort="score", direction="desc", limit=2, offset=4)
            ),
        ),
        "POST /models/m/granular",
        {
            "filters": {},
            "pagination": {"direction": "desc", "limit": 2, "offset": 4, "sort": "score"},
            "presign": False,
            "embeddings": "base64",
        },
        {"granular_inferences": [{"position": 0, "label": "a", "inference": INFERENCE}]},
        [istore.GranularInference(position=0, label="a", inference=istore.Inference(**INFERENCE))],
    ),
    "count_inferences": (
        lambda: istore.count_inferences(
            "m",
            istore.NewGetInferencesRequest(filters=LABELLED, pagination=istore.Pagination(limit=1, offset=5)),
        ),
        "POST /models/m/count",
        {"filters": SENT_LABELLED, "presign": False},
        {"count": 7},
        7,
    ),
    "set_protection": (
        lambda: istore.set_protection("m", "i", True),
        "PUT /models/m/inferences/i/protection",
        {"is_protected": True},
        INFERENCE | {"is_protected": True},
        istore.Inference(**INFERENCE, is_protected=True),
    ),
    "set_protection_by_filter": (
        lambda: istore.set_protection_by_filter("m", LABELLED, False),
        "POST /models/m/protection",
        {"filters": SENT_LABELLED, "is_protected": False},
        {"changed_count": 3},
        3,
    ),
    "delete_inference": (
        lambda: istore.delete_inference("m", "i"),
        "DELETE /models/m/inferences/i",
        None,
        {"inference_id": "i"},
        "i",
    ),
    "bulk_delete_inferences": (
        lambda: istore.bulk_delete_inferences("m", LABELLED),
        "POST /models/m/bulk-delete",
        {"filters": SENT_LABELLED},
        {"inference_ids": ["a", "b"]},
        ["a", "b"],
    ),
    "create_metadata": (
        lambda: istore.create_metadata(
            "m", "i", istore.NewExtendedMetadataRequest(key="k", type=istore.MetadataType.INT, value="1")
        ),
        "POST /models/m/inferences/i/metadata",
        METADATA,
        METADATA,
        istore.Metadata(**METADATA),
    ),
    "get_metadata": (
        lambda: istore.get_metadata("m", "i"),
        "GET /models/m/inferences/i/metadata",
        None,
        {"metadata": [METADATA]},
        [istore.Metadata(**METADATA)],
    ),
    "delete_metadata": (
        lambda: istore.delete_metadata("m", "i", "a/b &ü"),
        "DELETE /models/m/inferences/i/metadata?key=a%2Fb+%26%C3%BC",
        None,
        {"key": "a/b &ü"},
        "a/b &ü",
    ),
    "get_metadata_key_type_counts": (
        lambda: istore.get_metadata_key_type_counts("m"),
        "GET /models/m/metadata-keys",
        None,
        {"counts": {"k": {"int": 1}}},
        istore.MetadataKeyTypeCounts(counts={"k": {"int": 1}}),
    ),
    "get_metadata_statistics": (
        lambda: istore.get_metadata_statistics(
            "m", istore.NewGetMetadataStatisticsRequest(key="k", type=istore.MetadataStatisticsType.FLOAT)
        ),
        "POST /models/m/metadata-statistics",
        {"key": "k", "type": "float"},
        {"count": 0, "distribution": {}},
        istore.MetadataStatistics(count=0, distribution={}),
    ),
    "upload_data": (
        lambda: istore.upload_data("m"),
        "POST /models/m/uploads/data",
        None,
        {"data_presigned_url": "http://x", "data_storage_key": "key"},
        istore.DataUpload(data_presigned_url="http://x", data_storage_key="key"),
    ),
    "upload_inference_and_metadata": (
        lambda: istore.upload_inference_and_metadata("m"),
        "POST /models/m/uploads/metadata",
        None,
        {"metadata_presigned_url": "http://x", "metadata_storage_key": "key"},
        istore.MetadataUpload(metadata_presigned_url="http://x", metadata_storage_key="key"),
    ),
    "create_export_task": (
        lambda: istore.create_export_task("m", istore.NewExportTaskRequest(exclude_inference_ids=["x"])),
        "POST /models/m/export-tasks",
        {
            "filters": {},
            "include_inference_ids": [],
            "exclude_inference_ids": ["x"],
            "include_inferences_as_annotations": False,
            "include_custom_metadata": False,
            "format": "archive",
        },
        EXPORT,
        istore.ExportTask(**EXPORT),
    ),
    "get_export_task": (
        lambda: istore.get_export_task("m", "e"),
        "GET /models/m/export-tasks/e",
        None,
        EXPORT,
        istore.ExportTask(**EXPORT),
    ),
    "list_export_tasks": (
        lambda: istore.list_export_tasks("m", offset=3),
        "GET /models/m/export-tasks?limit=50&offset=3",
        None,
        {"export_tasks": [EXPORT]},
        [istore.ExportTask(**EXPORT)],
    ),
    "stop_export_task": (
        lambda: istore.stop_export_task("m", "e"),
        "POST /models/m/export-tasks/e/stop",
        None,
        EXPORT,
        istore.ExportTask(**EXPORT),
    ),
    "create_retention_policy": (
        lambda: istore.create_retention_policy(
            "m",
            istore.NewRetentionPolicyRequest(automated_interval=0, maximum_record_age=2, maximum_blob_age=1),
        ),
        "POST /models/m/retention-policies",
        {"automated_interval": 0, "maximum_record_age": 2, "maximum_blob_age": 1, "delete_action": "soft"},
        POLICY,
        istore.RetentionPolicy(**POLICY),
    ),
    "get_retention_policy": (
        lambda: istore.get_retention_policy("m"),
        "GET /models/m/retention-policy",
        None,
        POLICY,
        istore.RetentionPolicy(**POLICY),
    ),
    "delete_retention_policy": (
        lambda: istore.delete_retention_policy("m", "p"),
        "DELETE /models/m/retention-policies/p",
        None,
        {"id": "p"},
        "p",
    ),
    "create_retention_task": (
        lambda: istore.create_retention_task(
            "m", istore.NewRetentionTaskRequest(dry_run=True, retention_policy_id="p")
        ),
        "POST /models/m/retention-tasks",
        {"dry_run": True, "retention_policy_id": "p"},
        TASK,
        istore.RetentionTask(**TASK),
    ),
    "get_retention_task": (
        lambda: istore.get_retention_task("m", "t"),
        "GET /models/m/retention-tasks/t",
        None,
        TASK,
        istore.RetentionTask(**TASK),
    ),
    "filter_retention_tasks": (
        lambda: istore.filter_retention_tasks(
            "m", istore.NewGetRetentionTasksRequest(state_filter=istore.RetentionTaskState.RUNNING)
        ),
        "POST /models/m/retention-tasks/filter",
        {"state_filter": "running", "pagination": {"limit": 50, "offset": 0}},
        {"retention_tasks": [TASK]},
        [istore.RetentionTask(**TASK)],
    ),
    "create_retention_task from a preview": (
        lambda: istore.create_retention_task(
            "m",
            istore.NewRetentionTaskRequest(dry_run=False, retention_policy_id="p", preview_task_id="d"),
        ),
        "POST /models/m/retention-tasks",
        {"dry_run": False, "retention_policy_id": "p", "preview_task_id": "d"},
        TASK,
        istore.RetentionTask(**TASK),
    ),
    "stop_retention_task": (
        lambda: istore.stop_retention_task("m", "t"),
        "POST /models/m/retention-tasks/t/stop",
        None,
        TASK,
        istore.RetentionTask(**TASK),
    ),
    "get_retention_preview": (
        lambda: istore.get_retention_preview("m", "t"),
        "GET /models/m/retention-tasks/t/preview?limit=1000",
        None,
        {"items": [FOUND], "next_cursor": None},
        [istore.RetentionPreviewItem(**FOUND)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_asks_and_reads_as_documented(store: ScriptedStore, name: str) -> None:
    call, target, sent, answered, returned = CASES[name]
    store.answers = [Answer(200, answered)]

    assert call() == returned
    (request,) = store.received
    method, path = target.split(" ", 1)
    assert (request.method, request.target) == (method, BASE + path)
    assert (request.json() if request.body else None) == sent
    assert request.headers.get("content-type") == ("application/json" if request.body else None)
