"""What was uploaded or exported: one row a storage key, which outlives neither its owner nor its bytes."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store.models.registered_model import RegisteredModel


class Blob(models.Model):
    """An uploaded input, an uploaded inference with metadata, or the archive of an export.

    Life: made (its URL handed out) → uploaded → claimed by one inference, or swept → doomed, when its
    inference goes or the claim came to nothing → its bytes removed after commit, then this row.
    """

    class Kind(models.TextChoices):
        DATA = "data"
        METADATA = "metadata"
        ARCHIVE = "archive"

    key = models.TextField(primary_key=True, db_collation="C")
    registered_model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="blobs")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    uploaded_at = models.DateTimeField(null=True)
    doomed_at = models.DateTimeField(null=True)
    inference_id = models.BigIntegerField(null=True)  # its owner
    size = models.BigIntegerField(null=True)
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["inference_id", "kind"], name="one_blob_of_a_kind"),
        ]
        indexes = [
            # The hourly sweep: what nobody owns, oldest first.
            models.Index("created_at", name="blob_unclaimed", condition=Q(inference_id__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.key
