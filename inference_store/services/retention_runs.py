"""Retention tasks are carried out, batch by batch.

A batch is one transaction that holds the task's row: it locks what it takes in order of the keys, looks again
whether that is protected, and deletes, counts and moves on together. So a protection that was answered
first always wins, one that comes later finds nothing there, and a task can be taken up after any batch.
"""

import hashlib
import logging
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import F, Max, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected, LockNotAvailable

from inference_store.contract.enums import AuditAction, DeleteAction, RetentionReason
from inference_store.contract.jobs import KEPT_FOR_EVER
from inference_store.models import Blob, Inference, JobState, RetentionPreviewItem, RetentionTask
from inference_store.services import audit, deletion, jobs, soft_deletion
from inference_store.services.commits import after_commit
from inference_store.services.retention import task_actor

logger = logging.getLogger(__name__)

TAKEN_AT_ONCE = 500
"""A transaction of 70 ms softly, 35 ms hard, 45 ms for inputs alone (2 cores; 3 entries, 5 keys, 64 floats
each); one of 2,000 takes 360 ms, and is no faster by the inference."""
LISTED_AT_ONCE = 5_000
"""100 ms, with no lock but the task's own."""
LOCK_SECONDS = 1
"""A batch that waits longer for somebody's row lets go of its own and begins again."""

RECORD, BLOB = RetentionReason.RECORD.value, RetentionReason.BLOB.value
KINDS = {RECORD: list(Blob.Kind), BLOB: [Blob.Kind.DATA]}
"""Which blobs go: an uploaded inference stays with its record."""

LIST = """
    with listed as (
        insert into inference_store_retentionpreviewitem
               (task_id, position, inference_key, inference_id, created_at, reason, blob_count, blob_bytes)
        select %(task)s, %(after)s + row_number() over (order by inference.created_at, inference.id),
               inference.id, inference.inference_id, inference.created_at, %(reason)s,
               owned.count, owned.bytes
          from inference_store_inference inference,
               lateral (select count(*) as count, coalesce(sum(size), 0) as bytes
                          from inference_store_blob blob
                         where blob.inference_id = inference.id and blob.kind = any(%(kinds)s)) owned
         where inference.id = any(%(keys)s) and not inference.is_protected
           and (inference.data_storage_key is not null or %(reason)s = 'record')
        returning blob_count)
    select count(*), coalesce(sum(blob_count), 0) from listed
"""


def run(pk: UUID) -> None:
    """Go on with a task, as far as one turn at the queue goes."""
    jobs.work(RetentionTask, pk, step)


def step(task: RetentionTask) -> bool:
    """A batch; whether there is more to do."""
    try:
        if not (task.dry_run or task.is_counted):
            _count(task)
            return True
        return _batch(task)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            raise
        logger.info("Retention task %s tries this batch again: %s", task.pk, error)
        return True


def _batch(task: RetentionTask) -> bool:
    with jobs.progress(task) as held:
        with connection.cursor() as cursor:
            cursor.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
        if held.dry_run:
            more = _list(held)
        elif held.preview_id is not None:
            more = _take_listed(held)
        else:
            more = _take_due(held)
        if not more:
            held.state, held.finished_at = JobState.COMPLETE.value, Now()
            _record_end(held)
    return more


def _record_end(held: RetentionTask) -> None:
    """What it did in all; the row names the record."""
    details = {
        "task": str(held.pk),
        "dry_run": held.dry_run,
        "records": held.total_record_count if held.dry_run else held.deleted_record_count,
        "blobs": held.total_blob_count if held.dry_run else held.deleted_blob_count,
        "digest": held.deleted_digest,
    }
    receipt = audit.record(
        AuditAction.TASK_FINISH, model=held.registered_model, details=details, actor=task_actor(held)
    )
    held.audit_record_id = receipt.record_id


# --- What is due --------------------------------------------------------------------------------------------
def past_age(task: RetentionTask, reason: str) -> QuerySet[Inference]:
    """What is past its record age; or past its blob age, of what stays. Protected or not."""
    found: QuerySet[Inference] = Inference.objects.filter(registered_model=task.registered_model)
    for_ever = task.maximum_record_age == KEPT_FOR_EVER
    if reason == RECORD:
        return found.none() if for_ever else found.filter(created_at__lt=task.record_limit)
    found = found.filter(created_at__lt=task.blob_limit, data_storage_key__isnull=False)
    return found if for_ever else found.filter(created_at__gte=task.record_limit)


def next_rows(task: RetentionTask) -> QuerySet[Inference, tuple[datetime, int]]:
    """What comes next by age. Protected ones too: so a batch reads an index alone, and not far."""
    found = past_age(task, task.reason)
    if task.after_time is not None:
        found = found.filter(TupleGreaterThan((F("created_at"), F("id")), (task.after_time, task.after_key)))
    return found.order_by("created_at", "id").values_list("created_at", "id")


def _go_on(held: RetentionTask, page: list[tuple[datetime, int]]) -> bool:
    """Go on after this page, with the blobs after the last record; whether there is more to do."""
    if page:
        held.after_time, held.after_key = page[-1]
        return True
    if held.reason == BLOB:
        return False
    held.reason, held.after_time, held.after_key = BLOB, None, 0
    return True


def _count(task: RetentionTask) -> None:
    """What there is to take. Without a lock: it may take long."""
    with transaction.atomic():
        jobs.unlimited()
        with connection.cursor() as cursor:
            # Of what was imported since the last analyze the planner expects one row, and would compare
            # each record with each blob.
            cursor.execute("set local enable_nestloop = off")
        records = past_age(task, RECORD).filter(is_protected=False)
        blobs = Blob.objects.filter(
            registered_model=task.registered_model, inference_id__in=records.values("pk")
        )
        record_count, blob_count = records.count(), blobs.count()
        blob_count += past_age(task, BLOB).filter(is_protected=False).count()
    with jobs.progress(task) as held:
        held.total_record_count, held.total_blob_count = record_count, blob_count
        held.is_counted = True


# --- A dry run ----------------------------------------------------------------------------------------------
def _list(held: RetentionTask) -> bool:
    """Write down what a run would take next; the totals are those of the list."""
    page = list(next_rows(held)[:LISTED_AT_ONCE])
    given = {
        "task": held.pk,
        "after": held.items.aggregate(last=Max("position"))["last"] or 0,
        "reason": held.reason,
        "kinds": KINDS[held.reason],
        "keys": [key for _, key in page],
    }
    with connection.cursor() as cursor:
        cursor.execute(LIST, given)
        items, blobs = cursor.fetchone()
    held.total_record_count += items if held.reason == RECORD else 0
    held.total_blob_count += int(blobs)
    held.is_counted = not (more := _go_on(held, page))
    return more


# --- A run --------------------------------------------------------------------------------------------------
def _take_due(held: RetentionTask) -> bool:
    page = list(next_rows(held)[:TAKEN_AT_ONCE])
    _take(held, [key for _, key in page])
    return _go_on(held, page)


def _take_listed(held: RetentionTask) -> bool:
    """Take what comes next in the dry run's list; what was stored anew has another key."""
    items = RetentionPreviewItem.objects.filter(task=held.preview_id, position__gt=held.after_key)
    page = list(items.order_by("position")[:TAKEN_AT_ONCE])
    if not page:
        return False
    held.reason = page[0].reason
    page = list(takewhile(lambda item: item.reason == held.reason, page))
    _take(held, [item.inference_key for item in page])
    held.after_key = page[-1].position
    return True


def _take(held: RetentionTask, keys: list[int]) -> None:
    """Take those of the keys that may be taken still, in their order, and count them."""
    found = Inference.objects.filter(pk__in=keys, registered_model=held.registered_model, is_protected=False)
    if held.reason == BLOB:
        found = found.filter(data_storage_key__isnull=False)
    locked = dict(found.select_for_update().order_by("pk").values_list("pk", "inference_id"))
    taken = [key for key in keys if key in locked]
    if not taken:
        return
    if held.reason == RECORD:
        if held.delete_action == DeleteAction.SOFT.value:
            soft_deletion.keep(taken, held.pk)
        doomed = deletion.delete_rows(taken)
        held.deleted_record_count += len(taken)
    else:
        Inference.objects.filter(pk__in=taken).update(data_storage_key=None, updated_at=Now())
        doomed = deletion.doom(taken, KINDS[BLOB])
    held.deleted_blob_count += len(doomed.keys)
    held.deleted_bytes += doomed.size
    # What was unprotected, or imported, since the count goes as well.
    held.total_record_count = max(held.total_record_count, held.deleted_record_count)
    held.total_blob_count = max(held.total_blob_count, held.deleted_blob_count)
    for key in taken:
        link = f"{held.deleted_digest} {held.reason} {locked[key]}"
        held.deleted_digest = hashlib.sha256(link.encode()).hexdigest()
    audit.record(
        AuditAction.INFERENCE_EXPIRE if held.reason == RECORD else AuditAction.INPUT_EXPIRE,
        model=held.registered_model,
        inference_ids=[locked[key] for key in taken],
        details={"task": str(held.pk), "action": held.delete_action, "digest": held.deleted_digest},
        actor=task_actor(held),
    )
    after_commit(deletion.remove_blobs, doomed.keys)
