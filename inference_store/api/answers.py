"""Small answers that only this door gives."""

from inference_store.contract.base import ResponseModel
from inference_store.contract.metadata import Metadata


class DeletedInference(ResponseModel):
    """The id of the inference that was deleted."""

    inference_id: str


class DeletedMetadata(ResponseModel):
    """The key whose value was deleted."""

    key: str


class MetadataList(ResponseModel):
    """All metadata of one inference, by key."""

    metadata: list[Metadata]
