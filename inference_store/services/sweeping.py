"""What a crash or a change of mind left behind is removed."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from inference_store import blobs
from inference_store.models import Blob

SWEPT_AT_ONCE = 1_000


def sweep_blobs() -> int:
    """Remove doomed blobs, and keys nobody claimed within a day and any URL's life; how many went."""
    patience = max(
        timedelta(hours=settings.BLOB_UNCLAIMED_HOURS), timedelta(seconds=settings.BLOB_URL_SECONDS)
    )
    blobs.remove_stale_incoming(patience.total_seconds())
    swept = 0
    while keys := list(_leftover(timezone.now() - patience).values_list("key", flat=True)[:SWEPT_AT_ONCE]):
        removed = sum(_sweep(key, timezone.now() - patience) for key in keys)
        if not removed:
            break  # others hold them, or they were claimed meanwhile
        swept += removed
    return swept


def _leftover(before: datetime) -> QuerySet[Blob]:
    uploads = (Blob.Kind.DATA, Blob.Kind.METADATA)
    unclaimed = Q(inference_id__isnull=True, created_at__lt=before, kind__in=uploads)
    return Blob.objects.filter(unclaimed | Q(doomed_at__isnull=False)).order_by("created_at")


def _sweep(key: str, before: datetime) -> bool:
    """Remove one, under a lock on its row: nobody can claim it meanwhile."""
    with transaction.atomic():
        blob = _leftover(before).select_for_update(skip_locked=True).filter(key=key).first()
        if blob is None:
            return False
        blobs.remove(key)
        blob.delete()
    return True
