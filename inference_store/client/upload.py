"""Presigned URLs: where an input, or an encoded inference, is put before it is named."""

from urllib.parse import urljoin

import httpx

from inference_store.client.calls import call, refusal
from inference_store.client.connection import current
from inference_store.client.sending import send
from inference_store.contract.inferences import DataUpload, MetadataUpload

__all__ = ["put", "upload_data", "upload_inference_and_metadata"]


def upload_data(model_id: str) -> DataUpload | None:
    """Get a storage key for an inference's input, and the presigned URL to put it at.

    Args:
        model_id: The model id.

    Returns:
        The URL, good for one PUT, and the key to name when the inference is created.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(DataUpload, "POST", "models", model_id, "uploads", "data")


def upload_inference_and_metadata(model_id: str) -> MetadataUpload | None:
    """Get a storage key for an encoded NewInferenceAndMetadataCollection, and the presigned URL to put it at.

    Args:
        model_id: The model id.

    Returns:
        The URL, good for one PUT, and the key to name in `inference.create_inference_from_upload`.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(MetadataUpload, "POST", "models", model_id, "uploads", "metadata")


def put(presigned_url: str, data: str | bytes) -> None:
    """Put bytes at a presigned URL. The URL is its own permission: no token is sent there.

    Args:
        presigned_url: An URL that this module's functions gave.
        data: The bytes; a string is encoded as UTF-8.

    Raises:
        InferenceStoreError: the URL has expired or been used, or the data is too large.
    """
    connection = current()
    content = data.encode() if isinstance(data, str) else data
    url = urljoin(connection.settings.base_url, presigned_url)
    sent = send(connection.client.build_request("PUT", url, content=content), repeatable=True)
    # A key is written once: after an attempt whose answer was lost, 409 means that it had landed.
    landed = sent.maybe_done and sent.response.status_code == httpx.codes.CONFLICT
    if not (sent.response.is_success or landed):
        raise refusal(sent.response)
