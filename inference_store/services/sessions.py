"""Sessions whose time is over, and those that were begun to sign in and led nowhere."""

from django.contrib.sessions.models import Session
from django.db.models.functions import Now

REMOVED_AT_ONCE = 10_000


def remove_expired() -> int:
    """Remove them, in measured steps; how many went."""
    removed = 0
    expired = Session.objects.filter(expire_date__lt=Now())
    while keys := list(expired.values_list("pk", flat=True)[:REMOVED_AT_ONCE]):
        removed += Session.objects.filter(pk__in=keys, expire_date__lt=Now()).delete()[0]
    return removed
