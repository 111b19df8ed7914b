"""The catalogue of metadata keys, kept exact by statement triggers (migration 0002)."""

from django.db import models
from django.db.models import Sum

from inference_store.models.registered_model import RegisteredModel


class MetadataKeyQuerySet(models.QuerySet["MetadataKey"]):
    def counts(self, model: RegisteredModel) -> list[tuple[str, str, int]]:
        """(key, type, live inferences that hold it), by key and type."""
        rows = (
            self.filter(registered_model=model)
            .values_list("key", "type")
            .annotate(total=Sum("count"))
            .filter(total__gt=0)
            .order_by("key", "type")
        )
        return [(key, type_, total) for key, type_, total in rows]


class MetadataKey(models.Model):
    """How many live inferences hold a key of a type, spread over shards.

    Each database session adds to its own shard, so that writers don't queue for one hot row; only the
    sum over shards means anything.
    """

    pk = models.CompositePrimaryKey("registered_model_id", "key", "type", "shard")
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, db_index=False, related_name="metadata_keys"
    )
    key = models.TextField(db_collation="C")
    type = models.CharField(max_length=6, db_collation="C")
    shard = models.SmallIntegerField()
    count = models.BigIntegerField()

    objects = MetadataKeyQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.key} ({self.type})"
