"""Jobs are rows: a state, counts, and a claim by the worker that is at it."""

from typing import Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from inference_store import calling
from inference_store.contract.enums import RetentionTaskState
from inference_store.models.registered_model import RegisteredModel

JobState = RetentionTaskState  # the reference names it after retention; exports have the same
ACTIVE_STATES = [state.value for state in (JobState.PENDING, JobState.SCHEDULED, JobState.RUNNING)]


def hence(seconds: float) -> CombinedExpression:
    """So many seconds from now (before now, if negative), by the database's clock."""
    interval = Value(f"{seconds} seconds", output_field=models.DurationField())
    return Now() + interval


class JobQuerySet(models.QuerySet[Any]):
    def active(self) -> "JobQuerySet":
        """What has neither finished nor failed nor been stopped."""
        return self.filter(state__in=ACTIVE_STATES)

    def unclaimed(self) -> "JobQuerySet":
        """What no living worker is at."""
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lt=Now()))


class Job(models.Model):
    """Work that outlives a request. All its times are by the database's clock.

    `claim` names the worker that is at it until `claimed_until`; a worker whose claim has passed to
    another can write nothing more. `attempts` counts claims since it last got on, `turn_at` says when it
    last came to its turn.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # Who started it; the name stays when the account goes.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    started_by = models.CharField(max_length=150)
    # The request that asked for it, which the lines of its log name.
    request_id = models.CharField(
        max_length=64, blank=True, editable=False, default=calling.current_id, db_default=""
    )
    state = models.CharField(
        max_length=9,
        default=JobState.PENDING.value,
        choices=[(state.value, state.value) for state in JobState],
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    stop_requested_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    turn_at = models.DateTimeField(null=True, editable=False)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, default="")

    objects: ClassVar[Any] = JobQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES
