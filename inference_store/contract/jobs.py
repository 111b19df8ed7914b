"""Exports and retention, as they are asked for and as they are told."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_store.contract.base import STOP_AT_FIRST, Identifier, RequestModel, ResponseModel, Text
from inference_store.contract.enums import DeleteAction, ExportFormat, RetentionReason, RetentionTaskState
from inference_store.contract.filters import BaseInferenceFilter, Pagination, TimeWindowFilter

KEPT_FOR_EVER = -1
LONGEST_AGE_HOURS = 24 * 366 * 1000


class NewExportTaskRequest(RequestModel):
    """What to export: (filters and include_inference_ids) less exclude_inference_ids."""

    filters: BaseInferenceFilter = BaseInferenceFilter()
    include_inference_ids: Annotated[list[Identifier], STOP_AT_FIRST] = Field(default_factory=list)
    exclude_inference_ids: Annotated[list[Identifier], STOP_AT_FIRST] = Field(default_factory=list)
    include_inferences_as_annotations: bool = False
    include_custom_metadata: bool = False
    format: ExportFormat = ExportFormat.ARCHIVE


class ExportTask(ResponseModel):
    """An export: its state, counts of inferences, and a presigned url while there is an archive to read.

    Beyond the reference: `format`, who and when, `expires_at` (when the archive goes), `size` in bytes, and
    `error`, which says why it failed.
    """

    id: str
    progress_count: int
    expected_count: int
    state: str
    presigned_url: str | None = None
    format: str | None = None
    started_by: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    size: int | None = None
    error: str | None = None


class ExportTaskList(ResponseModel):
    """The exports of a model, newest first."""

    export_tasks: list[ExportTask]


class NewRetentionPolicyRequest(RequestModel):
    """How long to keep what, in hours since created_at; maximum_record_age -1 keeps records for ever.

    maximum_blob_age is at least 0 and at most maximum_record_age. automated_interval 0: run by hand.
    """

    automated_interval: Annotated[int, Field(ge=0, le=LONGEST_AGE_HOURS)]
    maximum_record_age: Annotated[int, Field(ge=KEPT_FOR_EVER, le=LONGEST_AGE_HOURS)]
    maximum_blob_age: Annotated[int, Field(ge=0, le=LONGEST_AGE_HOURS)]
    delete_action: DeleteAction = DeleteAction.SOFT

    @model_validator(mode="after")
    def _blob_within_record(self) -> Self:
        if self.maximum_record_age != KEPT_FOR_EVER and self.maximum_blob_age > self.maximum_record_age:
            raise ValueError("maximum_blob_age must be at most maximum_record_age")
        return self


class RetentionPolicy(ResponseModel):
    """A model's retention policy."""

    id: str
    model_id: str
    delete_action: str
    maximum_record_age: int
    maximum_blob_age: int
    automated_interval: int | None = None
    last_scheduled_at: datetime | None = None


class NewRetentionTaskRequest(RequestModel):
    """A retention policy to run; a dry run counts and lists, and deletes nothing.

    With `preview_task_id` a run takes the limits and the very set of that dry run, less what was protected
    since.
    """

    dry_run: bool
    retention_policy_id: Text
    preview_task_id: Text | None = None


class NewGetRetentionTasksRequest(RequestModel):
    """Which retention tasks to list."""

    retention_policy_id: Text | None = None
    state_filter: RetentionTaskState | None = None
    time_window_filter: TimeWindowFilter | None = None
    pagination: Pagination | None = None


class RetentionTask(ResponseModel):
    """A run of a retention policy: counts so far and expected, and the limits it works by.

    Beyond the reference: the policy as it was, who or what started the run and when, and of what went the
    bytes and a digest: `deleted_digest` begins as 64 zeros and becomes, for each record or blob that
    goes, the SHA-256 of "<digest> <reason> <inference id>". `error` says why it failed.
    """

    id: str
    retention_policy_id: str
    deleted_record_count: int
    deleted_blob_count: int
    total_record_count: int
    total_blob_count: int
    state: str
    maximum_record_age_limit: datetime
    maximum_blob_age_limit: datetime
    dry_run: bool | None = None
    delete_action: str | None = None
    maximum_record_age: int | None = None
    maximum_blob_age: int | None = None
    preview_task_id: str | None = None
    started_by: str | None = None
    is_automated: bool | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_bytes: int | None = None
    deleted_digest: str | None = None
    error: str | None = None


class RetentionTaskList(ResponseModel):
    """Retention tasks, oldest first unless asked otherwise."""

    retention_tasks: list[RetentionTask]


class RetentionPreviewItem(ResponseModel):
    """One thing that a dry run found: a record past its age with its blobs, or the blob of one that stays.

    `blob_bytes` is the size of those blobs.
    """

    inference_id: str
    created_at: datetime
    reason: RetentionReason
    blob_count: int
    blob_bytes: int


class RetentionPreview(ResponseModel):
    """A page of what a dry run found, records first, each by age; go on with `next_cursor`."""

    items: list[RetentionPreviewItem]
    next_cursor: str | None = None
