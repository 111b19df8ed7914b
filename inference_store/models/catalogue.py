"""Counts by value, kept by statement triggers: exact right after a write, and read without a scan."""

from typing import ClassVar

from django.db import models
from django.db.models import Sum
from django.db.models.functions import Now

from inference_store import statements
from inference_store.models.registered_model import RegisteredModel

BUCKETS = 512
"""Of a number's range; with one below it and one above."""
TOTAL = """
    select (select coalesce(sum(c.count), 0) from inference_store_cataloguecount c
             where c.catalogue_id = k.id {condition})
      from inference_store_catalogue k
     where k.registered_model_id = %s and k."column" = %s and k.state = 'exact'
"""


class CatalogueQuerySet(models.QuerySet["Catalogue"]):
    def exact(self, model: RegisteredModel, column: str) -> "CatalogueQuerySet":
        return self.filter(registered_model=model, column=column, state=Catalogue.State.EXACT)

    def total(self, model: RegisteredModel, column: str, among: list[str] | None = None) -> int | None:
        """How many rows, or those of some texts; None where these are not kept. One query."""
        condition, values = ("", []) if among is None else ("and c.value = any(%s)", [among])
        rows = statements.rows(TOTAL.format(condition=condition), [*values, model.pk, column])
        return int(rows[0][0]) if rows else None

    def totals(self, models: list[int], column: str) -> dict[int, int]:
        """Rows by model, of those models where they are kept. One query."""
        found = self.filter(registered_model__in=models, column=column, state=Catalogue.State.EXACT)
        rows = found.values_list("registered_model").annotate(n=Sum("counts__count", default=0))
        return {model: int(n) for model, n in rows}

    def values_of(self, model: RegisteredModel, column: str) -> list[tuple[str, int]] | None:
        """(value, rows), most frequent first; None where these are not kept. One query."""
        counted = (
            self.exact(model, column).values_list("counts__value").annotate(n=Sum("counts__count", default=0))
        )
        found = [(value, int(n)) for value, n in counted.order_by("-n", "counts__value")]
        return [(value, n) for value, n in found if n > 0] if found else None


class Catalogue(models.Model):
    """Counts of a model's rows by the value of one column: texts by value, numbers by bucket, times by hour.

    `label` is the entries' column; the others are the inference's.
    """

    class State(models.TextChoices):
        COUNTING = "counting", "counting: changes are counted, what was there before is not yet"
        EXACT = "exact", "exact"
        TOO_MANY = "too many", "too many: of so many values none are counted"

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, db_index=False, related_name="catalogues"
    )
    column = models.CharField(max_length=11, db_collation="C")
    state = models.CharField(max_length=8, choices=State.choices, default=State.COUNTING)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    changed_at = models.DateTimeField(db_default=Now())

    objects = CatalogueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "column", name="catalogue_column"),
        ]

    def __str__(self) -> str:
        return f"{self.column} of {self.registered_model_id}"


class CatalogueCount(models.Model):
    """A part of one count: only the sum over the shards means anything, as in MetadataKey."""

    SHARDS: ClassVar[int] = 16

    pk = models.CompositePrimaryKey("catalogue_id", "bucket", "value", "shard")
    # No constraint in the database: writers would queue for the lock on their catalogue's row.
    catalogue = models.ForeignKey(
        Catalogue, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="counts"
    )
    bucket = models.IntegerField()  # 0 for a text; hours since 1970 for a time
    value = models.TextField(db_collation="C")  # empty for a number or a time
    shard = models.SmallIntegerField()
    count = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.value or self.bucket}: {self.count}"
