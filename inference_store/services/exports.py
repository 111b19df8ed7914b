"""Exports are asked for, stopped, told about, and expire."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import (
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Least, Now

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import ExportTask, NewExportTaskRequest
from inference_store.models import Blob, Export, JobState, RegisteredModel, RetentionPolicy, Role, User
from inference_store.services import audit, jobs
from inference_store.services.commits import after_commit
from inference_store.services.deletion import remove_blobs

MOST_DETAILED = 20
"""Ids that an audit record names of those an export was asked to include or leave out."""


@transaction.atomic
def create_export(
    *, model: RegisteredModel, user: User | AnonymousUser, request: NewExportTaskRequest
) -> Export:
    """Begin an export of what the request describes; a worker does the rest."""
    writer = WRITERS[request.format]
    writer.refuse_unfit(model)
    export = Export.objects.create(
        registered_model=model,
        user_id=user.pk,
        started_by=user.get_username(),
        format=request.format,
        request=request.model_dump(mode="json", exclude_none=True),
    )
    jobs.send(export)
    details = {
        "export": str(export.pk),
        "format": export.format,
        "include": request.include_inference_ids,
        "exclude": request.exclude_inference_ids,
    }
    details = {name: _bounded(value) for name, value in details.items() if value}
    audit.record(AuditAction.EXPORT_CREATE, model=model, filters=request.filters, details=details)
    return export


def _bounded(value: Any) -> Any:
    """So many ids; of more, how many and their digest. The whole request is in the export's row."""
    if not isinstance(value, list) or len(value) <= MOST_DETAILED:
        return value
    return {"count": len(value), "sha256": audit.digest_of([audit.spelt(sorted(value))])}


def record_link(model: RegisteredModel, export_ids: list[str]) -> None:
    """Somebody was handed a link to read each of these archives."""
    with transaction.atomic():
        audit.record(AuditAction.EXPORT_LINK, model=model, details={"exports": export_ids})


def record_download(archive_key: str) -> None:
    """An archive is read by its link, which does not say by whom."""
    export = Export.objects.filter(archive_key=archive_key).select_related("registered_model").first()
    if export is not None:
        with transaction.atomic():
            details = {"export": str(export.pk)}
            audit.record(AuditAction.EXPORT_DOWNLOAD, model=export.registered_model, details=details)


def find_export(*, model: RegisteredModel, export_id: str) -> Export:
    return jobs.find(Export, model, export_id)


def stop_export(*, export: Export, user: User | AnonymousUser) -> Export:
    """Stop it, by the one who began it or an editor; what it wrote is removed."""
    if export.user_id != user.pk:
        role = export.registered_model.project.role_of(user)
        if role is None or role.rank < Role.EDITOR.rank:
            raise Refusal(403, "forbidden", "Only an editor may stop somebody else's export.")
    stopped = jobs.stop(export)
    discard_unfinished(stopped)
    return stopped


def discard_unfinished(export: Export) -> None:
    """Remove what an export that was stopped or failed has written. Harmless at any other time."""
    if export.state not in (JobState.STOPPED.value, JobState.FAILED.value):
        return
    blobs.discard_draft(str(export.pk))
    export.batches.all().delete()
    if export.archive_key is not None:
        _remove_archives(Export.objects.filter(pk=export.pk))


def model_exports(model: RegisteredModel) -> QuerySet[Export]:
    """The model's exports, newest first."""
    found: QuerySet[Export] = Export.objects.filter(registered_model=model)
    return found


def _with_expiry(exports: QuerySet[Export]) -> QuerySet[Export]:
    """With `gone_at`: an archive goes when its time is over, and never outlives the model's blob age."""
    age = ExpressionWrapper(F("maximum_blob_age") * Value(timedelta(hours=1)), output_field=DurationField())
    limit = ExpressionWrapper(OuterRef("created_at") + age, output_field=DateTimeField())
    of_model = RetentionPolicy.objects.filter(registered_model=OuterRef("registered_model"))
    blob_age = of_model.values(limit=limit)
    return exports.annotate(gone_at=Least("expires_at", Subquery(blob_age)))


@dataclass(frozen=True, slots=True)
class ToldExport:
    """An export as the contract tells it; the key of its archive, for how many seconds that can be read."""

    task: ExportTask
    archive_key: str | None
    readable_seconds: int


def told(export: Export) -> ToldExport:
    return told_exports(Export.objects.filter(pk=export.pk))[0]


def told_exports(exports: QuerySet[Export]) -> list[ToldExport]:
    """Each as it is now. One query."""
    annotated: QuerySet[Any] = _with_expiry(exports).annotate(now=Now()).defer("plan")
    return [_told(export, export.gone_at, export.now) for export in annotated]


def _told(export: Export, gone_at: datetime | None, now: datetime) -> ToldExport:
    seconds = int((gone_at - now).total_seconds()) if gone_at and export.archive_key else 0
    readable = export.state == JobState.COMPLETE.value and seconds > 0
    task = ExportTask(
        id=str(export.pk),
        progress_count=export.progress_count,
        expected_count=export.expected_count,
        state=export.state,
        format=export.format,
        started_by=export.started_by,
        created_at=export.created_at,
        finished_at=export.finished_at,
        expires_at=gone_at,
        size=export.size,
        error=export.error or None,
    )
    return ToldExport(
        task=task,
        archive_key=export.archive_key if readable else None,
        readable_seconds=min(seconds, settings.BLOB_URL_SECONDS),
    )


def expire_archives() -> int:
    """Remove the archives whose time is over, and what unfinished exports left; how many archives went."""
    kept: QuerySet[Any] = _with_expiry(
        Export.objects.filter(state=JobState.COMPLETE.value, archive_key__isnull=False)
    )
    gone = _remove_archives(Export.objects.filter(pk__in=kept.filter(gone_at__lte=Now()).values("pk")))
    names = blobs.drafts()
    at_work = {str(pk) for pk in Export.objects.active().filter(pk__in=names).values_list("pk", flat=True)}
    for name in set(names) - at_work:
        blobs.discard_draft(name)
    for export in Export.objects.filter(
        Q(state=JobState.STOPPED.value) | Q(state=JobState.FAILED.value), archive_key__isnull=False
    ):
        discard_unfinished(export)
    return gone


def _remove_archives(exports: QuerySet[Export]) -> int:
    """Rows first, bytes after commit; what fails is left to the sweep."""
    removed = 0
    for export in exports.exclude(archive_key=None).select_related("registered_model").defer("plan"):
        key, model = export.archive_key, export.registered_model
        with transaction.atomic():
            if Export.objects.filter(pk=export.pk, archive_key=key).update(archive_key=None):
                Blob.objects.filter(key=key).update(doomed_at=Now())
                after_commit(remove_blobs, [str(key)])
                audit.record(AuditAction.EXPORT_EXPIRE, model=model, details={"export": str(export.pk)})
                removed += 1
    return removed


def kept_seconds() -> float:
    return float(settings.EXPORT_KEPT_HOURS * 3600)
