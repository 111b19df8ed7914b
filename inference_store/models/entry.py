"""The entries of standardized inferences: labels, scores, geometry."""

from django.db import models

from inference_store.models.inference import Inference
from inference_store.models.leftover import Leftover
from inference_store.models.registered_model import RegisteredModel


class EntryQuerySet(models.QuerySet["Entry"]):
    def live(self, model: RegisteredModel) -> "EntryQuerySet":
        """The model's entries without what a large deletion left: each of these has its inference."""
        return self.filter(registered_model=model).exclude(inference_id__in=Leftover.objects.keys_of(model))


class Entry(models.Model):
    """One entry of an inference, at its position in the list. Geometry as in contract/entries.py.

    Written with its inference, in one transaction, and deleted with it or a little later (Leftover), without
    a foreign key in the database: row triggers would double the cost of ingest.
    """

    pk = models.CompositePrimaryKey("inference_id", "position")
    inference = models.ForeignKey(
        Inference, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="entries"
    )
    score = models.FloatField(null=True)
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    position = models.IntegerField()
    label = models.TextField(db_collation="C")
    geometry = models.JSONField(null=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            # Labels and scores on one entry; granular rows by label.
            models.Index(
                "registered_model", "label", "score", "inference_id", "position", name="entry_label"
            ),
            # Granular rows by score.
            models.Index("registered_model", "score", "inference_id", "position", name="entry_score"),
        ]

    def __str__(self) -> str:
        return self.label
