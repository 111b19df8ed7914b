"""Retention in words: what a policy does, and when."""

from datetime import UTC, datetime, timedelta

from django.conf import settings

from dashboard.templatetags.display import ahead, hours
from inference_store.contract.enums import DeleteAction
from inference_store.contract.jobs import KEPT_FOR_EVER
from inference_store.models import RetentionPolicy, RetentionTask


def policy_words(policy: RetentionPolicy | RetentionTask) -> str:
    """What goes when."""
    is_soft = policy.delete_action == DeleteAction.SOFT.value
    how = "softly" if is_soft else "for good"
    if policy.maximum_record_age == KEPT_FOR_EVER:
        return f"Records are kept for ever; inputs go after {hours(policy.maximum_blob_age)}."
    if policy.maximum_record_age == policy.maximum_blob_age:
        return f"Records go after {hours(policy.maximum_record_age)}, {how}, and their inputs with them."
    return (
        f"Records go after {hours(policy.maximum_record_age)}, {how}; "
        f"inputs after {hours(policy.maximum_blob_age)}."
    )


def action_words(policy: RetentionPolicy | RetentionTask) -> str:
    """What becomes of a record that goes."""
    if policy.maximum_record_age == KEPT_FOR_EVER:
        return "A record whose input goes keeps everything else."
    if policy.delete_action == DeleteAction.SOFT.value:
        kept = settings.SOFT_DELETED_KEPT_DAYS
        return (
            f"Softly: a record is hidden, can be restored for {kept} days, and is then gone for good. "
            "Its input is gone at once."
        )
    return "For good: a record goes with its metadata, entries and input, at once."


def next_run(policy: RetentionPolicy) -> datetime | None:
    """When it next runs by itself; None where it is run by hand."""
    if not policy.automated_interval:
        return None
    return (policy.last_scheduled_at or policy.created_at) + timedelta(hours=policy.automated_interval)


def schedule_words(policy: RetentionPolicy) -> str:
    moment = next_run(policy)
    if moment is None:
        return "It is run by hand."
    # A run is one that is due, or waits for the end of the one before.
    due = (
        f"next at {moment:%Y-%m-%d %H:%M} UTC, {ahead(moment)}" if moment > datetime.now(UTC) else "next now"
    )
    return f"It runs every {hours(policy.automated_interval)}; {due}."
