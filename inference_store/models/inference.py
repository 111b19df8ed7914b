"""A stored inference, one row each."""

from typing import Any, ClassVar

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Cast, Floor

from inference_store.contract.enums import InferenceAction
from inference_store.models.access import User
from inference_store.models.fields import DigestField
from inference_store.models.registered_model import RegisteredModel

LATITUDE_BANDS_PER_DEGREE = 4
NUMBER_SLOTS = ("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8")
STRING_SLOTS = ("s1", "s2", "s3", "s4")
SLOTS = (*NUMBER_SLOTS, *STRING_SLOTS)
JOINT_SLOTS = NUMBER_SLOTS[:4]
"""Each of them stands in the others' indexes: conditions on several, or with time, are answered there."""


def _joint_with(slot: str) -> list[str]:
    return [each for each in JOINT_SLOTS if each != slot] if slot in JOINT_SLOTS else []


class InferenceQuerySet(models.QuerySet["Inference"]):
    def visible_to(self, user: User | AnonymousUser) -> "InferenceQuerySet":
        """Inferences of the models that the user may see."""
        visible = RegisteredModel.objects.visible_to(user)
        return self.filter(registered_model__in=visible.values("pk"))


class Inference(models.Model):
    """What a model inferred about one input, when, where, and with which metadata.

    `metadata` is keyed by type and then key: {"string": {…}, "int": {…}, "float": {…}, "json": {…}}.
    The slots n1… and s1… repeat the values of the keys that the model is searched by: see SearchSlot.
    `data` is None where the inference is its embedding and float32 spells the numbers as they were sent.
    """

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    data_size = models.BigIntegerField()
    # No foreign key in the database: its check would cost each ingested row a lookup and a row lock on
    # the model. A model with inferences is not deleted (PROTECT on the project, no door deletes models).
    registered_model = models.ForeignKey(
        RegisteredModel,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="inferences",
    )
    latitude_band = models.GeneratedField(
        expression=Cast(Floor(F("latitude") * LATITUDE_BANDS_PER_DEGREE), models.SmallIntegerField()),
        output_field=models.SmallIntegerField(null=True),
        db_persist=True,
    )
    version = models.PositiveSmallIntegerField()
    is_protected = models.BooleanField(default=False)
    inference_id = models.TextField(db_collation="C")
    action = models.TextField(
        db_collation="C", choices=[(action.value, action.value) for action in InferenceAction]
    )
    data_source = models.TextField(db_collation="C", null=True)  # noqa: DJ001  (null: not given)
    data_hash = DigestField()
    content_digest = DigestField()
    data_storage_key = models.TextField(db_collation="C", null=True)  # noqa: DJ001  (null: no blob)
    metadata = models.JSONField(default=dict)
    data = models.TextField(null=True)  # noqa: DJ001  (null: see above)

    has_list = models.BooleanField(default=False)  # a standardized list was given, perhaps an empty one

    n1 = models.FloatField(null=True, editable=False)
    n2 = models.FloatField(null=True, editable=False)
    n3 = models.FloatField(null=True, editable=False)
    n4 = models.FloatField(null=True, editable=False)
    n5 = models.FloatField(null=True, editable=False)
    n6 = models.FloatField(null=True, editable=False)
    n7 = models.FloatField(null=True, editable=False)
    n8 = models.FloatField(null=True, editable=False)
    s1 = models.TextField(db_collation="C", null=True, editable=False)  # noqa: DJ001  (null: no value)
    s2 = models.TextField(db_collation="C", null=True, editable=False)  # noqa: DJ001
    s3 = models.TextField(db_collation="C", null=True, editable=False)  # noqa: DJ001
    s4 = models.TextField(db_collation="C", null=True, editable=False)  # noqa: DJ001

    objects: ClassVar[Any] = InferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "inference_id", name="inference_key"),
            models.CheckConstraint(
                condition=Q(latitude__isnull=True, longitude__isnull=True)
                | Q(latitude__range=(-90, 90), longitude__range=(-180, 180)),
                name="inference_whole_place",
            ),
        ]
        indexes = [
            # Pages in order of time, and the time window filter; with number slots, so that a histogram of a
            # time window reads nothing else.
            models.Index(
                fields=["registered_model", "created_at", "id"],
                include=JOINT_SLOTS,
                name="inference_page",
            ),
            models.Index("registered_model", "data_source", "created_at", "id", name="inference_source"),
            # Retention by blob age.
            models.Index(
                "registered_model",
                "created_at",
                "id",
                name="inference_blob",
                condition=Q(data_storage_key__isnull=False),
            ),
            # One input seen by several models; data_hash_filter.
            models.Index("data_hash", "registered_model", name="inference_hash"),
            # A box is a few ranges of it: query/places.py.
            models.Index(
                fields=["registered_model", "latitude_band", "longitude", "latitude"],
                include=["created_at", "id"],
                name="inference_place",
                condition=Q(latitude__isnull=False),
            ),
            # metadata = and in, whatever the key.
            GinIndex(fields=["metadata"], opclasses=["jsonb_path_ops"], name="inference_metadata"),
            # Search slots: what is asked of one, counted, or listed in order of time. Those that no model
            # uses are empty.
            *(
                models.Index(
                    fields=["registered_model", slot],
                    include=["created_at", "id", *_joint_with(slot)],
                    condition=Q(**{f"{slot}__isnull": False}),
                    name=f"inference_{slot}",
                )
                for slot in NUMBER_SLOTS
            ),
            *(
                models.Index(
                    fields=["registered_model", slot, "created_at", "id"],
                    condition=Q(**{f"{slot}__isnull": False}),
                    name=f"inference_{slot}",
                )
                for slot in STRING_SLOTS
            ),
        ]

    def __str__(self) -> str:
        return self.inference_id
