"""Rows as the contract's objects, or plain as the wire has them."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import orjson
from django.db import connection
from pydantic import TypeAdapter
from pydantic_core import from_json

from inference_store.contract.filters import EmbeddingFilter, EmbeddingForm
from inference_store.contract.inferences import Inference as InferenceBody
from inference_store.contract.metadata import Metadata
from inference_store.models import Embedding, Inference, RegisteredModel
from inference_store.query.embeddings import Vector, finite_distance, spelled

Plain = dict[str, Any]
"""What travels, field by field; for orjson, which spells fragments."""
RowsOf = Callable[..., dict[int, Any]]
"""`bodies` or `plain_bodies`."""

COLUMNS = (
    "r.id, r.inference_id, r.created_at, r.updated_at, r.action, r.data, r.metadata::text, r.data_hash, "
    "r.data_source, r.latitude, r.longitude, r.data_storage_key, r.is_protected, r.version, r.has_list"
)
ROWS = f"select {COLUMNS}, null from {Inference._meta.db_table} r where "  # noqa: S608
# As the vector travels in binary: text would be parsed number by number.
ROWS_WITH_VECTORS = (
    f"select {COLUMNS}, vector_send(e.vector) from {Inference._meta.db_table} r "  # noqa: S608
    f"left join {Embedding._meta.db_table} e on e.inference_id = r.id where "
)
BY_KEY = "r.id = any(%s)"
BY_NAME = "r.registered_model_id = %s and r.inference_id = %s"
HEADER_BYTES = 4
EMBEDDED_VERSION = 2
"""Of an inference that came with a list or an embedding."""

_bodies: TypeAdapter[list[InferenceBody]] = TypeAdapter(list[InferenceBody])


class _Read(NamedTuple):
    """What is read of an inference, under the names of its fields."""

    pk: int
    inference_id: str
    created_at: datetime
    updated_at: datetime
    action: str
    data: str | None
    metadata: dict[str, dict[str, Any]]
    data_hash: str
    data_source: str | None
    latitude: float | None
    longitude: float | None
    data_storage_key: str | None
    is_protected: bool
    version: int
    has_list: bool
    vector: Vector | None


def metadata_text(type_: str, value: Any) -> str:
    """A metadata value as the string that travels. jsonb gives back 1e22 as an integer: hence float()."""
    if type_ == "string":
        return str(value)
    if type_ == "float":
        return repr(float(value))
    if type_ == "int":
        return str(int(value))
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _metadata(metadata: Mapping[str, Mapping[str, Any]]) -> list[Plain]:
    """All metadata of an inference, by key."""
    found = [
        {"key": key, "type": type_, "value": metadata_text(type_, value)}
        for type_, held in metadata.items()
        for key, value in held.items()
    ]
    found.sort(key=_key)
    return found


def _key(item: Plain) -> str:
    key: str = item["key"]
    return key


def metadata_list(metadata: Mapping[str, Mapping[str, Any]]) -> list[Metadata]:
    """All metadata of an inference, by key, as the contract's objects."""
    return [Metadata.model_construct(**item) for item in _metadata(metadata)]


def plain(
    row: Inference | _Read,
    model: RegisteredModel,
    vector: Vector | None,
    distance: float | None,
    form: EmbeddingForm,
) -> Plain:
    """The row as it travels."""
    place = None
    if row.latitude is not None and row.longitude is not None:
        place = {"latitude": row.latitude, "longitude": row.longitude}
    fields: Plain = {
        "model_id": model.model_id,
        "inference_id": row.inference_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "inference_action": row.action,
        "data": row.data,
        "embedding_distance": distance,
        "metadata": _metadata(row.metadata),
        "data_hash": row.data_hash,
        "data_source": row.data_source,
        "data_coordinates": place,
        "data_storage_key": row.data_storage_key,
        "presigned_url": None,
        "is_protected": row.is_protected,
        "version": f"v{row.version}",
        "embedding": None,
    }
    if form == "none":
        if not row.has_list and row.version == EMBEDDED_VERSION:
            fields["data"] = None  # an embedding's numbers
    # Without a list, `data` that is there spells the numbers as they were sent, and the vector does not.
    elif vector is not None and (row.has_list or row.data is None):
        if form == "base64":
            fields["packed_embedding"] = base64.b64encode(vector.astype("<f4", copy=False).data).decode()
        elif row.has_list:
            fields["embedding"] = orjson.Fragment(spelled(vector))
        else:
            fields["data"] = spelled(vector)
    return fields


def body(row: Inference, model: RegisteredModel, vector: Vector | None) -> InferenceBody:
    """The row as the contract's object; `data` spelt, for an export writes it."""
    fields = plain(row, model, vector, None, "base64")
    if vector is not None and fields["data"] is None:
        del fields["packed_embedding"]
        fields["data"] = spelled(vector)
    return InferenceBody.model_validate(fields)


def _nested(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:  # deeper than the quick reader goes
        return json.loads(text)


def _read(model: RegisteredModel, wanted: list[int] | str, *, with_vectors: bool) -> list[_Read]:
    by_name = isinstance(wanted, str)
    condition, values = (BY_NAME, (model.pk, wanted)) if by_name else (BY_KEY, (wanted,))
    with connection.cursor() as cursor:
        cursor.execute((ROWS_WITH_VECTORS if with_vectors else ROWS) + condition, values)
        return [
            _Read._make((*row[:6], _nested(row[6]), row[7].hex(), *row[8:15], _vector(row[15])))
            for row in cursor.fetchall()
        ]


def _vector(sent: bytes | None) -> Vector | None:
    if sent is None:
        return None
    return np.frombuffer(sent, ">f4", offset=HEADER_BYTES).astype(np.float32)


def plain_bodies(
    model: RegisteredModel,
    ids: list[int] | str,
    distances: Mapping[int, float] | None = None,
    wanted: EmbeddingFilter | None = None,
    *,
    form: EmbeddingForm = "numbers",
) -> dict[int, Plain]:
    """The inferences with those keys, or the one of that id, as they travel. One query."""
    found = {}
    with_vectors = bool(model.embedding_size) and (form != "none" or distances is not None)
    for row in _read(model, ids, with_vectors=with_vectors):
        distance = (distances or {}).get(row.pk)
        if distance is not None and wanted is not None and row.vector is not None:
            distance = finite_distance(distance, wanted, row.vector)
        found[row.pk] = plain(row, model, row.vector, distance, form)
    return found


def bodies(
    model: RegisteredModel,
    ids: list[int] | str,
    distances: Mapping[int, float] | None = None,
    wanted: EmbeddingFilter | None = None,
    *,
    form: EmbeddingForm = "base64",
) -> dict[int, InferenceBody]:
    """The same as the contract's objects; their embeddings are spelt when looked at."""
    packed: EmbeddingForm = "none" if form == "none" else "base64"
    found = plain_bodies(model, ids, distances, wanted, form=packed)
    return dict(zip(found, _bodies.validate_python(list(found.values())), strict=True))
