"""Metadata of an inference, and statistics over a model's."""

from pydantic import TypeAdapter, ValidationError
from rest_framework.request import Request

from inference_store.api.answers import DeletedMetadata, MetadataList
from inference_store.api.inferences import no_inference
from inference_store.api.operations import Answer, StoreView, operation, parameter
from inference_store.contract.base import Key
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.contract.metadata import (
    Metadata,
    MetadataKeyTypeCounts,
    MetadataStatistics,
    NewExtendedMetadataRequest,
    NewGetMetadataStatisticsRequest,
)
from inference_store.models import RegisteredModel, Role
from inference_store.query import pages, statistics
from inference_store.services import metadata

_key: TypeAdapter[str] = TypeAdapter(Key)


class InferenceMetadata(StoreView):
    @operation(
        "get_metadata",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        gives=MetadataList,
        summary="Get metadata",
        tag="metadata",
    )
    def get(self, request: Request, model: RegisteredModel, inference_id: str) -> Answer:
        """All metadata of an inference."""
        found = pages.metadata_of(model, inference_id)
        if found is None:
            raise no_inference(inference_id)
        return MetadataList.model_construct(metadata=found)

    @operation(
        "create_metadata",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        takes=NewExtendedMetadataRequest,
        gives=Metadata,
        summary="Set metadata",
        tag="metadata",
    )
    def post(
        self, request: Request, model: RegisteredModel, inference_id: str, body: NewExtendedMetadataRequest
    ) -> Answer:
        """Attach a value; one that the key has already is replaced."""
        return metadata.put_metadata(model=model, inference_id=inference_id, request=body)

    @operation(
        "delete_metadata",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        query=[parameter("key", "The key to delete.", {"type": "string", "minLength": 1}, required=True)],
        gives=DeletedMetadata,
        summary="Delete metadata",
        tag="metadata",
    )
    def delete(self, request: Request, model: RegisteredModel, inference_id: str) -> Answer:
        """Delete the value of one key."""
        given = request.query_params.getlist("key")
        if len(given) != 1:
            raise Refusal.invalid("key", "give one query parameter key")
        try:
            key = _key.validate_python(given[0])
        except ValidationError as error:
            raise Refusal.invalid("key", error.errors()[0]["msg"]) from None
        return DeletedMetadata(key=metadata.delete_metadata(model=model, inference_id=inference_id, key=key))


class MetadataKeys(StoreView):
    @operation(
        "get_metadata_key_type_counts",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        gives=MetadataKeyTypeCounts,
        summary="Count metadata keys",
        tag="metadata",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """How many of the model's inferences hold each key, by type."""
        return statistics.key_type_counts(model)


class Statistics(StoreView):
    @operation(
        "get_metadata_statistics",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        takes=NewGetMetadataStatisticsRequest,
        gives=MetadataStatistics,
        summary="Get the distribution of a metadata key",
        tag="metadata",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewGetMetadataStatisticsRequest) -> Answer:
        """A histogram of numbers, or the most frequent strings, under the filters."""
        return statistics.metadata_statistics(model, body)
