"""What an inference is in the tables: its row, its entries and its embedding, written by COPY."""

from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from django.db import connection
from pydantic_core import to_json

from inference_store.contract.inferences import NewInferenceAndMetadataCollection, NewInferenceStorageRequest
from inference_store.models import Embedding, Entry, Inference, RegisteredModel
from inference_store.query.embeddings import Vector, spelled
from inference_store.services.slots import FilledSlots

ROW_COLUMNS = (
    *("latitude", "longitude", "data_size", "version", "has_list", "is_protected", "inference_id", "action"),
    *("data_source", "data_hash", "content_digest", "metadata", "data"),
)
"""What `row` gives, in its order."""
GIVEN_BY_STORE = ("id", "created_at", "updated_at", "registered_model_id", "data_storage_key")
ENTRY_COLUMNS = "inference_id, score, registered_model_id, position, label, geometry"

Metadata = dict[str, dict[str, Any]]


def given_time(request: NewInferenceStorageRequest) -> datetime | None:
    """The created_at of an imported inference, in UTC."""
    given = request.created_at or request.data.created_at
    return given.astimezone(UTC) if given else None


def metadata_of(collection: NewInferenceAndMetadataCollection) -> Metadata:
    """The metadata as they are kept: by type, then key."""
    held: Metadata = {}
    for item in collection.metadata.extended_metadata:
        held.setdefault(str(item.type), {})[item.key] = item.parsed_value
    return held


def float32(vector: Sequence[float] | Vector) -> Vector:
    """The vector as it is kept."""
    return np.asarray(np.frombuffer(vector, vector.typecode) if isinstance(vector, array) else vector, "f4")


def canonical(vector: Sequence[float]) -> bytes:
    """The numbers as JSON, the same whatever form they came in."""
    if not isinstance(vector, array):
        return orjson.dumps(vector)
    spelt = orjson.dumps(np.frombuffer(vector, vector.typecode), option=orjson.OPT_SERIALIZE_NUMPY)
    # Of very large and very small numbers, float32 and float64 write the same digits differently.
    if vector.typecode == "f" and (b"e" in spelt or b"0.00000" in spelt):
        return orjson.dumps(orjson.loads(spelt))
    return spelt


def _is_spelt(vector: Sequence[float]) -> bool:
    """Whether float32 spells these numbers just as they were sent, so that the vector alone keeps them."""
    if isinstance(vector, array) and vector.typecode == "f":
        return True
    return spelled(float32(vector)).encode() == canonical(vector)


def _data(collection: NewInferenceAndMetadataCollection) -> tuple[int, str | None]:
    """The version, and what `data` holds; None where nothing was given or the embedding's row spells it."""
    if collection.list_name is not None:
        return 2, to_json(getattr(collection, collection.list_name)).decode()
    if collection.embedding is not None:
        return 2, None if _is_spelt(collection.embedding) else canonical(collection.embedding).decode()
    if collection.inference is not None:
        return 1, to_json(collection.inference).decode()
    return 1, None


def _copy(table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    statement = f"copy {table} ({columns}) from stdin"
    # Django does not see what a copy raises at its end: wrapped here, or no race would be an IntegrityError.
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def row(request: NewInferenceStorageRequest, digest: str, metadata: Metadata) -> tuple[Any, ...]:
    """The inference's row, but for what the store itself gives it and the slots."""
    collection = request.data
    standard = collection.metadata.standard_metadata
    version, data = _data(collection)
    return (
        standard.latitude,
        standard.longitude,
        standard.data_size,
        version,
        collection.list_name is not None,
        request.is_protected,
        request.inference_id,
        str(standard.inference_action),
        standard.data_source,
        "\\x" + standard.data_hash,
        "\\x" + digest,
        to_json(metadata).decode(),
        data,
    )


def copy_inferences(
    model: RegisteredModel, new: list[tuple[int, NewInferenceStorageRequest, str]], now: datetime
) -> None:
    slots = FilledSlots(model)

    def rows() -> Iterable[tuple[Any, ...]]:
        for key, request, digest in new:
            metadata = metadata_of(request.data)
            yield (
                key,
                given_time(request) or now,
                now,
                model.pk,
                request.data_storage_key,
                *row(request, digest, metadata),
                *slots.values(metadata),
            )

    _copy(Inference._meta.db_table, ", ".join((*GIVEN_BY_STORE, *ROW_COLUMNS, *slots.columns)), rows())
    slots.finish()


def copy_entries(model: RegisteredModel, new: list[tuple[int, NewInferenceStorageRequest]]) -> None:
    rows = [
        (
            key,
            entry.score,
            model.pk,
            position,
            entry.label,
            None if entry.geometry is None else to_json(entry.geometry).decode(),
        )
        for key, request in new
        for position, entry in enumerate(request.data.entries)
    ]
    if rows:
        _copy(Entry._meta.db_table, ENTRY_COLUMNS, rows)


def copy_embeddings(model: RegisteredModel, given: list[tuple[int, Sequence[float] | Vector]]) -> None:
    """Binary COPY from one numpy array: a vector travels as int16 size, int16 0, big-endian float4s."""
    if not given:
        return
    size = model.embedding_size
    row = np.dtype(
        [
            ("fields", ">i2"),
            *[("id_length", ">i4"), ("id", ">i8"), ("model_length", ">i4"), ("model", ">i4")],
            *[("length", ">i4"), ("size", ">i2"), ("unused", ">i2"), ("vector", ">f4", (size,))],
        ]
    )
    rows = np.zeros(len(given), row)
    rows["fields"], rows["id_length"], rows["model_length"], rows["model"] = 3, 8, 4, model.pk
    rows["length"], rows["size"] = 4 + 4 * size, size
    rows["id"] = [key for key, _ in given]
    for row, (_, vector) in zip(rows["vector"], given, strict=True):
        row[:] = float32(vector)
    columns = "inference_id, registered_model_id, vector"
    statement = f"copy {Embedding._meta.db_table} ({columns}) from stdin (format binary)"
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\x00" + bytes(8) + rows.tobytes() + b"\xff\xff")
