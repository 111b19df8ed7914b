"""The exceptions that the client raises."""

from collections.abc import Mapping
from typing import TypeAlias

import httpx
from pydantic import ValidationError

from inference_store.contract.enums import RetentionTaskState
from inference_store.contract.errors import ErrorBody
from inference_store.contract.jobs import ExportTask, RetentionTask

UNREACHABLE = "unreachable"
NOT_CONFIGURED = "not_configured"
NOT_A_STORE = "not_a_store"
NOT_FOUND = "not_found"
INVALID = "invalid"
NO_ARCHIVE = "no_archive"

Task: TypeAlias = ExportTask | RetentionTask


class ArchiveError(Exception):
    """An archive is not, byte for byte, what an export writes; the message says what is wrong and where."""


class InferenceStoreError(Exception):
    """A call that did not succeed.

    Attributes:
        status: the HTTP status; 0 where no answer came.
        message: what was wrong and what to do.
        code: a slug for programs; besides the store's own: "unreachable", "not_configured", "not_a_store",
            "no_archive".
        fields: what is wrong with which field, by the field's path.
    """

    def __init__(
        self, status: int, message: str, code: str = "", fields: Mapping[str, str] | None = None
    ) -> None:
        # All four reach Exception.args, so that the error survives pickling between processes.
        super().__init__(status, message, code, dict(fields or {}))
        self.status = status
        self.message = message
        self.code = code
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        number = f"{self.status} " if self.status else ""
        listed = "; ".join(f"{path}: {reason}" for path, reason in self.fields.items())
        return f"{number}{self.message}" + (f" ({listed})" if listed else "")


class TaskNotCompleteError(Exception):
    """A task that was waited for has failed or was stopped.

    Attributes:
        task: the task as it ended; its `state` says which of the two.
        error: why it failed, where the store says so.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.task = task
        self.error = task.error

    def __str__(self) -> str:
        ended = "was stopped" if self.task.state == RetentionTaskState.STOPPED else self.task.state
        return f"{_named(self.task)} {ended}" + (f": {self.error}" if self.error else "")


class TaskTimeoutError(TimeoutError):
    """A task was not done in the time that it was waited for; it goes on in the store.

    Attributes:
        task: the task as it was last seen.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return f"{_named(self.task)} is still {self.task.state}; it goes on in the store"


def _named(task: Task) -> str:
    return f"{'export' if isinstance(task, ExportTask) else 'retention'} task {task.id}"


def error_body(response: httpx.Response) -> ErrorBody | None:
    """The store's own words, None where something else answered."""
    try:
        return ErrorBody.model_validate_json(response.content)
    except ValidationError:
        return None
