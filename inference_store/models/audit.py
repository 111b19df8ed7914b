"""The audit log: who did what to which inferences when. Rows are added, and never changed."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store.contract.enums import AuditAction


class AuditRecord(models.Model):
    """One write by one request, written in its transaction. It has no foreign keys: it outlives
    all that it names.

    `filter` and `details` are canonical JSON, kept as text so that their bytes can be sealed. The inferences
    are `inference_id` where it was one; of more, AuditedInferences. `ids_digest` is SHA-256 (hexadecimal) of
    the ids in order of their code points, each ended by a newline.
    """

    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    action = models.TextField(db_collation="C")
    outcome = models.TextField(db_collation="C", default="done")
    project_id = models.TextField(db_collation="C", blank=True, default="")
    model_id = models.TextField(db_collation="C", blank=True, default="")
    inference_id = models.TextField(db_collation="C", null=True)  # noqa: DJ001  (null: none, or many)
    inference_count = models.BigIntegerField(default=0)
    ids_digest = models.TextField(db_collation="C", blank=True, default="")
    filter = models.TextField(blank=True, default="")
    details = models.TextField(blank=True, default="")
    actor_id = models.BigIntegerField(null=True)
    actor = models.TextField(db_collation="C", blank=True, default="")
    token = models.TextField(db_collation="C", blank=True, default="")
    door = models.TextField(db_collation="C", blank=True, default="")
    address = models.TextField(db_collation="C", blank=True, default="")
    request_id = models.TextField(db_collation="C", blank=True, default="")

    class Meta:
        ordering = ("-recorded_at", "-id")
        indexes = [
            # The lists of a project and of a model, newest first; by what was done (all but the many
            # creations, which any list is full of) and by whom.
            models.Index("project_id", "recorded_at", "id", name="audit_project"),
            models.Index("model_id", "recorded_at", "id", name="audit_model"),
            models.Index(
                *("project_id", "action", "recorded_at", "id"),
                name="audit_action",
                condition=~Q(action=AuditAction.INFERENCE_CREATE.value),
            ),
            models.Index("project_id", "actor", "recorded_at", "id", name="audit_actor"),
            # What was done to one inference.
            models.Index(
                *("model_id", "inference_id", "recorded_at"),
                name="audit_inference",
                condition=Q(inference_id__isnull=False),
            ),
            models.Index("request_id", name="audit_request"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"


class AuditedInferences(models.Model):
    """Some of the ids of a record of many inferences: all of them, in order, so many a row."""

    pk = models.CompositePrimaryKey("record_id", "number")
    record_id = models.BigIntegerField()
    number = models.IntegerField()
    model_id = models.TextField(db_collation="C")
    first_id = models.TextField(db_collation="C")
    last_id = models.TextField(db_collation="C")
    ids = models.TextField(db_collation="C", help_text="Each ended by a newline.")

    class Meta:
        verbose_name_plural = "audited inferences"
        indexes = [models.Index("model_id", "first_id", "last_id", name="audited_range")]

    def __str__(self) -> str:
        return f"part {self.number} of {self.record_id}"


class AuditSeal(models.Model):
    """A link of the chain: the number of a record, and an HMAC over it and the seal before it."""

    sequence = models.BigIntegerField(primary_key=True)
    record_id = models.BigIntegerField(unique=True)
    key_id = models.TextField(db_collation="C")
    sealed_at = models.DateTimeField()
    seal = models.TextField(db_collation="C")

    class Meta:
        ordering = ("-sequence",)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.seal}"


class AuditCheckpoint(models.Model):
    """The chain was pruned up to here: the number and the seal of the last record that is gone.

    `mac` is made by the key of the chain, so that nobody else can say that records were pruned. The newest
    one counts.
    """

    sequence = models.BigIntegerField(primary_key=True)
    seal = models.TextField(db_collation="C")
    sealed_before = models.DateTimeField()
    made_at = models.DateTimeField()
    key_id = models.TextField(db_collation="C")
    mac = models.TextField(db_collation="C")

    class Meta:
        ordering = ("-sequence",)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.seal}"


class AuditMark(models.Model):
    """Below which record the sealer need not look again: one row, and nothing that is believed.

    Once no transaction runs any more that ran when `next_id` was the newest record, `next_id` is `low_id`.
    """

    low_id = models.BigIntegerField(default=0)
    next_id = models.BigIntegerField(default=0)
    next_transaction = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.low_id)
