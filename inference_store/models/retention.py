"""Retention: a model's policy, its runs, and what a dry run would take."""

from typing import Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store.contract.enums import DeleteAction, RetentionReason
from inference_store.models.access import Role, User
from inference_store.models.job import ACTIVE_STATES, Job
from inference_store.models.registered_model import RegisteredModel

NO_DIGEST = "0" * 64
ACTIONS = [(action.value, action.value) for action in DeleteAction]


class RetentionPolicyQuerySet(models.QuerySet["RetentionPolicy"]):
    def visible_to(self, user: User | AnonymousUser, role: Role = Role.VIEWER) -> "RetentionPolicyQuerySet":
        """Policies of the models in projects where the user has at least that role."""
        visible = RegisteredModel.objects.visible_to(user, role)
        return self.filter(registered_model__in=visible.values("pk"))


class RetentionPolicy(models.Model):
    """How long a model's records and blobs are kept, in hours since created_at; one a model.

    A maximum_record_age of -1 keeps records for ever. `automated_interval` 0: run by hand. It is never
    changed: another policy is another row.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    registered_model = models.OneToOneField(
        RegisteredModel, on_delete=models.PROTECT, related_name="retention_policy", verbose_name="model"
    )
    automated_interval = models.PositiveIntegerField(help_text="Hours between runs; 0: run by hand.")
    maximum_record_age = models.IntegerField(
        help_text="Hours; older records are deleted. -1 keeps records for ever."
    )
    maximum_blob_age = models.PositiveIntegerField(
        help_text="Hours; the inputs of older records are deleted. At most the record age, unless that is -1."
    )
    delete_action = models.CharField(
        max_length=4,
        choices=ACTIONS,
        default=DeleteAction.SOFT.value,
        help_text="soft: hidden, and purged for good later; hard: gone at once. Inputs are gone at once.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    last_scheduled_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[Any] = RetentionPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "retention policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(maximum_record_age=-1)
                | Q(maximum_record_age__gte=0, maximum_blob_age__lte=models.F("maximum_record_age")),
                name="retention_blob_within_record",
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.registered_model}"


class RetentionTask(Job):
    """A run of a policy, with the policy as it was: the row outlives both the policy and what it deleted.

    A run works through its records and then its blobs in order of age; `reason`, `after_time` and
    `after_key` (of a run from a preview: `after_key` alone, its position) say how far it got.
    """

    retention_policy_id = models.UUIDField()  # no foreign key: tasks outlive their policy
    is_automated = models.BooleanField(default=False)
    dry_run = models.BooleanField()
    # PROTECT: a run that lost its list would be one that takes all that is due.
    preview = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    delete_action = models.CharField(max_length=4, choices=ACTIONS)
    maximum_record_age = models.IntegerField()
    maximum_blob_age = models.PositiveIntegerField()
    record_limit = models.DateTimeField()
    blob_limit = models.DateTimeField()
    is_counted = models.BooleanField(default=False)
    total_record_count = models.BigIntegerField(default=0)
    total_blob_count = models.BigIntegerField(default=0)
    deleted_record_count = models.BigIntegerField(default=0)
    deleted_blob_count = models.BigIntegerField(default=0)
    deleted_bytes = models.BigIntegerField(default=0)
    deleted_digest = models.CharField(max_length=64, default=NO_DIGEST)
    audit_record_id = models.BigIntegerField(null=True)
    reason = models.CharField(
        max_length=6,
        choices=[(each.value, each.value) for each in RetentionReason],
        default=RetentionReason.RECORD.value,
    )
    after_time = models.DateTimeField(null=True)
    after_key = models.BigIntegerField(default=0)

    class Meta(Job.Meta):
        constraints = [
            # However many schedulers and people ask: one run at a time.
            models.UniqueConstraint(
                fields=["registered_model"],
                condition=Q(dry_run=False, state__in=ACTIVE_STATES),
                name="one_retention_run",
            ),
        ]
        indexes = [
            models.Index("registered_model", "created_at", "id", name="retention_page"),
            models.Index("created_at", name="retention_active", condition=Q(state__in=ACTIVE_STATES)),
            # When whoever started it last had a turn.
            models.Index("started_by", "turn_at", name="retention_turns"),
        ]


class RetentionPreviewItem(models.Model):
    """One thing that a dry run found; removed once the preview is past its time."""

    pk = models.CompositePrimaryKey("task_id", "position")
    task = models.ForeignKey(RetentionTask, on_delete=models.CASCADE, related_name="items", db_index=False)
    position = models.BigIntegerField()
    inference_key = models.BigIntegerField()
    inference_id = models.TextField(db_collation="C")
    created_at = models.DateTimeField()
    reason = models.CharField(max_length=6, choices=[(each.value, each.value) for each in RetentionReason])
    blob_count = models.PositiveSmallIntegerField()
    blob_bytes = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.reason} of {self.inference_id}"
