"""Softly deleted inferences are put away, brought back, and in time purged (docs/decisions/0001).

A row is kept as JSON, so that columns may come and go meanwhile; numbers of double precision as text, as
JSON would lose the sign of a zero.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F, QuerySet

from inference_store.contract.enums import AuditAction
from inference_store.models import Entry, Inference, RegisteredModel, SoftDeletedInference
from inference_store.models.inference import SLOTS
from inference_store.models.job import hence
from inference_store.query.conditions import EqualsAny
from inference_store.services import audit
from inference_store.services.slots import FilledSlots, parsed

RESTORED_AT_ONCE = 500
PURGED_AT_ONCE = 2_000
LOCK_CLASS = 1_919_251_310
"""Of the advisory locks, by model, that keep a restoration and the user's own deletions apart."""

KEEP = """
    insert into inference_store_softdeletedinference
           (id, registered_model_id, inference_id, retention_task_id, row, entries, vector)
    select inference.id, inference.registered_model_id, inference.inference_id, %(task)s,
           {row} || '{{"data_storage_key": null}}',
           coalesce((select jsonb_agg({entry} order by entry.position) from inference_store_entry entry
                      where entry.inference_id = inference.id), '[]'),
           embedding.vector
      from inference_store_inference inference
      left join inference_store_embedding embedding on embedding.inference_id = inference.id
     where inference.id = any(%(keys)s)
"""
METADATA = """
    select id, row ->> 'metadata' from inference_store_softdeletedinference where id = any(%s)
"""
RESTORE_ROWS = """
    insert into inference_store_inference ({columns})
    select {values}
      from unnest(%(keys)s::bigint[], %(slots)s::jsonb[]) filled(key, slots)
      join inference_store_softdeletedinference kept on kept.id = filled.key,
           jsonb_populate_record(null::inference_store_inference,
                                 %(defaults)s::jsonb || kept.row || filled.slots) held
     order by kept.inference_id
    on conflict (registered_model_id, inference_id) do nothing
    returning id
"""
RESTORE_ENTRIES = """
    insert into inference_store_entry ({columns})
    select {values}
      from inference_store_softdeletedinference kept, jsonb_array_elements(kept.entries) entry,
           jsonb_populate_record(null::inference_store_entry, %(defaults)s::jsonb || entry) held
     where kept.id = any(%(keys)s)
"""
RESTORE_EMBEDDINGS = """
    insert into inference_store_embedding (inference_id, registered_model_id, vector)
    select id, registered_model_id, vector from inference_store_softdeletedinference
     where id = any(%(keys)s) and vector is not null
"""
# Under their old keys, which a vector index may cover.
RESTORE_UNITS = """
    insert into inference_store_unitembedding (inference_id, registered_model_id, half)
    select inference_id, registered_model_id, l2_normalize(vector)::halfvec
      from inference_store_embedding where inference_id = any(%(keys)s)
    on conflict do nothing
"""
# No trigger says so, as ingest stores no old ids.
NOTE_RESTORED = """
    insert into inference_store_segmentchange (registered_model_id, inference_id)
    select registered_model_id, id from inference_store_inference held
     where id = any(%(keys)s) and exists (
           select from inference_store_segment s
            where s.registered_model_id = held.registered_model_id and held.id <= s.watermark)
"""
# Their codes have none of these: they are made anew, and who knows them sees that they are others.
NOTE_UNCODED = """
    update inference_store_vectorindex covering set claim = gen_random_uuid(), spreads = null
     where metric = 'cosine' and state in ('ready', 'leaving') and exists (
           select from inference_store_embedding held
            where held.inference_id = any(%(keys)s)
              and held.registered_model_id = covering.registered_model_id
              and held.inference_id > covering.after and held.inference_id <= covering.watermark)
"""


@dataclass(slots=True)
class Restored:
    """Ids that are back, and ids that are not, as one of them is stored that was not deleted."""

    restored: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


# --- Away ---------------------------------------------------------------------------------------------------
def keep(keys: list[int], task_id: UUID) -> None:
    """Copy these inferences to where the softly deleted ones are, within the caller's transaction."""
    statement = KEEP.format(row=_as_json(Inference, "inference"), entry=_as_json(Entry, "entry"))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"task": task_id, "keys": keys})


def _as_json(table: type[models.Model], alias: str) -> str:
    """A row as jsonb, exactly; without what is computed from the rest."""
    computed = [each.column for each in table._meta.concrete_fields if each.generated or each.name in SLOTS]
    doubles = [
        f"'{each.column}', {alias}.{each.column}::text"
        for each in table._meta.concrete_fields
        if isinstance(each, models.FloatField) and each.name not in SLOTS
    ]
    row = f"to_jsonb({alias}) || jsonb_build_object({', '.join(doubles)})"
    return " - ".join([f"({row})", *(f"'{column}'" for column in computed)])


def forget(model: RegisteredModel, inference_ids: list[str]) -> list[str]:
    """Remove all that was softly deleted under these ids, for good; the id of each."""
    kept = SoftDeletedInference.objects.filter(registered_model=model)
    if inference_ids and kept.exists():  # as a rule there are none
        doomed = kept.filter(EqualsAny(F("inference_id"), inference_ids, "text"))
        forgotten = list(doomed.select_for_update().values_list("pk", "inference_id"))
        kept.filter(pk__in=[key for key, _ in forgotten]).delete()
        return [inference_id for _, inference_id in forgotten]
    return []


def hold_off_restoring(model: RegisteredModel) -> None:
    """Until the caller's transaction ends, nothing of the model is restored."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(%s, %s)", [LOCK_CLASS, model.pk])


# --- Back ---------------------------------------------------------------------------------------------------
def restore_deleted(
    *, model: RegisteredModel, inference_ids: list[str] | None = None, task_id: UUID | None = None
) -> Restored:
    """Bring back what retention deleted softly: all of the model's, or these ids, or what that task took.

    Where an id was deleted more than once, the last one comes back. The inputs are gone for good.
    """
    found = SoftDeletedInference.objects.filter(registered_model=model)
    if inference_ids is not None:
        found = found.filter(inference_id__in=inference_ids)
    if task_id is not None:
        found = found.filter(retention_task_id=task_id)
    told = Restored()
    after: str | None = ""
    while after is not None:
        after = _restore_some(model, found, after, told)
    return told


@transaction.atomic
def _restore_some(
    model: RegisteredModel, found: QuerySet[SoftDeletedInference], after: str, told: Restored
) -> str | None:
    """Restore those that come next in order of their ids; the last of these, None where there was none."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, %s)", [LOCK_CLASS, model.pk])
    latest = found.filter(inference_id__gt=after).order_by("inference_id", "-deleted_at", "-id")
    chosen = list(latest.distinct("inference_id").values_list("id", "inference_id")[:RESTORED_AT_ONCE])
    if not chosen:
        return None
    # Locked, as a purge may be on its way to them.
    locked = SoftDeletedInference.objects.filter(pk__in=[key for key, _ in chosen]).select_for_update()
    ids = dict(locked.order_by("pk").values_list("id", "inference_id"))
    restored = _insert(list(ids), FilledSlots(model))
    SoftDeletedInference.objects.filter(pk__in=restored).delete()
    back = [ids[key] for key, _ in chosen if key in restored]
    if back:
        audit.record(AuditAction.INFERENCE_RESTORE, model=model, inference_ids=back)
    told.restored += back
    told.refused += [ids[key] for key, _ in chosen if key in ids and key not in restored]
    return chosen[-1][1]


def _insert(keys: list[int], slots: FilledSlots) -> set[int]:
    """Those of the keys that are live again: not those whose id is stored.

    Rows come with their slots, as ingest's do, so that both lock what they count in one order.
    """
    with connection.cursor() as cursor:
        rows: dict[str, Any] = {"defaults": _defaults(Inference)}
        rows["keys"], rows["slots"] = _filled(cursor, keys, slots)
        cursor.execute(_restoring(RESTORE_ROWS, Inference), rows)
        restored = [key for (key,) in cursor.fetchall()]
        given: dict[str, Any] = {"keys": restored, "defaults": _defaults(Entry)}
        cursor.execute(_restoring(RESTORE_ENTRIES, Entry), given)
        cursor.execute(RESTORE_EMBEDDINGS, {"keys": restored})
        cursor.execute(RESTORE_UNITS, {"keys": restored})
        cursor.execute(NOTE_RESTORED, {"keys": restored})
        cursor.execute(NOTE_UNCODED, {"keys": restored})
    return set(restored)


def _filled(cursor: CursorWrapper, keys: list[int], slots: FilledSlots) -> tuple[list[int], list[str]]:
    """The keys, and what each one's metadata puts in the slots, as JSON."""
    cursor.execute(METADATA, [keys])
    found = [(key, slots.values(parsed(text))) for key, text in cursor.fetchall()]
    slots.finish()
    texts = [(None if each is None else str(each) for each in values) for _, values in found]
    rows = [json.dumps(dict(zip(slots.columns, each, strict=True))) for each in texts]
    return [key for key, _ in found], rows


def _restoring(statement: str, table: type[models.Model]) -> str:
    columns = [str(each.column) for each in table._meta.concrete_fields if not each.generated]
    return statement.format(columns=", ".join(columns), values=", ".join(f"held.{each}" for each in columns))


def _defaults(table: type[models.Model]) -> str:
    """What a row kept before a column existed has in it."""
    known = {each.column: each.get_default() for each in table._meta.concrete_fields if each.has_default()}
    return json.dumps(known, cls=DjangoJSONEncoder)


# --- Gone ---------------------------------------------------------------------------------------------------
def purge_deleted() -> int:
    """Remove for good what was softly deleted so many days ago; how many went."""
    old = SoftDeletedInference.objects.filter(
        deleted_at__lt=hence(-settings.SOFT_DELETED_KEPT_DAYS * 86_400)
    ).order_by("deleted_at")
    purged = 0
    while count := _purge_some(old):
        purged += count
    return purged


@transaction.atomic
def _purge_some(old: QuerySet[SoftDeletedInference]) -> int:
    held = old.select_for_update(skip_locked=True, of=("self",)).select_related("registered_model")
    rows = list(held.only("registered_model", "inference_id")[:PURGED_AT_ONCE])
    of_model: dict[RegisteredModel, list[str]] = {}
    for row in rows:
        of_model.setdefault(row.registered_model, []).append(row.inference_id)
    for model, inference_ids in of_model.items():
        audit.record(AuditAction.INFERENCE_PURGE, model=model, inference_ids=inference_ids)
    return SoftDeletedInference.objects.filter(pk__in=[row.pk for row in rows]).delete()[0]
