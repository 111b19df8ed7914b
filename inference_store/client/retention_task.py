"""Retention tasks: runs of a retention policy, dry or for good."""

from inference_store.client.calls import call, find
from inference_store.contract.filters import DEFAULT_LIMIT, LARGEST_LIMIT, Pagination
from inference_store.contract.jobs import (
    NewGetRetentionTasksRequest,
    NewRetentionTaskRequest,
    RetentionTask,
    RetentionTaskList,
)

__all__ = ["create_retention_task", "filter_retention_tasks", "get_retention_task"]


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
    wanted = pagination.limit or DEFAULT_LIMIT
    offset = pagination.offset or 0
    # By id: a task made meanwhile shifts the parts of a newest-first list.
    tasks: dict[str, RetentionTask] = {}
    for start in range(0, wanted, LARGEST_LIMIT):
        size = min(LARGEST_LIMIT, wanted - start)
        part = pagination.model_copy(update={"limit": size, "offset": offset + start})
        request = request_body.model_copy(update={"pagination": part})
        path = ("models", model_id, "retention-tasks", "filter")
        found = call(RetentionTaskList, "POST", *path, body=request).retention_tasks
        tasks |= {task.id: task for task in found}
        if len(found) < size:
            break
    return list(tasks.values())
