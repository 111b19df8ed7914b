"""Retention tasks: runs of a retention policy, dry or for good."""

from collections.abc import Iterator
from functools import partial

from inference_store.client.calls import call, find
from inference_store.client.paging import tasks_in_parts
from inference_store.client.waiting import Waiting, wait
from inference_store.contract.filters import DEFAULT_LIMIT, LARGEST_LIMIT, Pagination
from inference_store.contract.jobs import (
    NewGetRetentionTasksRequest,
    NewRetentionTaskRequest,
    RetentionPreview,
    RetentionPreviewItem,
    RetentionTask,
    RetentionTaskList,
)

__all__ = [
    "create_retention_task",
    "filter_retention_tasks",
    "get_retention_preview",
    "get_retention_task",
    "iterate_retention_preview",
    "stop_retention_task",
    "wait_for_retention",
]


def create_retention_task(model_id: str, request_body: NewRetentionTaskRequest) -> RetentionTask | None:
    """Create a retention task of a retention policy that is not automated; a dry run of any.

    Args:
        model_id: The model id.
        request_body: The retention policy to execute.

    Returns:
        The retention task.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    path = ("models", model_id, "retention-tasks")
    return call(RetentionTask, "POST", *path, body=request_body, repeatable=False)


def get_retention_task(model_id: str, retention_task_id: str) -> RetentionTask | None:
    """Get a retention task.

    Args:
        model_id: The model id.
        retention_task_id: The retention task id.

    Returns:
        The retention task; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(RetentionTask, "GET", "models", model_id, "retention-tasks", retention_task_id)


def filter_retention_tasks(model_id: str, request_body: NewGetRetentionTasksRequest) -> list[RetentionTask]:
    """Filter retention tasks.

    Args:
        model_id: The model id.
        request_body: The retention task filter.

    Returns:
        The retention tasks that meet the criteria, oldest first unless asked otherwise.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    pagination = request_body.pagination or Pagination()

    def fetch(size: int, start: int) -> list[RetentionTask]:
        part = pagination.model_copy(update={"limit": size, "offset": start})
        request = request_body.model_copy(update={"pagination": part})
        path = ("models", model_id, "retention-tasks", "filter")
        return call(RetentionTaskList, "POST", *path, body=request).retention_tasks

    return tasks_in_parts(fetch, pagination.limit or DEFAULT_LIMIT, pagination.offset or 0)


def stop_retention_task(model_id: str, retention_task_id: str) -> RetentionTask | None:
    """Stop a retention task; what it has deleted stays deleted. One that has ended stays as it is.

    Args:
        model_id: The model id.
        retention_task_id: The retention task id.

    Returns:
        The retention task; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(RetentionTask, "POST", "models", model_id, "retention-tasks", retention_task_id, "stop")


def get_retention_preview(model_id: str, retention_task_id: str) -> list[RetentionPreviewItem]:
    """Get all that a dry run found: what a run started from it would delete, and why.

    Args:
        model_id: The model id.
        retention_task_id: The id of a dry run.

    Returns:
        The records with their blobs first, then the blobs of records that stay, each by age.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return list(iterate_retention_preview(model_id, retention_task_id))


def iterate_retention_preview(model_id: str, retention_task_id: str) -> Iterator[RetentionPreviewItem]:
    """As `get_retention_preview`, page by page as it is asked for.

    Args:
        model_id: The model id.
        retention_task_id: The id of a dry run.

    Returns:
        The records with their blobs first, then the blobs of records that stay, each by age.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    params = {"limit": str(LARGEST_LIMIT)}
    path = ("models", model_id, "retention-tasks", retention_task_id, "preview")
    while True:
        page = call(RetentionPreview, "GET", *path, params=params)
        yield from page.items
        if page.next_cursor is None:
            return
        params["cursor"] = page.next_cursor


def wait_for_retention(
    model_id: str,
    retention_task_id: str,
    *,
    timeout: float | None = None,
    interval: float = 0.5,
    progress: bool = True,
) -> RetentionTask:
    """Wait until a retention task is complete. A store that starts anew meanwhile is waited for too.

    Args:
        model_id: The model id.
        retention_task_id: The retention task id.
        timeout: Seconds to wait at most; without it, as long as it takes.
        interval: Seconds until it is asked for again; they grow to about three.
        progress: Whether to show a bar on stderr, of records and blobs together.

    Returns:
        The complete retention task.

    Raises:
        TaskNotCompleteError: it failed or was stopped.
        TaskTimeoutError: it is not complete yet. It is a TimeoutError.
        InferenceStoreError: there is no such task, or the store refused or could not be reached.
    """
    ask = partial(get_retention_task, model_id, retention_task_id)
    return wait(ask, _measure, Waiting("retention", timeout, interval, progress))


def _measure(task: RetentionTask) -> tuple[int, int | None]:
    total = task.total_record_count + task.total_blob_count
    if task.dry_run:
        # It counts, and deletes nothing.
        return total, None
    return task.deleted_record_count + task.deleted_blob_count, total
