"""Vectors that somebody searched by: an address names one instead of spelling a thousand numbers."""

from django.db import models
from django.db.models.functions import Now

from inference_store.models.registered_model import RegisteredModel


class QueryVector(models.Model):
    """A float32 vector under its digest, so that the same one has the same address for everybody."""

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, db_index=False, related_name="query_vectors"
    )
    digest = models.CharField(max_length=32, db_collation="C")
    packed = models.BinaryField()  # little-endian float32
    used_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["registered_model", "digest"], name="one_vector_of_a_digest"),
        ]
        indexes = [models.Index(fields=["registered_model", "used_at"], name="query_vector_used")]

    def __str__(self) -> str:
        return self.digest
