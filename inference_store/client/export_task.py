"""Exports: a filtered set as one archive."""

from inference_store.client.calls import call, find
from inference_store.contract.jobs import ExportTask, NewExportTaskRequest

__all__ = ["create_export_task", "get_export_task"]


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
