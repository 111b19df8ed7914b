"""Embeddings, apart from inferences so that a page of those never reads vectors."""

from django.db import models
from pgvector.django import HalfVectorField, VectorField

from inference_store.models.inference import Inference
from inference_store.models.registered_model import RegisteredModel


class Embedding(models.Model):
    """The float32 embedding of an inference, of its model's size. No foreign key: see Entry.

    Vectors lie in their rows as far as two of these fit on a page: an exact search reads them three times
    as fast as from TOAST.
    """

    inference = models.OneToOneField(
        Inference,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="embedding",
    )
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    vector = VectorField()

    class Meta:
        indexes = [models.Index(fields=["registered_model", "inference"], name="embedding_of_model")]

    def __str__(self) -> str:
        return f"embedding of {self.pk}"


class UnitEmbedding(models.Model):
    """An embedding again, at length 1 and in halves: half the bytes, and compared in a tenth of the time.

    Made in the background where there is a vector index for cosines, of every embedding up to its watermark.
    """

    inference_id = models.BigIntegerField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    half = HalfVectorField()

    def __str__(self) -> str:
        return f"unit embedding of {self.pk}"
