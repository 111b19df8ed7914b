"""Retention tasks as they stand in their history, and the list of a dry run."""

from dataclasses import dataclass

from django.db.models import Max

from dashboard.jobs import Progress
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import KEPT_FOR_EVER, RetentionPreview
from inference_store.models import RetentionPolicy, RetentionTask
from inference_store.query.retention import preview_page

LIST_SIZE = 50
DIGITS_SHOWN = 12


@dataclass(frozen=True)
class TaskRow:
    """A task. A dry run counts on as it lists, so that nobody knows before how much there is."""

    task: RetentionTask
    progress: Progress
    can_stop: bool

    @property
    def name(self) -> str:
        if self.task.dry_run:
            return "Dry run"
        return "Run of a preview" if self.task.preview_id else "Run"

    @property
    def keeps_records(self) -> bool:
        return self.task.maximum_record_age == KEPT_FOR_EVER

    @property
    def digest_start(self) -> str:
        return self.task.deleted_digest[:DIGITS_SHOWN] + "…"

    @property
    def spared(self) -> bool:
        """Whether less went than was counted, though the run is complete: it was protected, or gone."""
        return (
            self.progress.state == "complete"
            and not self.task.dry_run
            and self.progress.expected is not None
            and self.progress.done < self.progress.expected
        )


def task_row(task: RetentionTask, is_admin: bool) -> TaskRow:
    """A row of the history; whoever may not stop the task is shown no button."""
    total = task.total_record_count + task.total_blob_count
    done = total if task.dry_run else task.deleted_record_count + task.deleted_blob_count
    progress = Progress(
        task.state,
        done,
        total if task.is_counted else None,
        is_stopping=task.stop_requested_at is not None,
    )
    can_stop = is_admin and progress.is_active and not progress.is_stopping
    return TaskRow(task, progress, can_stop)


@dataclass(frozen=True)
class Listing:
    """A page of what a dry run found, or why there is none. `count` is the whole list's length."""

    page: RetentionPreview | None
    count: int
    missing: str


def listing_of(task: RetentionTask, cursor: str) -> Listing:
    try:
        page = preview_page(task, limit=LIST_SIZE, cursor=cursor)
    except Refusal as refusal:
        return Listing(None, 0, refusal.message)
    return Listing(page, task.items.aggregate(last=Max("position"))["last"] or 0, "")


def is_takeable(task: RetentionTask, listing: Listing, policy: RetentionPolicy | None) -> bool:
    """Whether the list can be run: it holds something, and its policy stands and is run by hand."""
    return (
        listing.count > 0
        and policy is not None
        and policy.pk == task.retention_policy_id
        and not policy.automated_interval
    )
