"""Retention tasks are made, by people and on schedule. All times are by the database's clock."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, Min, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Now

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import KEPT_FOR_EVER, NewRetentionTaskRequest
from inference_store.models import (
    RegisteredModel,
    RetentionPolicy,
    RetentionPreviewItem,
    RetentionTask,
    User,
)
from inference_store.models.job import hence
from inference_store.query.retention import refuse_unlisted
from inference_store.services import audit, jobs
from inference_store.services.retention_policies import no_policy

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCHEDULE = "schedule"
"""Who starts automated runs."""
PURGED_AT_ONCE = 10_000


# --- By people ----------------------------------------------------------------------------------------------
def create_task(
    *, model: RegisteredModel, user: User | AnonymousUser, request: NewRetentionTaskRequest
) -> RetentionTask:
    """Begin a run of the model's policy, or a dry run; a worker does the rest."""
    if request.dry_run and request.preview_task_id is not None:
        raise Refusal.invalid("preview_task_id", "a dry run makes a list of its own: leave it out")
    try:
        with transaction.atomic():
            policy = _standing(model, request.retention_policy_id)
            preview = None
            if not request.dry_run:
                _refuse_run(policy)
                preview = _preview(policy, request.preview_task_id)
            return _begin(policy, dry_run=request.dry_run, preview=preview, user=user)
    except IntegrityError:
        # Somebody was quicker, under a policy that was deleted since.
        raise _under_way(active_run(model)) from None


def _standing(model: RegisteredModel, policy_id: str) -> RetentionPolicy:
    """The model's policy, locked: one task at a time is made of it."""
    policies = RetentionPolicy.objects.filter(registered_model=model).select_for_update(of=("self",))
    policy: RetentionPolicy | None = policies.select_related("registered_model").first()
    if policy is None or not _is(policy.pk, policy_id):
        raise no_policy(policy_id)
    return policy


def _is(key: UUID, text: str) -> bool:
    try:
        return key == UUID(text)
    except ValueError:
        return False


def _refuse_run(policy: RetentionPolicy) -> None:
    if policy.automated_interval:
        raise Refusal.conflict(
            f"The policy runs by itself, every {policy.automated_interval} hours: only dry runs are made "
            "by hand. For a run by hand, replace it by one with automated_interval 0."
        )
    if (active := active_run(policy.registered_model)) is not None:
        raise _under_way(active)


def active_run(model: RegisteredModel) -> RetentionTask | None:
    """The model's run that has not ended; there is one at most."""
    found: RetentionTask | None = (
        RetentionTask.objects.active().filter(registered_model=model, dry_run=False).first()
    )
    return found


def _under_way(active: RetentionTask | None) -> Refusal:
    which = f" {active.pk}" if active else ""
    return Refusal.conflict(f"Another run{which} is under way; wait for its end, or stop it.")


def _preview(policy: RetentionPolicy, task_id: str | None) -> RetentionTask | None:
    """The dry run whose list is to be taken."""
    if task_id is None:
        return None
    try:
        preview = jobs.find(RetentionTask, policy.registered_model, task_id)
    except Refusal as refusal:
        raise Refusal.invalid("preview_task_id", refusal.message) from None
    if preview.retention_policy_id != policy.pk:
        raise Refusal.conflict(
            "The dry run is one of another policy; make one of this policy.",
            {"preview_task_id": "is of another policy"},
        )
    try:
        refuse_unlisted(preview)
    except Refusal as refusal:
        raise Refusal.conflict(refusal.message, {"preview_task_id": refusal.message}) from None
    return preview


def find_task(*, model: RegisteredModel, task_id: str) -> RetentionTask:
    return jobs.find(RetentionTask, model, task_id)


def stop_task(*, task: RetentionTask) -> RetentionTask:
    """Have it stop after its batch; what it has deleted stays deleted."""
    return jobs.stop(task)


# --- Both ---------------------------------------------------------------------------------------------------
def _begin(
    policy: RetentionPolicy,
    *,
    dry_run: bool,
    preview: RetentionTask | None = None,
    user: User | AnonymousUser | None = None,
) -> RetentionTask:
    """A task of the policy as it is now, handed to a worker once the caller's transaction is committed."""
    now = _clock()
    task = RetentionTask(
        registered_model=policy.registered_model,
        created_at=now,
        user_id=user.pk if user else None,
        started_by=user.get_username() if user else SCHEDULE,
        is_automated=user is None,
        retention_policy_id=policy.pk,
        dry_run=dry_run,
        delete_action=policy.delete_action,
        maximum_record_age=policy.maximum_record_age,
        maximum_blob_age=policy.maximum_blob_age,
        record_limit=_limit(now, policy.maximum_record_age),
        blob_limit=_limit(now, policy.maximum_blob_age),
    )
    if preview is not None:
        task.preview, task.is_counted = preview, True
        task.record_limit, task.blob_limit = preview.record_limit, preview.blob_limit
        task.total_record_count, task.total_blob_count = preview.total_record_count, preview.total_blob_count
    task.save(force_insert=True)
    if not dry_run:
        RetentionPolicy.objects.filter(pk=policy.pk).update(last_scheduled_at=now)
    jobs.send(task)
    details = {"task": str(task.pk), "policy": str(policy.pk), "dry_run": dry_run}
    if preview is not None:
        details["preview"] = str(preview.pk)
    audit.record(
        AuditAction.TASK_CREATE, model=policy.registered_model, details=details, actor=task_actor(task)
    )
    return task


def task_actor(task: RetentionTask) -> tuple[int | None, str]:
    """For whom the task runs: who made it, or the policy that runs by itself."""
    by_itself = f"retention policy {task.retention_policy_id}"
    return task.user_id, by_itself if task.is_automated else task.started_by


def _clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _limit(now: datetime, age_hours: int) -> datetime:
    """What was created before this is past that age."""
    return EPOCH if age_hours == KEPT_FOR_EVER else now - timedelta(hours=age_hours)


# --- On schedule --------------------------------------------------------------------------------------------
def schedule_due() -> int:
    """Begin the automated runs that are due; how many. Any number of schedulers may ask at once.

    Of runs that were missed, one is caught up. A policy whose run is under way waits for its end.
    """
    return sum(_schedule(pk) for pk in due_policies().values_list("pk", flat=True))


def due_policies() -> QuerySet[RetentionPolicy]:
    last = Coalesce("last_scheduled_at", "created_at")
    due_at = ExpressionWrapper(
        last + F("automated_interval") * timedelta(hours=1), output_field=DateTimeField()
    )
    found: QuerySet[RetentionPolicy] = RetentionPolicy.objects.filter(automated_interval__gt=0)
    return found.annotate(due_at=due_at).filter(due_at__lte=Now())


def _schedule(pk: UUID) -> bool:
    try:
        with transaction.atomic():
            # Another scheduler that has it will do the same, or has done so: then it is not due any more.
            held = due_policies().select_for_update(skip_locked=True, of=("self",))
            policy = held.select_related("registered_model").filter(pk=pk).first()
            if policy is None or active_run(policy.registered_model) is not None:
                return False
            _begin(policy, dry_run=False)
    except IntegrityError:
        return False  # a run of an earlier policy began meanwhile
    return True


# --- Lists of dry runs --------------------------------------------------------------------------------------
def purge_previews() -> int:
    """Remove what dry runs listed, once its time is over and no run works from it; how many items went."""
    kept = hence(-settings.RETENTION_PREVIEW_KEPT_HOURS * 3600)
    old = RetentionTask.objects.filter(dry_run=True, finished_at__lt=kept)
    items = RetentionPreviewItem.objects.filter(task=OuterRef("pk"))
    in_use = RetentionTask.objects.active().filter(preview=OuterRef("pk"))
    purged = 0
    for task in old.filter(Exists(items), ~Exists(in_use)):
        while count := _purge_items(task):
            purged += count
    return purged


def _purge_items(task: RetentionTask) -> int:
    """Remove the first so many: a list without its first item is one that was purged."""
    first = task.items.aggregate(first=Min("position"))["first"]
    if first is None:
        return 0
    count, _ = task.items.filter(position__lt=first + PURGED_AT_ONCE).delete()
    return count
