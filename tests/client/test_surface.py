"""The SDK's surface, written down as the reference has it: names, order, defaults, values.

What is additional may follow a reference's parameters and fields, and only with a default.
"""

import inspect
import subprocess
import sys
from enum import Enum
from importlib import import_module
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from inference_store import client as istore
from inference_store.client import models

REQUIRED = object()

# --- module -> function -> parameters: a name is required, a pair has a default ----------------------------
FUNCTIONS: dict[str, dict[str, list[Any]]] = {
    "export_task": {
        "create_export_task": ["model_id", "request_body"],
        "get_export_task": ["model_id", "export_task_id"],
    },
    "inference": {
        "bulk_delete_inferences": ["model_id", "filter_"],
        "count_inferences": ["model_id", "request_body"],
        "create_inference": ["model_id", "request_body"],
        "create_inference_storage_request": [
            "model_id",
            "inference_id",
            "data",
            "metadata",
            ("is_protected", False),
        ],
        "delete_inference": ["model_id", "inference_id"],
        "filter_inferences": ["model_id", "request_body"],
        "get_inference": ["model_id", "inference_id"],
    },
    "metadata": {
        "create_metadata": ["model_id", "inference_id", "request_body"],
        "delete_metadata": ["model_id", "inference_id", "key"],
        "get_data_hash": ["data"],
        "get_metadata": ["model_id", "inference_id"],
        "get_metadata_key_type_counts": ["model_id"],
        "get_metadata_statistics": ["model_id", "request_body"],
        "map_to_inference_store_metadata": ["data"],
    },
    "register": {
        "get_registered_model": ["model_id"],
        "register_model_for_inference_storage": ["request_body"],
    },
    "retention_policy": {
        "create_retention_policy": ["model_id", "request_body"],
        "delete_retention_policy": ["model_id", "retention_policy_id"],
        "get_retention_policy": ["model_id"],
    },
    "retention_task": {
        "create_retention_task": ["model_id", "request_body"],
        "filter_retention_tasks": ["model_id", "request_body"],
        "get_retention_task": ["model_id", "retention_task_id"],
    },
    "upload": {
        "upload_data": ["model_id"],
        "upload_inference_and_metadata": ["model_id"],
    },
}
WAITING = [("timeout", None), ("interval", 0.5), ("progress", True)]
ADDITIONAL_FUNCTIONS: dict[str, dict[str, list[Any]]] = {
    "export_task": {
        "download_export": ["model_id", "export_task_id", "path"],
        "list_export_tasks": ["model_id", ("limit", 50), ("offset", 0)],
        "stop_export_task": ["model_id", "export_task_id"],
        "wait_for_export": ["model_id", "export_task_id", *WAITING],
    },
    "inference": {
        "create_inference_from_upload": [
            "model_id",
            "inference_id",
            "metadata_storage_key",
            ("data_storage_key", None),
            ("is_protected", False),
        ],
        "create_inference_storage_request": [
            "model_id",
            "inference_id",
            "data",
            "metadata",
            ("is_protected", False),
            ("created_at", None),
        ],
        "create_inferences": ["model_id", "requests", ("connections", 2)],
        "filter_granular_inferences": ["model_id", "request_body"],
        "get_inference": ["model_id", "inference_id", ("presign", False)],
        "iterate_inferences": ["model_id", ("request_body", None), ("page_size", 500)],
        "map_cells": ["model_id", "request_body"],
        "set_protection": ["model_id", "inference_id", "is_protected"],
        "set_protection_by_filter": ["model_id", "filter_", "is_protected"],
        "to_arrow": ["model_id", ("request_body", None)],
        "to_pandas": ["model_id", ("request_body", None)],
    },
    "register": {
        "create_project": ["project_id", ("name", None)],
        "list_projects": [],
        "list_registered_models": [],
    },
    "retention_task": {
        "get_retention_preview": ["model_id", "retention_task_id"],
        "iterate_retention_preview": ["model_id", "retention_task_id"],
        "stop_retention_task": ["model_id", "retention_task_id"],
        "wait_for_retention": ["model_id", "retention_task_id", *WAITING],
    },
    "upload": {"put": ["presigned_url", "data"]},
    "verification": {"check_archive": ["path"], "verify_archive": ["path"]},
}

# --- model -> fields: a name is required, a pair has a default ---------------------------------------------
NO_FILTER = models.BaseInferenceFilter()
MODELS: dict[str, list[Any]] = {
    "BaseInferenceFilter": [
        ("inference_action_filter", None),
        ("data_hash_filter", None),
        ("data_source_filter", None),
        ("time_window_filter", None),
        ("metadata_filter", None),
        ("location_filter", None),
        ("deconstructed_inference_filter", None),
    ],
    "DataUpload": ["data_presigned_url", "data_storage_key"],
    "DeconstructedInferenceFilter": [("labels", None), ("minimum_score", None), ("maximum_score", None)],
    "EmbeddingFilter": ["query_embedding", ("distance_metric", models.EmbeddingDistanceMetric.COSINE)],
    "ExportTask": ["id", "progress_count", "expected_count", "state", ("presigned_url", None)],
    "GeoCircle": ["center", "radius"],
    "GeoPoint": ["latitude", "longitude"],
    "GeoRectangle": ["p1", "p2"],
    "GeolocationFilter": [("gps_coordinates_circle", None), ("gps_coordinates_rectangle", None)],
    "Inference": [
        "model_id",
        "inference_id",
        "created_at",
        "updated_at",
        "inference_action",
        ("data", None),
        ("embedding_distance", None),
        ("metadata", None),
        "data_hash",
        ("data_source", None),
        ("data_coordinates", None),
        ("data_storage_key", None),
        ("presigned_url", None),
        ("is_protected", False),
        "version",
    ],
    "Metadata": ["key", "type", "value"],
    "MetadataFilter": ["key", "operator", "type", "value"],
    "MetadataKeyTypeCounts": ["counts"],
    "MetadataStatistics": [("count", None), ("distribution", None), ("min", None), ("max", None)],
    "MetadataUpload": ["metadata_presigned_url", "metadata_storage_key"],
    "Model": ["model_id", "created_at", "updated_at", "embedding_size"],
    "NewExportTaskRequest": [
        ("filters", NO_FILTER),
        ("include_inference_ids", []),
        ("exclude_inference_ids", []),
        ("include_inferences_as_annotations", False),
        ("include_custom_metadata", False),
    ],
    "NewExtendedMetadataRequest": ["key", "type", "value"],
    "NewGetInferencesRequest": [
        ("filters", NO_FILTER),
        ("embedding_filters", None),
        ("pagination", None),
        ("presign", False),
    ],
    "NewGetMetadataStatisticsRequest": [
        ("filters", None),
        "key",
        "type",
        ("distribution_bin_count", None),
        ("distribution_bin_width", None),
        ("distribution_maximum_value", None),
        ("distribution_minimum_value", None),
    ],
    "NewGetRetentionTasksRequest": [
        ("retention_policy_id", None),
        ("state_filter", None),
        ("time_window_filter", None),
        ("pagination", None),
    ],
    "NewInferenceAndMetadataCollection": [
        ("image_classification", None),
        ("object_detection", None),
        ("image_segmentation", None),
        ("oriented_object_detection", None),
        ("embedding", None),
        "metadata",
    ],
    "NewInferenceStorageRequest": [
        "model_id",
        "inference_id",
        "data",
        ("data_storage_key", None),
        ("is_protected", False),
    ],
    "NewMetadataCollectionRequest": ["standard_metadata", ("extended_metadata", [])],
    "NewRegisterModelRequest": ["model_id", "project_id", "task_type", ("embedding_size", 0)],
    "NewRetentionPolicyRequest": [
        "automated_interval",
        "maximum_record_age",
        "maximum_blob_age",
        ("delete_action", models.DeleteAction.SOFT),
    ],
    "NewRetentionTaskRequest": ["dry_run", "retention_policy_id"],
    "NewStandardMetadataRequest": [
        "data_hash",
        "data_size",
        "task_type",
        "inference_action",
        ("data_source", None),
        ("latitude", None),
        ("longitude", None),
    ],
    "Pagination": [("direction", None), ("limit", None), ("offset", None), ("sort", None)],
    "RetentionPolicy": [
        "id",
        "model_id",
        "delete_action",
        "maximum_record_age",
        "maximum_blob_age",
        ("automated_interval", None),
        ("last_scheduled_at", None),
    ],
    "RetentionTask": [
        "id",
        "retention_policy_id",
        "deleted_record_count",
        "deleted_blob_count",
        "total_record_count",
        "total_blob_count",
        "state",
        "maximum_record_age_limit",
        "maximum_blob_age_limit",
    ],
    "TimeWindowFilter": [("start", None), ("end", None)],
}

ADDITIONAL_MODELS = [
    "Entry",
    "ExportFormat",
    "GranularInference",
    "Manifest",
    "ManifestMember",
    "MapCell",
    "MapCells",
    "MapPoint",
    "NewMapCellsRequest",
    "Project",
    "RetentionPreviewItem",
    "RetentionReason",
    "Viewport",
]

# --- enumeration -> name: value ----------------------------------------------------------------------------
ENUMS: dict[str, dict[str, str]] = {
    "DeleteAction": {"HARD": "hard", "SOFT": "soft"},
    "EmbeddingDistanceMetric": {
        "COSINE": "cosine",
        "L2": "l2",
        "NEGATIVE_DOT_PRODUCT": "negative_dot_product",
    },
    "InferenceAction": {
        "DETECT": "detect",
        "EMBED": "embed",
        "PREDICT": "predict",
        "PREDICT_PROBA": "predict_proba",
    },
    "MetadataFilterOperator": {
        "EQUAL": "=",
        "GREATER": ">",
        "GREATER_OR_EQUAL": ">=",
        "IN": "in",
        "LESS": "<",
        "LESS_OR_EQUAL": "<=",
        "NOT_EQUAL": "!=",
    },
    "MetadataFilterType": {
        "FLOAT": "float",
        "INT": "int",
        "JSON_FLOAT": "json.float",
        "JSON_INT": "json.int",
        "JSON_STRING": "json.string",
        "STRING": "string",
    },
    "MetadataStatisticsType": {"FLOAT": "float", "INT": "int", "STRING": "string"},
    "MetadataType": {"FLOAT": "float", "INT": "int", "JSON": "json", "STRING": "string"},
    "PaginationEmbeddingSortField": {"CREATED_AT": "created_at", "EMBEDDING_DISTANCE": "embedding_distance"},
    "PaginationGranularInferenceSortField": {"CREATED_AT": "created_at", "LABEL": "label", "SCORE": "score"},
    "PaginationSortDirection": {"ASCENDING": "asc", "DESCENDING": "desc"},
    "PaginationSortField": {"CREATED_AT": "created_at"},
    "RetentionTaskState": {
        "COMPLETE": "complete",
        "FAILED": "failed",
        "PENDING": "pending",
        "RUNNING": "running",
        "SCHEDULED": "scheduled",
        "STOPPED": "stopped",
    },
    "TaskType": {
        "IMAGE_CLASSIFICATION": "Image Classification",
        "IMAGE_EMBEDDING": "Image Embedding",
        "IMAGE_SEGMENTATION": "Image Segmentation",
        "OBJECT_DETECTION": "Object Detection",
        "ORIENTED_OBJECT_DETECTION": "Oriented Object Detection",
        "TEXT_EMBEDDING": "Text Embedding",
    },
}


def pairs(listed: list[Any]) -> list[tuple[str, Any]]:
    return [item if isinstance(item, tuple) else (item, REQUIRED) for item in listed]


def parameters(function: Any) -> list[tuple[str, Any]]:
    found = inspect.signature(function).parameters.values()
    # Only what says how to wait must be given by name.
    assert all(
        each.kind
        is (each.KEYWORD_ONLY if (each.name, each.default) in WAITING else each.POSITIONAL_OR_KEYWORD)
        for each in found
    )
    return [
        (each.name, REQUIRED if each.default is inspect.Parameter.empty else each.default) for each in found
    ]


def fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [
        (
            name,
            REQUIRED
            if (default := field.get_default(call_default_factory=True)) is PydanticUndefined
            else default,
        )
        for name, field in model.model_fields.items()
    ]


def every(table: dict[str, dict[str, list[Any]]]) -> list[tuple[str, str, list[Any]]]:
    return [(module, name, listed) for module, names in table.items() for name, listed in names.items()]


@pytest.mark.parametrize(("module", "name", "listed"), every(FUNCTIONS))
def test_a_function_has_the_references_parameters(module: str, name: str, listed: list[Any]) -> None:
    function = getattr(import_module(f"inference_store.client.{module}"), name)
    found, wanted = parameters(function), pairs(listed)
    assert found[: len(wanted)] == wanted
    assert all(default is not REQUIRED for _, default in found[len(wanted) :])
    assert getattr(istore, name) is function


@pytest.mark.parametrize(("module", "name", "listed"), every(ADDITIONAL_FUNCTIONS))
def test_an_additional_function_is_as_promised(module: str, name: str, listed: list[Any]) -> None:
    function = getattr(import_module(f"inference_store.client.{module}"), name)
    assert parameters(function) == pairs(listed)
    assert getattr(istore, name) is function


def test_no_function_is_left_unwritten() -> None:
    for module in FUNCTIONS:
        promised = {*FUNCTIONS[module], *ADDITIONAL_FUNCTIONS.get(module, {})}
        assert set(import_module(f"inference_store.client.{module}").__all__) == promised


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_references_fields(name: str) -> None:
    found, wanted = fields(getattr(models, name)), pairs(MODELS[name])
    assert found[: len(wanted)] == wanted
    assert all(default is not REQUIRED for _, default in found[len(wanted) :])
    assert getattr(istore, name) is getattr(models, name)


@pytest.mark.parametrize("name", ENUMS)
def test_an_enumeration_has_the_references_values(name: str) -> None:
    enumeration = getattr(models, name)
    assert issubclass(enumeration, str)
    assert issubclass(enumeration, Enum)
    assert {member.name: member.value for member in enumeration} == ENUMS[name]
    assert getattr(istore, name) is enumeration


def test_the_models_module_lists_what_it_has() -> None:
    assert {*MODELS, *ENUMS, *ADDITIONAL_MODELS} == set(models.__all__)
    assert all(getattr(istore, name) is getattr(models, name) for name in ADDITIONAL_MODELS)


def test_methods_of_the_reference() -> None:
    assert isinstance(models.Inference.structured_embedding, property)
    form = models.MetadataFilter.form_values_for_in_operator
    assert [name for name, _ in parameters(form)] == ["values_type", "values"]
    assert callable(models.NewInferenceAndMetadataCollection.encode)
    assert callable(models.NewMetadataCollectionRequest.encode)


@pytest.mark.parametrize("name", [*FUNCTIONS, "models"])
def test_a_module_of_the_reference_stays_a_module(name: str) -> None:
    assert inspect.ismodule(getattr(istore, name))


@pytest.mark.parametrize("name", sorted({name for name in MODELS if name.startswith("New")} | {"Pagination"}))
def test_a_request_refuses_a_keyword_that_it_does_not_know(name: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        getattr(models, name)(misspelt=1)


def test_every_public_function_says_what_it_does() -> None:
    for table in (FUNCTIONS, ADDITIONAL_FUNCTIONS):
        for module, name, _ in every(table):
            doc = inspect.getdoc(getattr(import_module(f"inference_store.client.{module}"), name))
            assert doc, name
            assert "Raises:" in doc or name == "get_data_hash", name


def test_importing_it_loads_neither_django_nor_tables() -> None:
    script = (
        "import sys, inference_store.client\n"
        "heavy = {'django', 'rest_framework', 'numpy', 'pandas', 'pyarrow', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # -I: neither the working directory's modules nor an outer PYTHONPATH may help.
    root = str(import_module("inference_store").__path__[0]).rsplit("/", 1)[0]
    script = f"import sys; sys.path.insert(0, {root!r})\n" + script
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
