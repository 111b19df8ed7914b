# mypy: disable-error-code="type-arg"
"""The whole audit log, logins and users included, for superusers to look at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from inference_store.admin.asking import Asked
from inference_store.admin.permissions import is_superuser
from inference_store.models import AuditRecord


@admin.register(AuditRecord)
class AuditRecords(Asked, admin.ModelAdmin):
    list_display = (
        "recorded_at",
        "action",
        "outcome",
        "actor",
        "project_id",
        "model_id",
        "address",
        "request_id",
    )
    search_fields = ("=request_id",)
    search_help_text = "A request's id."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None
    ordering = ("-id",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission
