"""Inferences are deleted by the user's own word: rows first, blobs after commit."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from psycopg.sql import SQL, Identifier

from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Blob, Embedding, Entry, Inference, RegisteredModel, UnitEmbedding
from inference_store.query.matching import matching
from inference_store.services import soft_deletion

logger = logging.getLogger(__name__)

DELETED_AT_ONCE = 10_000
"""Rows in one statement: bounds the key list that is sent, not the transaction."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """Blobs whose bytes go after commit, and how many bytes."""

    keys: list[str]
    size: int


def delete_inference(*, model: RegisteredModel, inference_id: str) -> str:
    """Delete one inference, protected or not, with its entries, embedding, metadata and blob.

    One that retention has deleted softly goes for good too, but is none that can be seen: 404.
    """
    rows = Inference.objects.filter(registered_model=model, inference_id=inference_id)
    if not _delete(model, rows, [inference_id]):
        raise Refusal.not_found(f"There is no inference {inference_id!r} of this model.")
    return inference_id


def delete_matching(*, model: RegisteredModel, filters: BaseInferenceFilter) -> list[str]:
    """Delete everything the filter matches, softly deleted ones of those ids too; the ids that went."""
    return _delete(model, matching(model, filters))


@transaction.atomic
def _delete(model: RegisteredModel, queryset: QuerySet[Inference], named: Iterable[str] = ()) -> list[str]:
    soft_deletion.hold_off_restoring(model)
    # Locked in order of their keys, so that two deletions never wait for each other in a circle.
    locked = queryset.select_for_update(of=("self",)).order_by("pk").values_list("pk", "inference_id")
    rows = list(locked)
    for start in range(0, len(rows), DELETED_AT_ONCE):
        batch = rows[start : start + DELETED_AT_ONCE]
        doomed = delete_rows([key for key, _ in batch])
        transaction.on_commit(partial(remove_blobs, doomed.keys), robust=True)
        soft_deletion.forget(model, [inference_id for _, inference_id in batch])
    soft_deletion.forget(model, [*named])
    return [inference_id for _, inference_id in rows]


def delete_rows(keys: list[int]) -> Doomed:
    """Delete the inferences of these keys, which the caller has locked, and doom their blobs."""
    with connection.cursor() as cursor:
        # Units last: who makes them waits for those who are at the embeddings (services/vector_indexes.py).
        for table in (Entry, Embedding, UnitEmbedding):
            statement = SQL("delete from {} where inference_id = any(%s)")
            cursor.execute(statement.format(Identifier(table._meta.db_table)), [keys])
        statement = SQL("delete from {} where id = any(%s)")
        cursor.execute(statement.format(Identifier(Inference._meta.db_table)), [keys])
    return doom(keys)


def doom(keys: list[int], kinds: Iterable[Blob.Kind] = tuple(Blob.Kind)) -> Doomed:
    """Take from these inferences their blobs of those kinds. After the rows, and in order: as ingest does."""
    owned = Blob.objects.filter(inference_id__in=keys, kind__in=list(kinds))
    rows = list(owned.select_for_update().order_by("key").values_list("key", "size"))
    doomed = Doomed([key for key, _ in rows], sum(size or 0 for _, size in rows))
    Blob.objects.filter(key__in=doomed.keys).update(inference_id=None, doomed_at=Now())
    return doomed


def remove_blobs(keys: list[str]) -> None:
    """Remove the bytes of doomed blobs, then their rows. What fails is left to the sweep."""
    removed = []
    for key in keys:
        try:
            blobs.remove(key)
        except OSError:
            logger.warning("The blob %s could not be removed; the sweep will try again.", key, exc_info=True)
        else:
            removed.append(key)
    Blob.objects.filter(key__in=removed).delete()
