# mypy: disable-error-code="type-arg"
"""Who failed to log in, and who is locked out: for superusers to look at, and to let in again."""

from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from inference_store.admin.asking import Asked
from inference_store.admin.auditing import Audited, named
from inference_store.admin.permissions import is_superuser


@admin.register(AccessAttempt)
class Attempts(Asked, Audited, admin.ModelAdmin):
    list_display = ("username", "ip_address", "failures_since_start", "attempt_time", "locked_until", "door")
    list_filter = ("attempt_time",)
    search_fields = ("username", "=ip_address")
    search_help_text = "A name, or an address."
    show_full_result_count = False
    actions = ["unlock"]
    # Not what was typed: a name beside a wrong password may be a password itself.
    fields = readonly_fields = (*list_display, "user_agent")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="Page", ordering="path_info")
    def door(self, attempt: AccessAttempt) -> str:
        return str(attempt.path_info)

    @admin.display(description="Locked until", empty_value="not locked")
    def locked_until(self, attempt: AccessAttempt) -> Any:
        wait: timedelta = settings.AXES_COOLOFF_TIME
        until = attempt.attempt_time + wait
        return until if is_locked(attempt) and until > timezone.now() else None

    @admin.action(description="Unlock: forget these failed logins", permissions=["delete"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        found = list(queryset)
        self.log_deletions(request, queryset)
        queryset.delete()
        self.message_user(request, f"Unlocked: {', '.join(map(named, found))}.")


def is_locked(attempt: AccessAttempt) -> bool:
    return bool(attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT)
