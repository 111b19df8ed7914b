"""What a crash or a change of mind left behind is removed."""

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from inference_store import blobs
from inference_store.models import Blob
from inference_store.models.job import hence
from inference_store.services.backups import removal_held

SWEPT_AT_ONCE = 1_000


def sweep_blobs() -> int:
    """Remove doomed blobs, and keys nobody claimed within a day and any URL's life; how many went."""
    patience = float(max(settings.BLOB_UNCLAIMED_HOURS * 3600, settings.BLOB_URL_SECONDS))
    blobs.remove_stale_incoming(patience)
    swept = 0
    while keys := list(_leftover(patience).values_list("key", flat=True)[:SWEPT_AT_ONCE]):
        removed = sum(_sweep(key, patience) for key in keys)
        if not removed:
            break  # others hold them, or they were claimed meanwhile
        swept += removed
    return swept


def _leftover(patience_seconds: float) -> QuerySet[Blob]:
    """By the database's clock: this machine's may be a day off."""
    uploads = (Blob.Kind.DATA, Blob.Kind.METADATA)
    unclaimed = Q(inference_id__isnull=True, created_at__lt=hence(-patience_seconds), kind__in=uploads)
    return Blob.objects.filter(unclaimed | Q(doomed_at__isnull=False)).order_by("created_at")


def _sweep(key: str, patience_seconds: float) -> bool:
    """Remove one, under a lock on its row: nobody can claim it meanwhile."""
    with transaction.atomic():
        blob = _leftover(patience_seconds).select_for_update(skip_locked=True).filter(key=key).first()
        if blob is None or removal_held():
            return False
        blobs.remove(key)
        blob.delete()
    return True
