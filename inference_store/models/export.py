"""Exports: a filtered set as one archive."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from inference_store.contract.enums import ExportFormat
from inference_store.models.job import ACTIVE_STATES, Job


class Export(Job):
    """An export and how far it got.

    `request` is the NewExportTaskRequest. Once its set is fixed, `plan` holds what the writer needs to know
    of all of it, `expected_count` its size, and each ExportBatch some of its inferences. `lengths` (bytes)
    and `counters` say what is durable of the draft after `batches_done` of them.
    """

    format = models.CharField(max_length=8, choices=[(each.value, each.value) for each in ExportFormat])
    request = models.JSONField()
    plan = models.JSONField(null=True)
    expected_count = models.BigIntegerField(default=0)
    progress_count = models.BigIntegerField(default=0)
    batches_done = models.PositiveIntegerField(default=0)
    lengths = models.JSONField(default=dict)
    counters = models.JSONField(default=dict)
    archive_key = models.TextField(db_collation="C", null=True)  # noqa: DJ001  (null: no archive)
    size = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta(Job.Meta):
        indexes = [
            models.Index("registered_model", "created_at", "id", name="export_page"),
            # What a worker should be at, asked for every few seconds.
            models.Index("created_at", name="export_active", condition=models.Q(state__in=ACTIVE_STATES)),
            # When whoever started it last had a turn.
            models.Index("started_by", "turn_at", name="export_turns"),
            # What has an archive that will expire.
            models.Index("expires_at", name="export_archive", condition=models.Q(archive_key__isnull=False)),
        ]


class ExportBatch(models.Model):
    """The primary keys of some inferences of an export's set; gone when the export has finished."""

    pk = models.CompositePrimaryKey("export_id", "number")
    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="batches", db_index=False)
    number = models.PositiveIntegerField()
    keys = ArrayField(models.BigIntegerField())

    class Meta:
        verbose_name_plural = "export batches"

    def __str__(self) -> str:
        return f"batch {self.number} of {self.export_id}"
