"""Inferences come in: one or ten thousand, in one transaction, all or nothing.

One that is plain goes the short way of `ingest_few.py`; all others, and whatever turns out there not to be
plain, the long way here.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import IntegrityError, connection, transaction
from pydantic import ValidationError

from inference_store import blobs, counters
from inference_store.contract.enums import ACTIONS_OF_TASK, AuditAction, InferenceAction, TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import (
    LIST_OF_TASK,
    NewInferenceAndMetadataCollection,
    NewInferenceFromUploadRequest,
    NewInferenceStorageRequest,
)
from inference_store.contract.vectors import numbers
from inference_store.models import Blob, Inference, RegisteredModel
from inference_store.services import audit
from inference_store.services.ingest_few import Told, store_one
from inference_store.services.ingest_rows import (
    canonical,
    copy_embeddings,
    copy_entries,
    copy_inferences,
    given_time,
)
from inference_store.services.uploads import claim, collect

TRIES = 10
"""Attempts when another writer stores one of the same ids at the same time: each lost race ends one."""

MOST_UPLOADED_METADATA_BYTES = 32 * 2**20

LOOK = f"""
    with stored as materialized (
        select inference_id, content_digest from {Inference._meta.db_table}
         where registered_model_id = %s and inference_id = any(%s))
    select clock_timestamp(),
           array(select nextval((select pg_get_serial_sequence(%s, 'id'))::regclass)
                   from generate_series(1, %s)),
           array(select inference_id from stored),
           array(select encode(content_digest, 'hex') from stored)
"""  # noqa: S608 # nosec B608
NO_CONTENT: Any = {"data_storage_key": True, "created_at": True, "data": {"embedding", "created_at"}}


@dataclass(frozen=True, slots=True)
class Stored:
    """All ids of a request in its order, and how many of them were new."""

    inference_ids: list[str]
    created_count: int
    told: Told | None = None
    """One that is new, where it need not be read to tell it."""


def _unnamed(position: int, field: str) -> str:
    return field


def _by_position(position: int, field: str) -> str:
    return f"{position}.{field}"


def store_inference(*, model: RegisteredModel, request: NewInferenceStorageRequest) -> Stored:
    _refuse_unfit(model, request)
    digest = content_digest(request)
    if (told := store_one(model, request, digest)) is not None:
        return Stored([request.inference_id], 1, told)
    return _store_digested(model, [request], [digest], _unnamed)


def store_inferences(*, model: RegisteredModel, requests: list[NewInferenceStorageRequest]) -> Stored:
    """Store them all or none; a refusal names the item by its position."""
    return _store(model, requests, _by_position)


def store_from_upload(*, model: RegisteredModel, request: NewInferenceFromUploadRequest) -> Stored:
    """Store an inference whose collection was uploaded under `metadata_storage_key`."""
    field = "metadata_storage_key"
    collect(model=model, keys=[request.metadata_storage_key], kind=Blob.Kind.METADATA)
    uploaded = Blob.objects.filter(
        key=request.metadata_storage_key, registered_model=model, kind=Blob.Kind.METADATA, doomed_at=None
    ).exclude(uploaded_at=None)
    blob = uploaded.first()
    if blob is None:
        raise Refusal.invalid(field, "nothing was uploaded for this model under this key")
    if (blob.size or 0) > MOST_UPLOADED_METADATA_BYTES:
        raise Refusal(413, "too_large", f"The upload is larger than {MOST_UPLOADED_METADATA_BYTES:,} bytes.")
    with blobs.open_blob(blob.key) as file:
        content = file.read()
    try:
        collection = NewInferenceAndMetadataCollection.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal.invalid(
            field, f"the upload is not an encoded collection: {where} {first['msg']}"
        ) from None
    whole = NewInferenceStorageRequest(
        model_id=model.model_id,
        inference_id=request.inference_id,
        data=collection,
        data_storage_key=request.data_storage_key,
        is_protected=request.is_protected,
    )
    return _store(model, [whole], _unnamed, metadata_storage_key=blob.key)


def _store(
    model: RegisteredModel,
    requests: list[NewInferenceStorageRequest],
    name: Callable[[int, str], str],
    metadata_storage_key: str | None = None,
) -> Stored:
    for position, request in enumerate(requests):
        try:
            _refuse_unfit(model, request)
        except Refusal as refusal:
            raise _at(refusal, position, request, name) from None
    digests = [content_digest(request) for request in requests]
    return _store_digested(model, requests, digests, name, metadata_storage_key)


def _store_digested(
    model: RegisteredModel,
    requests: list[NewInferenceStorageRequest],
    digests: list[str],
    name: Callable[[int, str], str],
    metadata_storage_key: str | None = None,
) -> Stored:
    first_of = _without_repeats(requests, digests, name)
    collect(model=model, keys=[each.data_storage_key for each in requests if each.data_storage_key])
    for attempt in range(TRIES):
        try:
            with transaction.atomic():
                keys = _store_new(model, requests, digests, first_of, name)
                if metadata_storage_key is not None and keys:
                    claim(model=model, owners={metadata_storage_key: keys[0]}, kind=Blob.Kind.METADATA)
            counters.stored(len(keys))
            return Stored([request.inference_id for request in requests], len(keys))
        except IntegrityError:
            # Another writer stored one of these ids since we looked: look again.
            if attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _at(
    refusal: Refusal,
    position: int,
    request: NewInferenceStorageRequest,
    name: Callable[[int, str], str],
) -> Refusal:
    """The refusal, naming the item where there are many."""
    if name is _unnamed:
        return refusal
    message = f"item {position} (inference_id {request.inference_id!r}): {refusal.message}"
    fields = {name(position, field): text for field, text in refusal.fields.items()}
    return Refusal(refusal.status, refusal.code, message, fields or {str(position): refusal.message})


def _refuse_unfit(model: RegisteredModel, request: NewInferenceStorageRequest) -> None:
    """What the contract can't know: whether the inference is one of this model's."""
    if request.model_id != model.model_id:
        raise Refusal.invalid("model_id", f"must be the {model.model_id!r} of the path")
    collection = request.data
    standard = collection.metadata.standard_metadata
    task, action = TaskType(standard.task_type), InferenceAction(standard.inference_action)
    if task.value != model.task_type:
        raise Refusal.invalid(
            "data.metadata.standard_metadata.task_type", f"the model's is {model.task_type!r}"
        )
    if action not in ACTIONS_OF_TASK[task]:
        allowed = ", ".join(sorted(each.value for each in ACTIONS_OF_TASK[task]))
        raise Refusal.invalid(
            "data.metadata.standard_metadata.inference_action", f"{task.value} knows {allowed}"
        )
    given, expected = collection.list_name, LIST_OF_TASK.get(task)
    if given is not None and given != expected:
        wanted = f"the list of {task.value} is {expected}" if expected else f"{task.value} has no list"
        raise Refusal.invalid(f"data.{given}", wanted)
    if collection.embedding is not None and len(collection.embedding) != (model.embedding_size or -1):
        raise Refusal.invalid(
            "data.embedding",
            f"has {len(collection.embedding)} numbers; the model is registered with {model.embedding_size}",
        )


def content_digest(request: NewInferenceStorageRequest) -> str:
    """SHA-256 of the request's canonical JSON without its storage key."""
    content = request.model_dump(exclude=NO_CONTENT, exclude_none=True)
    if created_at := given_time(request):
        content["created_at"] = created_at.isoformat()
    embedding = request.data.embedding
    if embedding is not None:
        content["data"]["embedding"] = orjson.Fragment(canonical(embedding))
    try:
        spelt = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        if embedding is not None:
            content["data"]["embedding"] = numbers(embedding)
        spelt = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(spelt).hexdigest()


def _without_repeats(
    requests: list[NewInferenceStorageRequest], digests: list[str], name: Callable[[int, str], str]
) -> dict[str, int]:
    """The first position of each id; the same id twice must be the same content twice."""
    first_of: dict[str, int] = {}
    for position, request in enumerate(requests):
        first = first_of.setdefault(request.inference_id, position)
        if digests[first] != digests[position]:
            conflict = Refusal.conflict(
                "the id is in this request with other content", {"inference_id": "repeats"}
            )
            raise _at(conflict, position, request, name)
    return first_of


def _store_new(
    model: RegisteredModel,
    requests: list[NewInferenceStorageRequest],
    digests: list[str],
    first_of: dict[str, int],
    name: Callable[[int, str], str],
) -> list[int]:
    """Store what is not stored yet; its primary keys. Within the caller's transaction."""
    now, free_keys, stored = _look(model, list(first_of))
    for inference_id, digest in stored.items():
        position = first_of[inference_id]
        if digest != digests[position]:
            conflict = Refusal.conflict(
                "The id is stored with other content; use another id, or delete it first.",
                {"inference_id": "is taken"},
            )
            raise _at(conflict, position, requests[position], name)
    positions = [position for inference_id, position in first_of.items() if inference_id not in stored]
    if not positions:
        return []
    keys = free_keys[: len(positions)]
    new = list(zip(keys, positions, strict=True))
    for _, position in new:
        if (created_at := given_time(requests[position])) and created_at > now:
            raise _at(Refusal.invalid("created_at", "lies in the future"), position, requests[position], name)
    # In order of their ids, so that two bulks of the same ids never wait for each other in a circle.
    in_order = sorted(new, key=lambda each: requests[each[1]].inference_id)
    copy_inferences(model, [(key, requests[at], digests[at]) for key, at in in_order], now)
    copy_entries(model, [(key, requests[at]) for key, at in new])
    embeddings = [(key, requests[at].data.embedding) for key, at in new]
    copy_embeddings(model, [(key, vector) for key, vector in embeddings if vector is not None])
    owners: dict[str, int] = {}
    for key, position in new:
        if (storage_key := requests[position].data_storage_key) is not None:
            if storage_key in owners:
                twice = Refusal.conflict("The storage key is named twice.", {"data_storage_key": "is taken"})
                raise _at(twice, position, requests[position], name)
            owners[storage_key] = key
    claim(model=model, owners=owners)
    new_ids = [requests[position].inference_id for position in positions]
    audit.record(AuditAction.INFERENCE_CREATE, model=model, inference_ids=new_ids)
    return keys


def _look(model: RegisteredModel, ids: list[str]) -> tuple[datetime, list[int], dict[str, str]]:
    """The database's clock, a new primary key for each, and the digests of those that are stored."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK, [model.pk, ids, Inference._meta.db_table, len(ids)])
        now, keys, stored, digests = cursor.fetchone()
    return now, keys, dict(zip(stored, digests, strict=True))
