"""Rows as the contract's objects, or plain as the wire has them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Self, TypeAlias

import numpy as np
import orjson
from pybase64 import b64encode_as_string
from pydantic import TypeAdapter
from pydantic_core import from_json

from inference_store import statements
from inference_store.contract.filters import EmbeddingFilter, EmbeddingForm
from inference_store.contract.inferences import Inference as InferenceBody
from inference_store.contract.metadata import Metadata
from inference_store.models import Embedding, Inference, RegisteredModel
from inference_store.query.conditions import TABLE
from inference_store.query.embeddings import Vector, finite_distance, spelled
from inference_store.statements import Keys

Plain = dict[str, Any]
"""What travels, field by field; for orjson, which spells fragments."""
RowsOf = Callable[..., dict[int, Any]]
"""`bodies` or `plain_bodies`."""

VECTORS = Embedding._meta.db_table
# In the order in which `_Row` names them.
COLUMNS = (
    "r.id, r.inference_id, r.created_at, r.updated_at, r.action, r.data, r.metadata::text, r.data_hash, "
    "r.data_source, r.latitude, r.longitude, r.data_storage_key, r.is_protected, r.version, r.has_list"
)
HEADER_BYTES = 4
EMBEDDED_VERSION = 2
"""Of an inference that came with a list or an embedding."""

_bodies: TypeAdapter[list[InferenceBody]] = TypeAdapter(list[InferenceBody])


_Row: TypeAlias = tuple[
    int, str, datetime, datetime, str, str | None, Any, str, str | None, float | None, float | None,
    str | None, bool, int, bool,
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which inferences: those that the condition holds for, or that part of them in an order.

    Both are SQL of the inference's columns, as `r`.
    """

    condition: str
    values: list[Any]
    order: str = ""
    limit: int | None = None
    offset: int = 0

    @classmethod
    def by_key(cls, keys: list[int]) -> Self:
        return cls("r.id = any(%s)", [Keys(np.array(keys, np.int64))])

    @classmethod
    def by_name(cls, model: RegisteredModel, inference_id: str) -> Self:
        return cls("r.registered_model_id = %s and r.inference_id = %s", [model.pk, inference_id])

    def statement(self, *, with_vectors: bool) -> str:
        joined = f"left join {VECTORS} e on e.inference_id = r.id" if with_vectors else ""
        source, condition = f"{TABLE} r", f"where {self.condition}"
        part = f"order by {self.order} limit {self.limit} offset {self.offset}" if self.order else ""
        if self.offset:
            # What is passed over is read in the index alone.
            keys = f"select r.id from {source} {condition} {part}"  # noqa: S608 # nosec B608
            source, condition = f"({keys}) k join {TABLE} r on r.id = k.id", ""
            part = f"order by {self.order}"
        elif part and with_vectors:
            # Nor are vectors looked up for other rows.
            source, condition = f"(select * from {source} {condition} {part}) r", ""  # noqa: S608 # nosec B608
            part = f"order by {self.order}"
        columns = columns_of(with_vectors=with_vectors)
        return f"select {columns} from {source} {joined} {condition} {part}"  # noqa: S608 # nosec B608


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that are at hand: of `columns_of`, with vectors wherever these are wanted."""

    rows: list[tuple[Any, ...]]


def columns_of(*, with_vectors: bool) -> str:
    """What is read of inferences as `r`, and of their embeddings as `e`."""
    # As the vector travels in binary: text would be parsed number by number.
    return f"{COLUMNS}, vector_send(e.vector)" if with_vectors else f"{COLUMNS}, null"


def metadata_text(type_: str, value: Any) -> str:
    """A metadata value as the string that travels."""
    return SPELLED[type_](value)


def _number(value: Any) -> str:
    """jsonb gives back 1e22 as an integer: hence float()."""
    return repr(float(value))


def _integer(value: Any) -> str:
    return str(int(value))


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


SPELLED: dict[str, Callable[[Any], str]] = {"string": str, "float": _number, "int": _integer, "json": _json}


def _metadata(metadata: Mapping[str, Mapping[str, Any]]) -> list[Plain]:
    """All metadata of an inference, by key."""
    found: list[Plain] = []
    for type_, held in metadata.items():
        text_of = SPELLED[type_]
        for key, value in held.items():
            found.append({"key": key, "type": type_, "value": text_of(value)})
    if len(found) > 1:
        found.sort(key=_key)
    return found


_key = itemgetter("key")


def metadata_list(metadata: Mapping[str, Mapping[str, Any]]) -> list[Metadata]:
    """All metadata of an inference, by key, as the contract's objects."""
    return [Metadata.model_construct(**item) for item in _metadata(metadata)]


def plain(
    row: _Row, model_id: str, vector: Vector | None, distance: float | None, form: EmbeddingForm
) -> Plain:
    """The row as it travels; its metadata parsed."""
    return _plain(row, row[6], row[7], model_id, vector, distance, form)


def _plain(
    row: Sequence[Any],
    metadata: Any,
    data_hash: str,
    model_id: str,
    vector: Vector | None,
    distance: float | None,
    form: EmbeddingForm,
) -> Plain:
    # By number: a page has many rows, and to name all that each holds takes longer than the rest of this.
    data, latitude, longitude, version, has_list = row[5], row[9], row[10], row[13], row[14]
    fields: Plain = {
        "model_id": model_id,
        "inference_id": row[1],
        "created_at": row[2],
        "updated_at": row[3],
        "inference_action": row[4],
        "data": data,
        "embedding_distance": distance,
        "metadata": _metadata(metadata),
        "data_hash": data_hash,
        "data_source": row[8],
        "data_coordinates": None
        if latitude is None or longitude is None
        else {"latitude": latitude, "longitude": longitude},
        "data_storage_key": row[11],
        "presigned_url": None,
        "is_protected": row[12],
        "version": f"v{version}",
        "embedding": None,
    }
    if form == "none":
        if not has_list and version == EMBEDDED_VERSION:
            fields["data"] = None  # an embedding's numbers
    # Without a list, `data` that is there spells the numbers as they were sent, and the vector does not.
    elif vector is not None and (has_list or data is None):
        if form == "base64":
            fields["packed_embedding"] = b64encode_as_string(vector.astype("<f4", copy=False).data)
        elif has_list:
            fields["embedding"] = orjson.Fragment(spelled(vector))
        else:
            fields["data"] = spelled(vector)
    return fields


def body(row: Inference, model: RegisteredModel, vector: Vector | None) -> InferenceBody:
    """The row as the contract's object; `data` spelt, for an export writes it."""
    held: _Row = (
        row.pk, row.inference_id, row.created_at, row.updated_at, row.action, row.data, row.metadata,
        row.data_hash, row.data_source, row.latitude, row.longitude, row.data_storage_key,
        row.is_protected, row.version, row.has_list,
    )  # fmt: skip
    fields = plain(held, model.model_id, vector, None, "base64")
    if vector is not None and fields["data"] is None:
        del fields["packed_embedding"]
        fields["data"] = spelled(vector)
    return InferenceBody.model_validate(fields)


def _parsed(texts: list[str]) -> list[Any]:
    """All at once: a call costs as much as reading one."""
    try:
        found: list[Any] = from_json(f"[{','.join(texts)}]")
        return found
    except ValueError:  # deeper than the quick reader goes
        return [json.loads(text) for text in texts]


def _vectors(sent: Sequence[bytes | None]) -> list[Vector | None]:
    """A model's vectors, as little-endian float32."""
    given = [each for each in sent if each is not None]
    if not given:
        return [None] * len(sent)
    numbers = np.frombuffer(b"".join(given), ">f4").reshape(len(given), -1)
    held = iter(numbers[:, HEADER_BYTES // 4 :].astype("<f4"))
    return [None if each is None else next(held) for each in sent]


def plain_bodies(
    model: RegisteredModel,
    wanted: Wanted | Held,
    distances: Mapping[int, float] | None = None,
    embedding: EmbeddingFilter | None = None,
    *,
    form: EmbeddingForm = "numbers",
) -> dict[int, Plain]:
    """The wanted inferences as they travel, by their key, in order where one was given. One query at most."""
    found, model_id = {}, model.model_id
    # Vectors are also needed where float32 did not hold a distance.
    is_finite = distances is None or all(map(math.isfinite, distances.values()))
    with_vectors = bool(model.embedding_size) and (form != "none" or not is_finite)
    if isinstance(wanted, Held):
        rows = wanted.rows
    else:
        rows = statements.rows(wanted.statement(with_vectors=with_vectors), wanted.values)
    parsed, held = _parsed([row[6] for row in rows]), _vectors([row[15] for row in rows])
    for row, metadata, vector in zip(rows, parsed, held, strict=True):
        pk, distance = row[0], None
        if distances is not None:
            distance = distances.get(pk)
            if distance is not None and embedding is not None and vector is not None:
                distance = finite_distance(distance, embedding, vector)
        found[pk] = _plain(row, metadata, row[7].hex(), model_id, vector, distance, form)
    return found


def bodies(
    model: RegisteredModel,
    wanted: Wanted | Held,
    distances: Mapping[int, float] | None = None,
    embedding: EmbeddingFilter | None = None,
    *,
    form: EmbeddingForm = "base64",
) -> dict[int, InferenceBody]:
    """The same as the contract's objects; their embeddings are spelt when looked at."""
    packed: EmbeddingForm = "none" if form == "none" else "base64"
    found = plain_bodies(model, wanted, distances, embedding, form=packed)
    return dict(zip(found, _bodies.validate_python(list(found.values())), strict=True))


def time_of(row: Plain | InferenceBody) -> datetime:
    moment: datetime = row["created_at"] if isinstance(row, dict) else row.created_at
    return moment
