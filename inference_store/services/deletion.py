"""Inferences are deleted by the user's own word: rows first, blobs after commit; of many, the rest later."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from psycopg.sql import SQL, Identifier

from inference_store import blobs
from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Blob, Inference, RegisteredModel
from inference_store.query.conditions import EqualsAny
from inference_store.query.matching import matching
from inference_store.services import audit, leftovers, soft_deletion
from inference_store.services.backups import removal_held
from inference_store.services.commits import after_commit
from inference_store.services.leftovers import array_of

logger = logging.getLogger(__name__)

DELETED_AT_ONCE = 50_000
"""Rows in one statement: bounds how long it takes, not the transaction."""
REMOVED_AT_ONCE = 500
"""Up to so many inferences go with their entries and embeddings; of more, these are removed later."""

CHOOSE = """
    select cardinality(keys), keys[cardinality(keys)], keys::text
      from (select array({}) offset 0) chosen(keys)
"""
# The keys in a query of their own: of those in plain sight the planner would weigh each.
DELETE = """
    delete from inference_store_inference where id = any((select %s::bigint[])::bigint[]) and ({}) is true
    returning id, inference_id
"""


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


def delete_matching(
    *, model: RegisteredModel, filters: BaseInferenceFilter, expected: int | None = None
) -> list[str]:
    """Delete everything the filter matches, softly deleted ones of those ids too; the ids that went.

    Nothing where it matches another number than `expected`: 409.
    """
    return _delete(model, matching(model, filters), expected=expected, filters=filters)


def delete_named(
    *, model: RegisteredModel, inference_ids: list[str], expected: int | None = None
) -> list[str]:
    """Delete those of the inferences that there are; the ids that went. `expected` as above."""
    rows = Inference.objects.filter(registered_model=model, inference_id__in=inference_ids)
    return _delete(model, rows, inference_ids, expected=expected)


@transaction.atomic
def _delete(
    model: RegisteredModel,
    queryset: QuerySet[Inference],
    named: Iterable[str] = (),
    *,
    expected: int | None = None,
    filters: BaseInferenceFilter | None = None,
) -> list[str]:
    soft_deletion.hold_off_restoring(model)
    gone: list[str] = []
    forgotten: list[str] = []
    last: int | None = 0
    while last is not None:
        last, rows = _delete_some(queryset.filter(pk__gt=last))
        keys, inference_ids = [key for key, _ in rows], [inference_id for _, inference_id in rows]
        if len(keys) > REMOVED_AT_ONCE:
            leftovers.leave(model, keys)
        else:
            leftovers.remove(keys)
        after_commit(remove_blobs, doom(keys).keys)
        forgotten += soft_deletion.forget(model, inference_ids)
        gone += inference_ids
    if expected is not None and len(gone) != expected:
        raise Refusal.conflict(f"There are {len(gone):,} now, not {expected:,}: nothing was deleted.")
    forgotten += soft_deletion.forget(model, [*named])
    _record(model, gone, forgotten, filters)
    return gone


def _record(
    model: RegisteredModel, gone: list[str], forgotten: list[str], filters: BaseInferenceFilter | None
) -> None:
    """What went, softly deleted ones too. By a filter also that nothing did: somebody meant it to."""
    if gone or forgotten or filters is not None:
        audit.record(
            AuditAction.INFERENCE_DELETE,
            model=model,
            inference_ids={*gone, *forgotten} if forgotten else gone,
            filters=filters,
            details={"softly_deleted": len(forgotten)} if forgotten else None,
        )


def _delete_some(queryset: QuerySet[Inference]) -> tuple[int | None, list[tuple[int, str]]]:
    """Delete what comes first in order of its keys: (key, id) each, after the last key where there is more.

    In that order, so that two deletions never wait for each other in a circle: each row is reached by the
    index of its key, as no other can answer `is true`. What another changed meanwhile must match still.
    """
    compiler = queryset.query.chain().get_compiler(connection=connection)
    try:
        chosen, parameters = queryset.order_by("pk").values("pk")[:DELETED_AT_ONCE].query.sql_with_params()
        compiler.pre_sql_setup()
        where, more = compiler.compile(compiler.query.where)
    except EmptyResultSet:  # Django sees that nothing can match
        return None, []
    with connection.cursor() as cursor:
        # As text, which goes back as it came.
        cursor.execute(CHOOSE.format(chosen), parameters)
        count, last, keys = cursor.fetchone()
        cursor.execute("set local enable_bitmapscan = off; set local enable_seqscan = off")
        cursor.execute(DELETE.format(where), [keys, *more])
        rows: list[tuple[int, str]] = cursor.fetchall()
        cursor.execute("set local enable_bitmapscan to default; set local enable_seqscan to default")
    return last if count == DELETED_AT_ONCE else None, rows


def delete_rows(keys: list[int]) -> Doomed:
    """Delete the inferences of these keys, which the caller has locked, and doom their blobs.

    Rows before entries, as all who store or delete do: so the counts that both change are locked in order.
    """
    with connection.cursor() as cursor:
        statement = SQL("delete from {} where id = any(%s::bigint[])")
        cursor.execute(statement.format(Identifier(Inference._meta.db_table)), [array_of(keys)])
    leftovers.remove(keys)
    return doom(keys)


def doom(keys: list[int], kinds: Iterable[Blob.Kind] = tuple(Blob.Kind)) -> Doomed:
    """Take from these inferences their blobs of those kinds. After the rows, and in order: as ingest does."""
    owned = Blob.objects.filter(EqualsAny(F("inference_id"), array_of(keys), "bigint"), kind__in=list(kinds))
    rows = list(owned.select_for_update().order_by("key").values_list("key", "size"))
    doomed = Doomed([key for key, _ in rows], sum(size or 0 for _, size in rows))
    if doomed.keys:
        _of_keys(doomed.keys).update(inference_id=None, doomed_at=Now())
    return doomed


def _of_keys(keys: list[str]) -> QuerySet[Blob]:
    """As one array: a list of parameters has its bounds."""
    return Blob.objects.filter(EqualsAny(F("key"), keys, "text"))


def remove_blobs(keys: list[str]) -> None:
    """Remove the bytes of doomed blobs, then their rows; what fails, or waits for a backup, is swept."""
    if not keys or removal_held():
        return
    removed = []
    for key in keys:
        try:
            blobs.remove(key)
        except (OSError, blobs.UnavailableError):
            logger.warning("The blob %s could not be removed; the sweep will try again.", key, exc_info=True)
        else:
            removed.append(key)
    if removed:
        _of_keys(removed).delete()
