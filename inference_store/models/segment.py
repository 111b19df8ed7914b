"""Segments: the numbers of a model's inferences up to a watermark, column by column, for counts of many.

Those of a model that are ready follow one another without a gap, as vector indexes do; what is stored later
lies beyond every watermark. Their content never changes: what became of a row since is read from the row, as
triggers write down which ones changed (docs/decisions/0023-segments.md).
"""

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import Q

from inference_store.models.inference import NUMBER_SLOTS
from inference_store.models.registered_model import RegisteredModel

TIME = "created_at"
PLACE = ("latitude", "longitude")
NUMBERS = (*PLACE, *NUMBER_SLOTS)
KEY = "id"


class SegmentQuerySet(models.QuerySet["Segment"]):
    def chain(self, model: RegisteredModel) -> "list[Segment]":
        """The segments to read, in order of their ids; beyond the last watermark there is none."""
        return list(self.filter(registered_model=model, state=Segment.State.READY).order_by("after"))


class Segment(models.Model):
    """The inferences of a model with ids beyond `after`, up to and including `watermark`."""

    class State(models.TextChoices):
        BUILDING = "building", "building"
        READY = "ready", "ready: read"

    # Never another's, even where a backup is restored: processes keep the content by it.
    id = models.UUIDField(primary_key=True, default=uuid4)
    registered_model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="segments")
    after = models.BigIntegerField()
    watermark = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.BUILDING)
    row_count = models.BigIntegerField(default=0)
    columns = models.JSONField(default=list, help_text="Of the numbers of inferences, those that it has.")
    seconds = models.FloatField(default=0, help_text="For which it was being built.")
    built_at = models.DateTimeField(null=True)

    objects: ClassVar[SegmentQuerySet] = SegmentQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["registered_model"], condition=Q(state="building"), name="segment_one_builds"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.registered_model_id}: {self.after} to {self.watermark}"


class SegmentColumn(models.Model):
    """One column of a segment, 8 bytes a row in network order, in order of `created_at` and id.

    `id` and `created_at` are integers, this one microseconds since 2000; numbers are doubles, NaN for null. A
    column that the segment has, but that is not here, is null in each row. `sample`: every so many of them.
    """

    segment = models.ForeignKey(Segment, on_delete=models.CASCADE, db_index=False, related_name="contents")
    name = models.CharField(max_length=10)
    content = models.BinaryField()
    sample = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["segment", "name"], name="segment_column")]

    def __str__(self) -> str:
        return f"{self.name} of {self.segment_id}"


class SegmentChange(models.Model):
    """A row that is no longer as a segment has it; without `inference_id`, that many of a segment's are not.

    Triggers write these; no keys refer to others, so that a delete looks nothing up.
    """

    registered_model_id = models.BigIntegerField()
    segment_id = models.UUIDField(null=True)
    inference_id = models.BigIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["registered_model_id"], name="segment_change_of_model")]

    def __str__(self) -> str:
        return f"{self.registered_model_id}: {self.inference_id or self.segment_id}"
