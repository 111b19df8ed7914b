"""Inferences are deleted by the user's own word: rows first, blobs after commit."""

import logging
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from psycopg.sql import SQL, Identifier

from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Blob, Embedding, Entry, Inference, RegisteredModel
from inference_store.query.matching import matching

logger = logging.getLogger(__name__)

DELETED_AT_ONCE = 10_000
"""Rows in one statement: bounds the key list that is sent, not the transaction."""


def delete_inference(*, model: RegisteredModel, inference_id: str) -> str:
    """Delete one inference, protected or not, with its entries, embedding, metadata and blob."""
    deleted = _delete(Inference.objects.filter(registered_model=model, inference_id=inference_id))
    if not deleted:
        raise Refusal.not_found(f"There is no inference {inference_id!r} of this model.")
    return deleted[0]


def delete_matching(*, model: RegisteredModel, filters: BaseInferenceFilter) -> list[str]:
    """Delete everything the filter matches; the ids that went."""
    return _delete(matching(model, filters))


@transaction.atomic
def _delete(queryset: QuerySet[Inference]) -> list[str]:
    # Locked in order of their keys, so that two deletes never wait for each other in a circle.
    locked = queryset.select_for_update(of=("self",)).order_by("pk").values_list("pk", "inference_id")
    rows = list(locked)
    for start in range(0, len(rows), DELETED_AT_ONCE):
        _delete_rows([key for key, _ in rows[start : start + DELETED_AT_ONCE]])
    return [inference_id for _, inference_id in rows]


def _delete_rows(keys: list[int]) -> None:
    doomed = list(Blob.objects.filter(inference_id__in=keys).values_list("key", flat=True))
    Blob.objects.filter(key__in=doomed).update(inference_id=None, doomed_at=timezone.now())
    with connection.cursor() as cursor:
        for table in (Entry, Embedding):
            statement = SQL("delete from {} where inference_id = any(%s)")
            cursor.execute(statement.format(Identifier(table._meta.db_table)), [keys])
        statement = SQL("delete from {} where id = any(%s)")
        cursor.execute(statement.format(Identifier(Inference._meta.db_table)), [keys])
    transaction.on_commit(partial(remove_blobs, doomed), robust=True)


def remove_blobs(keys: list[str]) -> None:
    """Remove the bytes of doomed blobs, then their rows. What fails is left to the sweep."""
    for key in keys:
        try:
            blobs.remove(key)
        except OSError:
            logger.warning("The blob %s could not be removed; the sweep will try again.", key, exc_info=True)
        else:
            Blob.objects.filter(key=key).delete()
