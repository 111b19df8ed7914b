"""Softly deleted inferences: out of every read's way, until restored or purged (docs/decisions/0001)."""

from django.db import models
from django.db.models.functions import Now
from pgvector.django import VectorField

from inference_store.models.registered_model import RegisteredModel


class SoftDeletedInference(models.Model):
    """An inference that retention took softly: its row and entries as JSON, its embedding. Its blob is gone.

    An id may stand here more than once: it can be stored again, and be deleted again.
    """

    id = models.BigIntegerField(primary_key=True)  # the key it had
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    inference_id = models.TextField(db_collation="C")
    deleted_at = models.DateTimeField(db_default=Now())
    retention_task_id = models.UUIDField()
    row = models.JSONField()
    entries = models.JSONField(default=list)
    vector = VectorField(null=True)

    class Meta:
        indexes = [
            # Restored and deleted by id.
            models.Index("registered_model", "inference_id", name="soft_deleted_id"),
            # Purged by age.
            models.Index("deleted_at", name="soft_deleted_at"),
        ]

    def __str__(self) -> str:
        return self.inference_id
