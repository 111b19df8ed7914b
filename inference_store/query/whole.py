"""Inferences with all that belongs to them, as exports read them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from inference_store.contract.entries import Entry as EntryBody
from inference_store.contract.inferences import Inference as InferenceBody
from inference_store.models import Blob, Entry, Inference, RegisteredModel
from inference_store.query.embeddings import Vector, vectors
from inference_store.query.rows import body


@dataclass(frozen=True, slots=True)
class Input:
    """The stored input of an inference; width and height in pixels, None where it is no picture."""

    key: str
    size: int
    media_type: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class WholeInference:
    """`metadata` is keyed by type and then key, its values parsed; `vector` is float32.

    `has_list`: a standardized list was given, perhaps an empty one.
    """

    inference: InferenceBody
    metadata: dict[str, dict[str, Any]]
    entries: list[EntryBody]
    has_list: bool
    vector: Vector | None
    input: Input | None


def whole_inferences(model: RegisteredModel, keys: list[int]) -> list[WholeInference]:
    """Those that are still there, in the order of `keys`, all as of one moment. Four queries."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
            cursor.execute("set local statement_timeout = 0")
        rows = Inference.objects.in_bulk(keys)
        known = vectors(keys) if model.embedding_size else {}
        blobs = Blob.objects.filter(inference_id__in=keys, kind=Blob.Kind.DATA)
        inputs = {
            key: Input(*told)
            for key, *told in blobs.values_list(
                "inference_id", "key", Coalesce("size", 0), "media_type", "width", "height"
            )
        }
        entries: dict[int, list[EntryBody]] = defaultdict(list)
        owned = Entry.objects.filter(inference_id__in=keys).order_by("inference_id", "position")
        for key, label, score, geometry in owned.values_list("inference_id", "label", "score", "geometry"):
            entries[key].append(EntryBody(label, score, geometry))
    return [
        WholeInference(
            inference=body(rows[key], model, known.get(key)),
            metadata=rows[key].metadata,
            entries=entries[key],
            has_list=rows[key].has_list,
            vector=known.get(key),
            input=inputs.get(key),
        )
        for key in keys
        if key in rows
    ]
