"""A single post is one statement, and those that come while one is stored go together in the next.

Only what is plain is stored so: whatever is unusual about one of them (a taken id, a slot that another
process changed, an error) is left to the long way in `ingest.py`, which each goes by itself.
"""

import json
import struct
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import orjson
import psycopg
from django.db import DatabaseError, connection, transaction
from psycopg.pq import ExecStatus
from pydantic_core import from_json, to_json

from inference_store import counters
from inference_store.contract.inferences import NewInferenceStorageRequest
from inference_store.models import RegisteredModel, SearchSlot
from inference_store.models.search_slot import Unfit
from inference_store.query.embeddings import Vector
from inference_store.services import audit
from inference_store.services.ingest_rows import ROW_COLUMNS, Metadata, float32, given_time, metadata_of, row

MOST_TOGETHER = 32
LARGEST_BYTES = 128 * 1024
"""Of one inference: what is larger would keep the others waiting."""
MOST_MODELS = 1_000
STATEMENT = b"select store_few($1, $2, $3, $4, $5, $6, $7, $8, $9)"
TYPES, FORMATS = (23, 25, 114, 114, 114, 1021, 25, 25, 114), (0, 0, 0, 0, 0, 1, 0, 0, 0)
"""int, text, three of json, real[] in binary, two of text, and json."""
REAL = 700


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a model as they were read; the statement stores nothing where they are others by now."""

    signature: bytes
    filled: tuple[SearchSlot, ...]


class New(NamedTuple):
    """What the store gave a new inference, and its metadata as they are kept."""

    created_at: datetime
    updated_at: datetime
    metadata: Metadata


class NewRow(NamedTuple):
    """The row of a new inference as a query would read it, for whoever tells what was stored."""

    pk: int
    inference_id: str
    created_at: datetime
    updated_at: datetime
    action: str
    data: str | None
    metadata: Metadata
    data_hash: str
    data_source: str | None
    latitude: float | None
    longitude: float | None
    data_storage_key: str | None
    is_protected: bool
    version: int
    has_list: bool


@dataclass(slots=True)
class One:
    """An inference that is to be stored, and where its thread waits meanwhile."""

    inference_id: str
    signature: bytes
    values: tuple[Any, ...]
    """As `row` gives them."""
    spelt: bytes
    entries: list[dict[str, Any]]
    vector: Vector | None
    by: dict[str, Any]
    """Who sent it, for the audit log: the thread that stores it may be another's."""
    turn: Lock = field(default_factory=Lock)
    leads: bool = False
    new: New | None = None


class Told(NamedTuple):
    """A new inference, as it would be read."""

    row: NewRow
    vector: Vector | None


_slots: dict[int, Slots] = {}


def store_one(model: RegisteredModel, request: NewInferenceStorageRequest, digest: str) -> Told | None:
    """Store it if nothing is unusual about it; else None, for the long way to find out what to say."""
    if request.data_storage_key is not None or (one := _one(model, request, digest)) is None:
        return None
    if connection.in_atomic_block:
        one.new = _tried(model, [one]).get(one.inference_id)
    else:
        _turns.take(model, one)
    return None if one.new is None else Told(_as_read(one, one.new), one.vector)


class Turns:
    """Of each model one thread stores; who comes meanwhile waits, and is stored together with the others."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[int, deque[One]] = {}
        """By model, of those that are being stored."""

    def take(self, model: RegisteredModel, one: One) -> None:
        """Return when it is stored, or found to be unusual."""
        with self._lock:
            if leads := model.pk not in self._waiting:
                self._waiting[model.pk] = deque()
            else:
                one.turn.acquire()
                self._waiting[model.pk].append(one)
        if not leads:
            with one.turn:
                leads = one.leads
        if leads:
            self._lead(model, one)

    def _lead(self, model: RegisteredModel, one: One) -> None:
        group = self._group(model, one)
        try:
            new = _tried(model, group)
            counters.stored(len(new))
            for each in group:
                each.new = new.get(each.inference_id)
        finally:
            with self._lock:
                waiting = self._waiting[model.pk]
                if waiting:
                    waiting[0].leads = True
                    group.append(waiting.popleft())
                else:
                    del self._waiting[model.pk]
            for each in group[1:]:
                each.turn.release()

    def _group(self, model: RegisteredModel, one: One) -> list[One]:
        """With it, those that wait: no two of one id, and all as of the same slots."""
        group, ids, left = [one], {one.inference_id}, deque[One]()
        with self._lock:
            waiting = self._waiting[model.pk]
            for each in waiting:
                fits = each.signature == one.signature and each.inference_id not in ids
                if fits and len(group) < MOST_TOGETHER:
                    group.append(each)
                    ids.add(each.inference_id)
                else:
                    left.append(each)
            self._waiting[model.pk] = left
        return group


_turns = Turns()


def _one(model: RegisteredModel, request: NewInferenceStorageRequest, digest: str) -> One | None:
    slots = _slots_of(model)
    metadata = metadata_of(request.data)
    given = given_time(request)
    values = row(request, digest, metadata)
    fields = dict(zip(ROW_COLUMNS, values, strict=True))
    fields["created_at"] = None if given is None else given.isoformat()
    fields["metadata"] = orjson.Fragment(fields["metadata"])
    try:
        for slot in slots.filled:
            fields[str(slot.slot)] = slot.reader.value(metadata)
    except Unfit:
        return None
    entries = [
        {
            "name": request.inference_id,
            "place": place,
            "label": entry.label,
            "score": entry.score,
            "geometry": None if entry.geometry is None else orjson.Fragment(to_json(entry.geometry)),
        }
        for place, entry in enumerate(request.data.entries)
    ]
    embedding = request.data.embedding
    spelt = orjson.dumps(fields)
    if len(spelt) > LARGEST_BYTES:
        return None
    vector = None if embedding is None else float32(embedding)
    by = audit.caller_fields(request.inference_id)
    return One(request.inference_id, slots.signature, values, spelt, entries, vector, by)


def _as_read(one: One, new: New) -> NewRow:
    latitude, longitude, _, version, has_list, protected, name, action, source, hash_, *_, data = one.values
    return NewRow(
        *(0, name, new.created_at, new.updated_at, action, data, new.metadata, hash_.removeprefix("\\x")),
        *(source, latitude, longitude, None, protected, version, has_list),
    )


def _slots_of(model: RegisteredModel) -> Slots:
    if (held := _slots.get(model.pk)) is not None:
        return held
    filled = tuple(SearchSlot.objects.written(model))
    signature = ",".join(f"{slot.pk}={slot.slot}" for slot in filled).encode()
    if len(_slots) >= MOST_MODELS:
        _slots.clear()
    found = _slots[model.pk] = Slots(signature, filled)
    return found


def _tried(model: RegisteredModel, group: list[One]) -> dict[str, New]:
    """Those of the group that were free, by id."""
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            told = _execute(model, group)
    except DatabaseError:
        return {}  # each will meet it by itself, if it is its own
    if told is None:
        _slots.pop(model.pk, None)
        return {}
    answer = _parsed(told)
    updated = datetime.fromisoformat(answer["updated_at"])
    return {
        inference_id: New(datetime.fromisoformat(created), updated, metadata)
        for inference_id, (created, metadata) in answer["stored"].items()
    }


def _parsed(told: bytes) -> Any:
    try:
        return from_json(told)
    except ValueError:  # deeper than the quick reader goes
        return json.loads(told)


def _execute(model: RegisteredModel, group: list[One]) -> bytes | None:
    # In order of their ids, so that two groups never wait for each other in a circle.
    group = sorted(group, key=lambda each: each.inference_id)
    entries = [entry for each in group for entry in each.entries]
    embedded = {each.inference_id: each.vector for each in group if each.vector is not None}
    parameters = [
        str(model.pk).encode(),
        group[0].signature,
        b"[%b]" % b",".join(each.spelt for each in group),
        orjson.dumps(entries) if entries else None,
        orjson.dumps(list(embedded)) if embedded else None,
        _reals(list(embedded.values())) if embedded else None,
        model.project_id.encode(),
        model.model_id.encode(),
        orjson.dumps([each.by for each in group]),
    ]
    # Straight to libpq: at this rate, what a cursor does around a statement costs as much as the statement.
    with connection.cursor() as cursor, connection.wrap_database_errors:
        result = cursor.connection.pgconn.exec_params(STATEMENT, parameters, TYPES, FORMATS)
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(result)
        told: bytes | None = result.get_value(0, 0)
        return told


def _reals(vectors: list[Vector]) -> bytes:
    """Their numbers as one real[] in binary: after a head, each after its length."""
    numbers = np.concatenate(vectors)
    elements = np.empty((len(numbers), 2), ">i4")
    elements[:, 0] = numbers.itemsize
    elements[:, 1] = numbers.view("i4")
    return struct.pack(">iiIii", 1, 0, REAL, len(numbers), 1) + elements.tobytes()
