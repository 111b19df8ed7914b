"""An inference as it is sent and as it comes back; models, uploads."""

import json
from array import array
from collections.abc import Generator, Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import to_json

from inference_store.contract.base import (
    STOP_AT_FIRST,
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
from inference_store.contract.vectors import Vector, shortest, unpacked

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

    `embedding` may be an array of numpy too, and base64 (contract/vectors.py).
    Additional: `inference`, any JSON, the model's native answer where there is neither list nor embedding;
    `created_at`, which imports history.
    """

    image_classification: StandardizedList | None = None
    object_detection: StandardizedList | None = None
    image_segmentation: StandardizedList | None = None
    oriented_object_detection: StandardizedList | None = None
    embedding: Vector | None = None
    metadata: NewMetadataCollectionRequest
    inference: Json | None = None
    created_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _entries_read(self) -> Self:
        given = [name for name in GEOMETRY_OF_LIST if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one standardized list, not {' and '.join(given)}")
        # Where the properties will find them: their own way there takes a lock.
        name = self.__dict__["list_name"] = given[0] if given else None
        self.__dict__["entries"] = [] if name is None else read_entries(name, getattr(self, name))
        return self

    @cached_property
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
    """A stored inference. `embedding` (additional): the embedding where `data` is a standardized list.

    `packed_embedding` (additional): the embedding as base64 of float32, where it was asked for so; `data` and
    `embedding` are then spelt from it when somebody looks.
    """

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
    packed_embedding: Annotated[str | None, Field(exclude=True, repr=False)] = None

    @model_validator(mode="after")
    def _spell_later(self) -> Self:
        if self.packed_embedding is not None:
            # What is not there is asked of __getattr__.
            del self.__dict__["embedding"]
            if self.__dict__["data"] is None:
                del self.__dict__["data"]
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("data", "embedding") and "embedding" not in self.__dict__:
                self._spell()
                return self.__dict__[name]
            return super().__getattr__(name)

    def _spell(self) -> None:
        """Spell `data` and `embedding` from the packed embedding, unless they are spelt."""
        held = self.__dict__
        if "embedding" in held:
            return
        found = shortest(unpacked(held["packed_embedding"]))
        spelt = {**held, "embedding": found} if "data" in held else {"data": to_json(found).decode()}
        whole: dict[str, Any] = {"embedding": None, **held, **spelt, "packed_embedding": None}
        self.__dict__.clear()
        self.__dict__.update({name: whole[name] for name in type(self).model_fields})

    def __eq__(self, other: object) -> bool:
        self._spell()
        if isinstance(other, Inference):
            other._spell()
        return super().__eq__(other)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        self._spell()
        return super().__repr_args__()

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        self._spell()
        return super().__iter__()

    @model_serializer(mode="wrap")
    def _whole(self, spell: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        self._spell()
        return spell(self)

    @property
    def float32_embedding(self) -> "array[float] | None":
        """The embedding as float32; None where there is none."""
        if self.packed_embedding is not None:
            return unpacked(self.packed_embedding)
        found = self.structured_embedding
        return None if found is None else array("f", found)

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
