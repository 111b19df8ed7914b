"""An inference as it is sent and as it comes back; models, uploads."""

import json
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from inference_store.contract.base import (
    STOP_AT_FIRST,
    Float32,
    ForeignEnum,
    Identifier,
    Json,
    RequestModel,
    ResponseModel,
    Text,
    storable_json,
)
from inference_store.contract.entries import GEOMETRY_OF_LIST, Entry, read_entries
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import LARGEST_EMBEDDING, BaseInferenceFilter, GeoPoint
from inference_store.contract.metadata import Metadata, NewMetadataCollectionRequest

LARGEST_BULK = 10_000
"""Items in one bulk request."""

LIST_OF_TASK: dict[TaskType, str] = {
    TaskType.IMAGE_CLASSIFICATION: "image_classification",
    TaskType.OBJECT_DETECTION: "object_detection",
    TaskType.ORIENTED_OBJECT_DETECTION: "oriented_object_detection",
    TaskType.IMAGE_SEGMENTATION: "image_segmentation",
}

StandardizedList = Annotated[list[dict[str, Any]], STOP_AT_FIRST, AfterValidator(storable_json)]


class NewInferenceAndMetadataCollection(RequestModel):
    """An inference in the standardized form of its task, its embedding, and its metadata.

    Additional: `inference`, any JSON, the model's native answer where there is neither list nor embedding;
    `created_at`, which imports history.
    """

    image_classification: StandardizedList | None = None
    object_detection: StandardizedList | None = None
    image_segmentation: StandardizedList | None = None
    oriented_object_detection: StandardizedList | None = None
    embedding: Annotated[list[Float32], Field(max_length=LARGEST_EMBEDDING), STOP_AT_FIRST] | None = None
    metadata: NewMetadataCollectionRequest
    inference: Json | None = None
    created_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _entries_read(self) -> Self:
        given = [name for name in GEOMETRY_OF_LIST if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one standardized list, not {' and '.join(given)}")
        _ = self.entries
        return self

    @property
    def list_name(self) -> str | None:
        """The name of the standardized list that was given (an empty one counts), else None."""
        return next((name for name in GEOMETRY_OF_LIST if getattr(self, name) is not None), None)

    @cached_property
    def entries(self) -> list[Entry]:
        name = self.list_name
        return [] if name is None else read_entries(name, getattr(self, name))

    def encode(self) -> bytes:
        """As UTF-8 JSON bytes, ready to be PUT where `upload_inference_and_metadata` says."""
        return self.model_dump_json(exclude_none=True).encode()


class NewInferenceStorageRequest(RequestModel):
    """An inference to store. Additional: `created_at` (not in the future) imports history."""

    model_id: Identifier
    inference_id: Identifier
    data: NewInferenceAndMetadataCollection
    data_storage_key: Text | None = None
    is_protected: bool = False
    created_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.created_at and self.data.created_at and self.created_at != self.data.created_at:
            raise ValueError("created_at differs from the created_at of data")
        return self


class NewInferenceFromUploadRequest(RequestModel):
    """An inference to store from an uploaded, encoded NewInferenceAndMetadataCollection."""

    inference_id: Identifier
    metadata_storage_key: Text
    data_storage_key: Text | None = None
    is_protected: bool = False


class NewProtectionRequest(RequestModel):
    """Protection from deletion by retention, to be set or lifted."""

    is_protected: bool


class NewBulkProtectionRequest(RequestModel):
    """Protection to be set or lifted on everything that a filter matches."""

    filters: BaseInferenceFilter
    is_protected: bool


class NewBulkDeleteRequest(RequestModel):
    """A filter describing which inferences to delete."""

    filters: BaseInferenceFilter


class Inference(ResponseModel):
    """A stored inference. `embedding` (additional): the embedding where `data` is a standardized list."""

    model_id: str
    inference_id: str
    created_at: datetime
    updated_at: datetime
    inference_action: str
    data: str | None = None
    embedding_distance: float | None = None
    metadata: list[Metadata] | None = None
    data_hash: str
    data_source: str | None = None
    data_coordinates: GeoPoint | None = None
    data_storage_key: str | None = None
    presigned_url: str | None = None
    is_protected: bool = False
    version: str
    embedding: list[float] | None = None

    @property
    def structured_embedding(self) -> list[int | float] | None:
        """The embedding as numbers; None where there is none."""
        try:
            value: Any = json.loads(self.data or "null")
        except ValueError:
            value = None
        # An empty standardized list is no embedding, where an embedding came beside it.
        given = isinstance(value, list) and (bool(value) or self.embedding is None)
        if given and all(type(item) in (int, float) for item in value):
            return list(value)
        return list(self.embedding) if self.embedding is not None else None


class InferencePage(ResponseModel):
    """A page of inferences and the cursor after it, None at the end."""

    inferences: list[Inference]
    next_cursor: str | None = None


class GranularInference(ResponseModel):
    """One entry of an inference: position in its list, label, score, geometry, and the inference."""

    position: int
    label: str
    score: float | None = None
    geometry: dict[str, Any] | None = None
    inference: Inference


class GranularInferencePage(ResponseModel):
    """A page of entries and the cursor after it, None at the end."""

    granular_inferences: list[GranularInference]
    next_cursor: str | None = None


class InferenceCount(ResponseModel):
    """How many inferences match."""

    count: int


class StoredInferences(ResponseModel):
    """What a bulk request stored: all its ids in its order, and how many of them were new."""

    inference_ids: list[str]
    created_count: int


class DeletedInferences(ResponseModel):
    """The ids that were deleted."""

    inference_ids: list[str | None]


class ProtectedInferences(ResponseModel):
    """How many inferences a protection by filter changed."""

    changed_count: int


class NewRegisterModelRequest(RequestModel):
    """A model to register for inference storage; `embedding_size` 0 means that it has no embeddings."""

    model_id: Identifier
    project_id: Identifier
    task_type: Annotated[TaskType, ForeignEnum]
    embedding_size: Annotated[int, Field(ge=0, le=LARGEST_EMBEDDING)] = 0


class Model(ResponseModel):
    """A registered model. Additional: its project and task type."""

    model_id: str
    created_at: datetime
    updated_at: datetime
    embedding_size: int
    project_id: str | None = None
    task_type: str | None = None


class ModelList(ResponseModel):
    """The registered models one may see."""

    models: list[Model]


class NewProjectRequest(RequestModel):
    """A project to create, whose creator becomes its admin."""

    project_id: Identifier
    name: Text | None = None


class Project(ResponseModel):
    """A project one may see, and one's role in it: viewer, editor or admin."""

    project_id: str
    name: str
    role: str


class ProjectList(ResponseModel):
    """The projects one may see."""

    projects: list[Project]


class DataUpload(ResponseModel):
    """Where to PUT the inference input, once, and the key to name afterwards."""

    data_presigned_url: str
    data_storage_key: str


class MetadataUpload(ResponseModel):
    """Where to PUT the encoded inference and metadata, once, and the key to name afterwards."""

    metadata_presigned_url: str
    metadata_storage_key: str
