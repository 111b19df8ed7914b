"""Vector indexes: each over the embeddings of one model up to a watermark, so that ingest never touches it.

Rows get ascending ids; what is stored later lies beyond every watermark. The ready indexes of a model and a
metric follow one another without a gap (docs/decisions/0009-neighbours.md).
"""

import math
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.models.embedding import Embedding, UnitEmbedding
from inference_store.models.registered_model import RegisteredModel

COSINE = EmbeddingDistanceMetric.COSINE
L2 = EmbeddingDistanceMetric.L2
DOT = EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT
EMBEDDINGS, UNITS = Embedding._meta.db_table, UnitEmbedding._meta.db_table
# The table, what of it is indexed, the operator class, the operator that orders by it. Of unit length, halves
# can't overflow. Nor is a zero vector left out, as it would be by the operator class for cosines.
SPELLINGS = {
    COSINE: (UNITS, "half::halfvec({size})", "halfvec_ip_ops", "<#>"),
    L2: (EMBEDDINGS, "vector::vector({size})", "vector_l2_ops", "<->"),
    DOT: (EMBEDDINGS, "vector::vector({size})", "vector_ip_ops", "<#>"),
}
LARGEST_SIZE = {COSINE: 4_000}
LARGEST_SIZE_UNROUNDED = 2_000
NAME_PREFIX = "embedding_ivf_"
MOST_TIMES = 16
"""Up to so many times as many lists are read where neighbours are farther than any measured, then all."""


def indexable(model: RegisteredModel, metric: EmbeddingDistanceMetric) -> bool:
    """Whether pgvector can index embeddings of that size."""
    return 0 < model.embedding_size <= LARGEST_SIZE.get(metric, LARGEST_SIZE_UNROUNDED)


class VectorIndexQuerySet(models.QuerySet["VectorIndex"]):
    def chain(self, model: RegisteredModel, metric: EmbeddingDistanceMetric) -> "list[VectorIndex]":
        """The indexes to search, in order of their ids; beyond the last watermark there is none."""
        rows = self.filter(registered_model=model, metric=metric, state=VectorIndex.State.READY)
        chain: list[VectorIndex] = []
        for row in rows.order_by("after"):
            if row.after == (chain[-1].watermark if chain else 0):
                chain.append(row)
        return chain


class VectorIndex(models.Model):
    """An IVFFlat index over the ids beyond `after`, up to and including `watermark`."""

    class State(models.TextChoices):
        WANTED = "wanted", "wanted: the metric was asked for"
        BUILDING = "building", "building"
        READY = "ready", "ready: searched"
        LEAVING = "leaving", "leaving: another has taken its place; dropped soon"
        FAILED = "failed", "failed: search stays exact until there are twice as many rows"

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, related_name="vector_indexes"
    )
    metric = models.CharField(max_length=20, choices=[(each.value, each.value) for each in SPELLINGS])
    after = models.BigIntegerField(default=0)
    watermark = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices)
    row_count = models.BigIntegerField(default=0, help_text="When it was built.")
    lists = models.PositiveIntegerField(default=0)
    probes = models.JSONField(
        default=list,
        help_text="So many neighbours are found by reading so many lists, if they are not farther than that.",
    )
    spreads = models.JSONField(
        null=True,
        help_text="By how much codes may be off: the first signs, all signs, angles; empty: no codes yet.",
    )
    recall = models.FloatField(null=True, help_text="Of the 50 nearest, measured after it was built.")
    error = models.TextField(blank=True, default="")
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now(), help_text="When the state changed last.")
    built_at = models.DateTimeField(null=True)

    objects: ClassVar[VectorIndexQuerySet] = VectorIndexQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="building"), name="vector_index_one_builds"
            ),
            models.UniqueConstraint(
                fields=["registered_model", "metric"],
                condition=Q(state="wanted"),
                name="vector_index_wanted_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{NAME_PREFIX}{self.pk}"

    @property
    def predicate(self) -> str:
        """Word for word that of the index: what PostgreSQL's planner recognises it by."""
        return (
            f"registered_model_id = {int(self.registered_model_id)} "
            f"and inference_id > {int(self.after)} and inference_id <= {int(self.watermark)}"
        )

    @property
    def table(self) -> str:
        """What it is an index of."""
        return SPELLINGS[EmbeddingDistanceMetric(self.metric)][0]

    def ordering(self, size: int, query: str) -> str:
        """What to order by to be answered by the index; `query` is an SQL expression."""
        _, expression, _, operator = SPELLINGS[EmbeddingDistanceMetric(self.metric)]
        return f"({expression.format(size=size)}) {operator} ({query})"

    def probes_for(self, neighbours: int) -> int:
        """Lists to read so that so many neighbours are found."""
        measured = self._measured_for(neighbours)
        return int(measured[1]) if measured else self.lists

    def lists_for(self, neighbours: int, distance: float) -> int:
        """Lists to read where the last of so many neighbours seems to be so far away.

        As many as were enough for queries with nearer ones; up to all for one that is unlike all of these.
        """
        measured = self._measured_for(neighbours)
        if measured is None:
            return self.lists
        # Indexes of earlier versions do not say how far, or how far the farthest of those measured was.
        reach, farthest = [*measured[2:], None, None][:2]
        probes = int(measured[1])
        farthest = reach if farthest is None else farthest
        if farthest is None or not distance > farthest:
            return probes
        if distance > reach:
            return self.lists
        beyond = (distance - farthest) / (reach - farthest)
        times: float = MOST_TIMES**beyond
        return min(self.lists, math.ceil(probes * times))

    def _measured_for(self, neighbours: int) -> list[Any] | None:
        return next((each for each in self.probes if each[0] >= neighbours), None)
