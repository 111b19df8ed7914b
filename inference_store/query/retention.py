"""Retention as it is read: policies, tasks, and what a dry run found."""

from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.db.models import Max, QuerySet

from inference_store.contract.base import INT64_MAX
from inference_store.contract.enums import PaginationSortDirection, RetentionReason
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT, LARGEST_LIMIT, Pagination, parse_instant
from inference_store.contract.jobs import NewGetRetentionTasksRequest, RetentionPreview
from inference_store.contract.jobs import RetentionPolicy as PolicyBody
from inference_store.contract.jobs import RetentionPreviewItem as ItemBody
from inference_store.contract.jobs import RetentionTask as TaskBody
from inference_store.models import (
    JobState,
    RegisteredModel,
    RetentionPolicy,
    RetentionPreviewItem,
    RetentionTask,
)
from inference_store.models.job import hence

READ_AT_ONCE = 2_000


# --- Policies and tasks -------------------------------------------------------------------------------------
def policy_of(model: RegisteredModel) -> RetentionPolicy | None:
    """The model's policy."""
    found: RetentionPolicy | None = RetentionPolicy.objects.filter(registered_model=model).first()
    return found


def policy_body(policy: RetentionPolicy) -> PolicyBody:
    """The policy as the contract tells it; its model must be loaded."""
    return PolicyBody(
        id=str(policy.pk),
        model_id=policy.registered_model.model_id,
        delete_action=policy.delete_action,
        maximum_record_age=policy.maximum_record_age,
        maximum_blob_age=policy.maximum_blob_age,
        automated_interval=policy.automated_interval,
        last_scheduled_at=policy.last_scheduled_at,
    )


def task_body(task: RetentionTask) -> TaskBody:
    """The task as the contract tells it."""
    return TaskBody(
        id=str(task.pk),
        retention_policy_id=str(task.retention_policy_id),
        deleted_record_count=task.deleted_record_count,
        deleted_blob_count=task.deleted_blob_count,
        total_record_count=task.total_record_count,
        total_blob_count=task.total_blob_count,
        state=task.state,
        maximum_record_age_limit=task.record_limit,
        maximum_blob_age_limit=task.blob_limit,
        dry_run=task.dry_run,
        delete_action=task.delete_action,
        maximum_record_age=task.maximum_record_age,
        maximum_blob_age=task.maximum_blob_age,
        preview_task_id=str(task.preview_id) if task.preview_id else None,
        started_by=task.started_by,
        is_automated=task.is_automated,
        created_at=task.created_at,
        finished_at=task.finished_at,
        deleted_bytes=task.deleted_bytes,
        deleted_digest=task.deleted_digest,
        error=task.error or None,
    )


def retention_tasks(model: RegisteredModel, request: NewGetRetentionTasksRequest) -> list[RetentionTask]:
    """A page of the model's tasks, oldest first unless asked otherwise."""
    pagination = request.pagination or Pagination()
    if pagination.cursor is not None:
        raise Refusal.invalid("pagination.cursor", "this list has none; go on with offset")
    if pagination.sort not in (None, "created_at"):
        raise Refusal.invalid("pagination.sort", "must be created_at")
    limit, offset = pagination.limit or DEFAULT_LIMIT, pagination.offset or 0
    if limit > LARGEST_LIMIT:
        raise Refusal.invalid("pagination.limit", f"must be 1 to {LARGEST_LIMIT:,}")
    way = "-" if pagination.direction == PaginationSortDirection.DESCENDING.value else ""
    found = _matching(model, request).order_by(f"{way}created_at", f"{way}id")
    # Beyond what the database can count to lies nothing.
    return list(found[offset : offset + limit]) if offset <= INT64_MAX - limit else []


def _matching(model: RegisteredModel, request: NewGetRetentionTasksRequest) -> QuerySet[RetentionTask]:
    found: QuerySet[RetentionTask] = RetentionTask.objects.filter(registered_model=model)
    if request.retention_policy_id is not None:
        try:
            found = found.filter(retention_policy_id=UUID(request.retention_policy_id))
        except ValueError:
            return found.none()
    if request.state_filter is not None:
        found = found.filter(state=request.state_filter)
    if (window := request.time_window_filter) is not None:
        if window.start is not None:
            found = found.filter(created_at__gte=parse_instant(window.start))
        if window.end is not None:
            found = found.filter(created_at__lte=parse_instant(window.end))
    return found


# --- What a dry run found -----------------------------------------------------------------------------------
def refuse_unlisted(task: RetentionTask) -> None:
    """Raise where the task has no list: it is no dry run, has not completed, or is past its time."""
    if not task.dry_run:
        raise Refusal.conflict("This task is no dry run: it has no list of what it would take.")
    if task.state != JobState.COMPLETE.value:
        raise Refusal.conflict(f"This dry run is {task.state}; there is a list once one is complete.")
    kept = settings.RETENTION_PREVIEW_KEPT_HOURS
    in_time = RetentionTask.objects.filter(pk=task.pk, finished_at__gte=hence(-kept * 3600)).exists()
    found = task.total_record_count + task.total_blob_count
    if not in_time or (found and not task.items.filter(position=1).exists()):
        raise Refusal.not_found(f"The list of this dry run was kept for {kept} hours; make another dry run.")


def preview_page(task: RetentionTask, *, limit: int = DEFAULT_LIMIT, cursor: str = "") -> RetentionPreview:
    """A page of what the dry run found; refused where there is no list."""
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Refusal.invalid("cursor", "is not a cursor that this store gave")
    refuse_unlisted(task)
    rows = list(_items(task, int(cursor or 0))[: limit + 1])
    page = rows[:limit]
    return RetentionPreview(
        items=[item_body(row) for row in page],
        next_cursor=str(page[-1].position) if len(rows) > limit else None,
    )


def preview_items(task: RetentionTask) -> Iterator[ItemBody]:
    """All that the dry run found, in constant memory; refused, at once, where there is no list."""
    refuse_unlisted(task)
    return _all_items(task, task.items.aggregate(last=Max("position"))["last"] or 0)


def _all_items(task: RetentionTask, last: int) -> Iterator[ItemBody]:
    position = 0
    while position < last:
        rows = list(_items(task, position)[:READ_AT_ONCE])
        if not rows or rows[-1].position != position + len(rows):
            # Better a download that breaks off than one that looks whole.
            raise RuntimeError(f"The list of dry run {task.pk} was purged while it was read.")
        for row in rows:
            yield item_body(row)
        position = rows[-1].position


def _items(task: RetentionTask, position: int) -> QuerySet[RetentionPreviewItem]:
    return RetentionPreviewItem.objects.filter(task=task, position__gt=position).order_by("position")


def item_body(item: RetentionPreviewItem) -> ItemBody:
    return ItemBody.model_construct(
        inference_id=item.inference_id,
        created_at=item.created_at,
        reason=RetentionReason(item.reason),
        blob_count=item.blob_count,
        blob_bytes=item.blob_bytes,
    )
