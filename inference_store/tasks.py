"""Celery's door: each task calls a service."""

from celery import shared_task

from inference_store.services import sweeping


@shared_task(name="inference_store.sweep_blobs")
def sweep_blobs() -> int:
    return sweeping.sweep_blobs()
