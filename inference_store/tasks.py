"""Celery's door: each task calls a service."""

from uuid import UUID

from celery import shared_task

from inference_store.services import exporting, exports, jobs, sweeping


@shared_task(name="inference_store.run_export")
def run_export(pk: str) -> None:
    exporting.run(UUID(pk))


@shared_task(name="inference_store.resume_jobs")
def resume_jobs() -> int:
    return jobs.resume()


@shared_task(name="inference_store.expire_archives")
def expire_archives() -> int:
    return exports.expire_archives()


@shared_task(name="inference_store.sweep_blobs")
def sweep_blobs() -> int:
    return sweeping.sweep_blobs()
