"""Celery's door: each task calls a service."""

from celery import shared_task

from inference_store import replica
from inference_store.models import Export, RetentionTask
from inference_store.services import (
    audit_pruning,
    exporting,
    exports,
    jobs,
    leftovers,
    readiness,
    retention,
    retention_runs,
    sealing,
    segments,
    sessions,
    slot_assignment,
    soft_deletion,
    sweeping,
    vector_indexes,
)

RUNS = {Export: exporting.run, RetentionTask: retention_runs.run}


@shared_task(name="inference_store.run_export")
def run_export(pk: str) -> None:
    _take_turn()


@shared_task(name="inference_store.run_retention")
def run_retention(pk: str) -> None:
    _take_turn()


def _take_turn() -> None:
    """By whichever job's message: what it names may not be what has waited longest."""
    job = jobs.whose_turn()
    if job is not None:
        RUNS[type(job)](job.pk)


@shared_task(name="inference_store.resume_jobs")
def resume_jobs() -> int:
    return jobs.resume()


@shared_task(name="inference_store.expire_archives")
def expire_archives() -> int:
    return exports.expire_archives()


@shared_task(name="inference_store.schedule_retention")
def schedule_retention() -> int:
    return retention.schedule_due()


@shared_task(name="inference_store.purge_deleted")
def purge_deleted() -> int:
    return soft_deletion.purge_deleted() + retention.purge_previews()


@shared_task(name="inference_store.sweep_blobs")
def sweep_blobs() -> int:
    return sweeping.sweep_blobs()


@shared_task(name="inference_store.remove_sessions")
def remove_sessions() -> int:
    return sessions.remove_expired()


@shared_task(name="inference_store.heartbeat")
def heartbeat() -> None:
    readiness.note_heartbeat()


@shared_task(name="inference_store.assign_slots")
def assign_slots() -> int:
    return slot_assignment.assign_slots()


@shared_task(name="inference_store.build_vector_indexes")
def build_vector_indexes() -> bool:
    return vector_indexes.build_in_background()


@shared_task(name="inference_store.build_segments")
def build_segments() -> bool:
    return segments.build_in_background()


@shared_task(name="inference_store.remove_leftovers")
def remove_leftovers() -> int:
    return leftovers.remove_leftovers()


@shared_task(name="inference_store.seal_audit_records")
def seal_audit_records() -> int:
    return sealing.seal_records()


@shared_task(name="inference_store.forget_positions")
def forget_positions() -> int:
    return replica.forget_positions()


@shared_task(name="inference_store.prune_audit")
def prune_audit() -> int:
    return audit_pruning.prune()
