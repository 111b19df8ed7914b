"""Exports as they stand in their list."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import IntegerField, QuerySet
from django.db.models.expressions import Func
from django.db.models.fields.json import KeyTransform

from dashboard.filter_words import FilterWords, filter_words
from dashboard.forms import FORMAT_WORDS
from dashboard.jobs import Progress
from inference_store.contract.enums import RetentionTaskState as State
from inference_store.contract.jobs import ExportTask
from inference_store.models import Export, RegisteredModel, Role, User
from inference_store.services import exports
from inference_store.services.exports import ToldExport


@dataclass(frozen=True)
class ExportRow:
    """An export. `named` and `left_out` count ids that were given besides the filter."""

    task: ExportTask
    format: str
    set: FilterWords
    named: int
    left_out: int
    progress: Progress
    is_readable: bool
    can_stop: bool

    @property
    def has_expired(self) -> bool:
        return self.task.state == State.COMPLETE.value and not self.is_readable


class _Length(Func):
    function = "jsonb_array_length"
    output_field = IntegerField()


def export_rows(
    model: RegisteredModel, user: User | AnonymousUser, found: QuerySet[Export]
) -> list[ExportRow]:
    """A row for each of them. Three queries at most."""
    told = exports.told_exports(found)
    if not told:
        return []
    asked = {
        str(row["pk"]): row
        for row in Export.objects.filter(pk__in=[each.task.id for each in told]).values(
            "pk",
            "user_id",
            "stop_requested_at",
            filters=KeyTransform("filters", "request"),
            named=_Length(KeyTransform("include_inference_ids", "request")),
            left_out=_Length(KeyTransform("exclude_inference_ids", "request")),
        )
    }
    role = model.project.role_of(user)
    may_stop_any = role is not None and role.rank >= Role.EDITOR.rank
    return [
        _row(each, asked[each.task.id], may_stop_any or asked[each.task.id]["user_id"] == user.pk)
        for each in told
        if each.task.id in asked
    ]


def _row(told: ToldExport, asked: dict[str, Any], may_stop: bool) -> ExportRow:
    task = told.task
    is_known = task.expected_count > 0 or task.state == State.COMPLETE.value
    progress = Progress(
        task.state,
        task.progress_count,
        task.expected_count if is_known else None,
        is_stopping=asked["stop_requested_at"] is not None,
    )
    return ExportRow(
        task=task,
        format=FORMAT_WORDS[str(task.format)].name,
        set=filter_words(asked["filters"] or {}),
        named=asked["named"] or 0,
        left_out=asked["left_out"] or 0,
        progress=progress,
        is_readable=told.archive_key is not None,
        can_stop=may_stop and progress.is_active and not progress.is_stopping,
    )
