"""Exports: a filtered set as one archive."""

import os
from functools import partial
from pathlib import Path
from uuid import uuid4

from inference_store.client.calls import call, find
from inference_store.client.errors import NO_ARCHIVE, NOT_FOUND, ArchiveError, InferenceStoreError
from inference_store.client.fetching import fetch
from inference_store.client.paging import tasks_in_parts
from inference_store.client.verification import check_archive
from inference_store.client.waiting import Waiting, wait
from inference_store.contract.enums import RetentionTaskState
from inference_store.contract.filters import DEFAULT_LIMIT, Pagination
from inference_store.contract.jobs import ExportTask, ExportTaskList, NewExportTaskRequest

__all__ = [
    "create_export_task",
    "download_export",
    "get_export_task",
    "list_export_tasks",
    "stop_export_task",
    "wait_for_export",
]


def create_export_task(model_id: str, request_body: NewExportTaskRequest) -> ExportTask | None:
    """Create an export task to get data and inferences, and optionally annotations and metadata.

    Args:
        model_id: The model id.
        request_body: The export task to execute.

    Returns:
        The export task.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(ExportTask, "POST", "models", model_id, "export-tasks", body=request_body, repeatable=False)


def get_export_task(model_id: str, export_task_id: str) -> ExportTask | None:
    """Get an export task.

    Args:
        model_id: The model id.
        export_task_id: The export task id.

    Returns:
        The export task, with a presigned URL once it is complete; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(ExportTask, "GET", "models", model_id, "export-tasks", export_task_id)


def list_export_tasks(model_id: str, limit: int = DEFAULT_LIMIT, offset: int = 0) -> list[ExportTask]:
    """List a model's export tasks.

    Args:
        model_id: The model id.
        limit: How many at most; a large number is fetched in parts.
        offset: How many to pass over.

    Returns:
        The export tasks, newest first.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
        ValueError: limit is below 1, or offset below 0.
    """
    Pagination(limit=limit, offset=offset)

    def fetch(size: int, start: int) -> list[ExportTask]:
        params = {"limit": str(size), "offset": str(start)}
        return call(ExportTaskList, "GET", "models", model_id, "export-tasks", params=params).export_tasks

    return tasks_in_parts(fetch, limit, offset)


def stop_export_task(model_id: str, export_task_id: str) -> ExportTask | None:
    """Stop an export; what it has written is removed. One that has ended stays as it is.

    Args:
        model_id: The model id.
        export_task_id: The export task id.

    Returns:
        The export task; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(ExportTask, "POST", "models", model_id, "export-tasks", export_task_id, "stop")


def wait_for_export(
    model_id: str,
    export_task_id: str,
    *,
    timeout: float | None = None,
    interval: float = 0.5,
    progress: bool = True,
) -> ExportTask:
    """Wait until an export is complete. A store that starts anew meanwhile is waited for too.

    Args:
        model_id: The model id.
        export_task_id: The export task id.
        timeout: Seconds to wait at most; without it, as long as it takes.
        interval: Seconds until it is asked for again; they grow to about three.
        progress: Whether to show a bar on stderr.

    Returns:
        The complete export task, with a presigned URL.

    Raises:
        TaskNotCompleteError: it failed or was stopped.
        TaskTimeoutError: it is not complete yet. It is a TimeoutError.
        InferenceStoreError: there is no such task, or the store refused or could not be reached.
    """
    ask = partial(get_export_task, model_id, export_task_id)
    return wait(ask, _measure, Waiting("export", timeout, interval, progress))


def _measure(task: ExportTask) -> tuple[int, int | None]:
    return task.progress_count, task.expected_count


def download_export(model_id: str, export_task_id: str, path: str | os.PathLike[str]) -> Path:
    """Download the archive of a complete export and verify it; only a good one gets its name.

    A connection that breaks is made anew and goes on where it was, for as long as more of it comes.

    Args:
        model_id: The model id.
        export_task_id: The export task id.
        path: The file to write; one that is there is replaced.

    Returns:
        The path.

    Raises:
        InferenceStoreError: there is no archive (code "no_archive" where the task has none, or none any
            more), or the store refused or could not be reached.
        ArchiveError: what came is not a good archive.
        OSError: the file can't be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; name a file to write")
    ask = partial(_archive_url, model_id, export_task_id)
    url = ask()
    unverified = target.with_name(f".{target.name[:100]}.{uuid4().hex}.part")
    try:
        fetch(url, unverified, ask)
        check_archive(unverified)
        os.replace(unverified, target)
    except ArchiveError as error:
        raise ArchiveError(f"what was downloaded is not good: {error}") from error
    finally:
        unverified.unlink(missing_ok=True)
    return target


def _archive_url(model_id: str, export_task_id: str) -> str:
    task = get_export_task(model_id, export_task_id)
    if task is None:
        raise InferenceStoreError(404, "There is no such export task.", NOT_FOUND)
    if task.presigned_url is not None:
        return task.presigned_url
    if task.state != RetentionTaskState.COMPLETE:
        hint = "" if task.finished_at else "; wait_for_export waits until it is complete"
        message = f"The export is {task.state} and has no archive{hint}."
    else:
        message = "The export's archive has expired; export the set again."
    raise InferenceStoreError(409, message, NO_ARCHIVE)
