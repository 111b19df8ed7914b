"""Inferences: stored, found, counted, protected and deleted."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from inference_store.client.calls import call, find, spelled
from inference_store.client.errors import InferenceStoreError
from inference_store.client.paging import granular_pages, inference_pages
from inference_store.client.tables import to_arrow, to_pandas
from inference_store.client.upload import put, upload_data
from inference_store.contract.base import ResponseModel
from inference_store.contract.filters import (
    DEFAULT_LIMIT,
    LARGEST_LIMIT,
    BaseInferenceFilter,
    NewGetInferencesRequest,
)
from inference_store.contract.inferences import (
    DeletedInferences,
    GranularInference,
    Inference,
    InferenceCount,
    NewBulkDeleteRequest,
    NewBulkProtectionRequest,
    NewInferenceAndMetadataCollection,
    NewInferenceFromUploadRequest,
    NewInferenceStorageRequest,
    NewProtectionRequest,
    ProtectedInferences,
    StoredInferences,
)
from inference_store.contract.map_cells import MapCells, NewMapCellsRequest

__all__ = [
    "bulk_delete_inferences",
    "count_inferences",
    "create_inference",
    "create_inference_from_upload",
    "create_inference_storage_request",
    "create_inferences",
    "delete_inference",
    "filter_granular_inferences",
    "filter_inferences",
    "get_inference",
    "iterate_inferences",
    "map_cells",
    "set_protection",
    "set_protection_by_filter",
    "to_arrow",
    "to_pandas",
]

# A quarter of what the store takes: a web process holds a request some ten times over while it stores it.
CHUNK_ITEMS = 2_500
CHUNK_BYTES = 8 * 2**20
CONNECTIONS = 2
"""Chunks on their way at once: one is read while another is stored. Each is memory of the store's."""
PACKED = {"embeddings": "base64"}
"""Answers then spell embeddings when somebody looks."""


def create_inference(model_id: str, request_body: NewInferenceStorageRequest) -> Inference | None:
    """Create a new inference; the same again returns the stored one.

    Args:
        model_id: The model id.
        request_body: The inference and metadata.

    Returns:
        The inference.

    Raises:
        InferenceStoreError: the store refused, 409 where the id is stored with other content.
    """
    return call(Inference, "POST", "models", model_id, "inferences", body=request_body, params=PACKED)


def create_inference_storage_request(
    model_id: str,
    inference_id: str,
    data: str | bytes | None,
    metadata: NewInferenceAndMetadataCollection,
    is_protected: bool = False,
    created_at: datetime | None = None,
) -> Inference | None:
    """Create an inference, after uploading the data inferred upon where there is any.

    Args:
        model_id: The model id.
        inference_id: The inference id.
        data: The data inferred upon; a string is stored as UTF-8.
        metadata: The inference and metadata.
        is_protected: Whether to protect it from deletion by retention policy.
        created_at: When it was made, to import history; without it the store's clock counts.

    Returns:
        The inference.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    request = NewInferenceStorageRequest(
        model_id=model_id,
        inference_id=inference_id,
        data=metadata,
        is_protected=is_protected,
        created_at=created_at,
    )
    if data is not None and (target := upload_data(model_id)) is not None:
        put(target.data_presigned_url, data)
        request = request.model_copy(update={"data_storage_key": target.data_storage_key})
    return create_inference(model_id, request)


def create_inference_from_upload(
    model_id: str,
    inference_id: str,
    metadata_storage_key: str,
    data_storage_key: str | None = None,
    is_protected: bool = False,
) -> Inference | None:
    """Create an inference from an uploaded, encoded NewInferenceAndMetadataCollection.

    Args:
        model_id: The model id.
        inference_id: The inference id.
        metadata_storage_key: The key that `upload.upload_inference_and_metadata` gave.
        data_storage_key: The key of the data inferred upon, that `upload.upload_data` gave.
        is_protected: Whether to protect it from deletion by retention policy.

    Returns:
        The inference.

    Raises:
        InferenceStoreError: the store refused, 400 where nothing was uploaded under a key.
    """
    request = NewInferenceFromUploadRequest(
        inference_id=inference_id,
        metadata_storage_key=metadata_storage_key,
        data_storage_key=data_storage_key,
        is_protected=is_protected,
    )
    return call(Inference, "POST", "models", model_id, "create-from-upload", body=request)


def create_inferences(
    model_id: str, requests: Iterable[NewInferenceStorageRequest], connections: int = CONNECTIONS
) -> list[str]:
    """Create many inferences, in chunks of which each is stored whole or not at all.

    While some chunks are on their way, the next one is spelled.

    Args:
        model_id: The model id.
        requests: The inferences and metadata; may be a generator of any length.
        connections: How many chunks may be on their way at once; with 1, each is stored before the next
            is sent.

    Returns:
        The inference ids, in order.

    Raises:
        InferenceStoreError: the store refused a chunk; a note on the error says how many items before it
            are stored, and whether some after it are. Sending them again is safe.
    """
    if connections < 1:
        raise ValueError("connections must be at least 1")
    stored: list[str] = []
    sent: deque[_Sent] = deque()
    with ThreadPoolExecutor(connections, "create_inferences") as threads:
        try:
            for chunk in _chunks(requests):
                if len(sent) == connections:
                    stored += _answered(sent, len(stored))
                sent.append(_Sent(chunk.items, threads.submit(_create_chunk, model_id, chunk.lines)))
            while sent:
                stored += _answered(sent, len(stored))
        finally:
            # What was not begun when a chunk failed never will be.
            threads.shutdown(cancel_futures=True)
    return stored


class _Chunk(NamedTuple):
    lines: bytes
    items: int


class _Sent(NamedTuple):
    items: int
    ids: "Future[list[str]]"


def _create_chunk(model_id: str, lines: bytes) -> list[str]:
    return call(StoredInferences, "POST", "models", model_id, "bulk-create", body=lines).inference_ids


def _answered(sent: deque[_Sent], before: int) -> list[str]:
    """The ids of the oldest chunk that was sent; where it was refused, what became of the others is told."""
    first = sent.popleft()
    try:
        return first.ids.result()
    except InferenceStoreError as error:
        note = f"{before} items before this chunk are stored; it counts its own from 0"
        after = [each.items for each in sent if not each.ids.cancel() and each.ids.exception() is None]
        error.add_note(f"{note}; {sum(after)} items after it are stored" if after else note)
        raise


def _chunks(requests: Iterable[NewInferenceStorageRequest]) -> Iterator[_Chunk]:
    """The requests as NDJSON, in pieces that the store takes."""
    lines: list[bytes] = []
    size = 0
    for request in requests:
        line = spelled(request) + b"\n"
        if lines and (len(lines) == CHUNK_ITEMS or size + len(line) > CHUNK_BYTES):
            yield _Chunk(b"".join(lines), len(lines))
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield _Chunk(b"".join(lines), len(lines))


def get_inference(model_id: str, inference_id: str, presign: bool = False) -> Inference | None:
    """Get details about a single inference.

    Args:
        model_id: The model id.
        inference_id: The inference id.
        presign: Whether to add a presigned URL to its input.

    Returns:
        The inference; None where there is none that one may see.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    params = {"presign": "true", **PACKED} if presign else PACKED
    return find(Inference, "GET", "models", model_id, "inferences", inference_id, params=params)


def filter_inferences(model_id: str, request_body: NewGetInferencesRequest) -> list[Inference]:
    """Get inferences for a model, optionally matching a series of filters.

    Args:
        model_id: The model id.
        request_body: The filter, order and part; without a limit the first 50. A limit above 1,000 is
            fetched in parts.

    Returns:
        The inferences that met the criteria.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    total = _limit(request_body) or DEFAULT_LIMIT
    return list(chain.from_iterable(inference_pages(model_id, request_body, total)))


def filter_granular_inferences(
    model_id: str, request_body: NewGetInferencesRequest
) -> list[GranularInference]:
    """Get one row per entry (label, score, geometry) of the inferences that match.

    Args:
        model_id: The model id.
        request_body: The filter, order (created_at, label or score) and part, as for filter_inferences.

    Returns:
        The entries, each with its inference.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    total = _limit(request_body) or DEFAULT_LIMIT
    return list(chain.from_iterable(granular_pages(model_id, request_body, total)))


def map_cells(model_id: str, request_body: NewMapCellsRequest) -> MapCells:
    """Get where the inferences that match are: counts by cell of a grid, and each one where they are few.

    Args:
        model_id: The model id.
        request_body: The filter, what of the globe is seen, and how closely.

    Returns:
        The cells that the viewport touches, and the inferences in them where they are 500 or fewer.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(MapCells, "POST", "models", model_id, "map-cells", body=request_body)


def iterate_inferences(
    model_id: str, request_body: NewGetInferencesRequest | None = None, page_size: int = 500
) -> Iterator[Inference]:
    """Go through all inferences that match, a page at a time, so that memory stays flat.

    Args:
        model_id: The model id.
        request_body: The filter and order; without it everything. A limit caps the total, an offset skips.
        page_size: How many to fetch at once, 1 to 1,000.

    Returns:
        The inferences, one after the other.

    Raises:
        InferenceStoreError: the store refused or could not be reached; raised while iterating.
        ValueError: the page size is out of bounds.
    """
    if not 1 <= page_size <= LARGEST_LIMIT:
        raise ValueError(f"page_size must be 1 to {LARGEST_LIMIT}")
    request = request_body or NewGetInferencesRequest()
    return chain.from_iterable(inference_pages(model_id, request, _limit(request), page_size))


def _limit(request: NewGetInferencesRequest) -> int | None:
    return request.pagination.limit if request.pagination else None


def count_inferences(model_id: str, request_body: NewGetInferencesRequest) -> int:
    """Get the count of all inferences for a model, optionally matching a series of filters.

    Args:
        model_id: The model id.
        request_body: The filter; its pagination is ignored.

    Returns:
        The record count.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    request = request_body.model_copy(update={"pagination": None})
    return call(InferenceCount, "POST", "models", model_id, "count", body=request).count


def set_protection(model_id: str, inference_id: str, is_protected: bool) -> Inference:
    """Protect an inference from deletion by retention policy, or lift that. Once answered, it holds.

    Args:
        model_id: The model id.
        inference_id: The inference id.
        is_protected: Whether it is protected from now on.

    Returns:
        The inference.

    Raises:
        InferenceStoreError: the store refused, 404 where there is no such inference.
    """
    request = NewProtectionRequest(is_protected=is_protected)
    return call(Inference, "PUT", "models", model_id, "inferences", inference_id, "protection", body=request)


def set_protection_by_filter(model_id: str, filter_: BaseInferenceFilter, is_protected: bool) -> int:
    """Protect everything that a filter matches from deletion by retention policy, or lift that.

    Args:
        model_id: The model id.
        filter_: A filter describing which inferences; one with nothing set means all.
        is_protected: Whether they are protected from now on.

    Returns:
        How many inferences this changed.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    request = NewBulkProtectionRequest(filters=filter_, is_protected=is_protected)
    return call(ProtectedInferences, "POST", "models", model_id, "protection", body=request).changed_count


def delete_inference(model_id: str, inference_id: str) -> str | None:
    """Delete an inference, its input and all associated metadata for good, protected or not.

    Args:
        model_id: The model id.
        inference_id: The inference id.

    Returns:
        The deleted inference id; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    path = ("models", model_id, "inferences", inference_id)
    deleted = find(ResponseModel, "DELETE", *path, repeatable=False)
    return None if deleted is None else inference_id


def bulk_delete_inferences(model_id: str, filter_: BaseInferenceFilter) -> list[str | None]:
    """Delete inferences, their inputs and all associated metadata for good, protected or not.

    For example, all inferences of a given snapshot::

        istore.bulk_delete_inferences(
            MY_MODEL_ID,
            istore.BaseInferenceFilter(
                metadata_filter=[
                    istore.MetadataFilter(
                        key="dataset_snapshot_id",
                        type=istore.MetadataFilterType.STRING,
                        operator=istore.MetadataFilterOperator.EQUAL,
                        value=MY_SNAPSHOT_ID,
                    ),
                ]
            ),
        )

    Args:
        model_id: The model id.
        filter_: A filter describing which inferences to delete; one with nothing set means all.

    Returns:
        The deleted inference ids.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    request = NewBulkDeleteRequest(filters=filter_)
    path = ("models", model_id, "bulk-delete")
    return call(DeletedInferences, "POST", *path, body=request, repeatable=False).inference_ids
