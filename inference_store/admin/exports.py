# mypy: disable-error-code="type-arg"
"""Exports, to be looked at: they are made and stopped on their model's page."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inference_store.admin.asking import Asked
from inference_store.admin.permissions import OfOwnModels
from inference_store.models import Export


class LookedAt(OfOwnModels):
    """Nothing is added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Export)
class Exports(Asked, LookedAt, admin.ModelAdmin):
    list_display = ("created_at", "registered_model", "format", "state", "counts", "started_by", "page")
    list_select_related = ("registered_model",)
    list_filter = ("state", "format")
    search_fields = ("registered_model__model_id", "started_by")
    show_full_result_count = False
    actions = None
    fields = (
        *("id", "registered_model", "format", "state", "counts", "started_by"),
        *("created_at", "started_at", "finished_at", "expires_at", "size", "error", "page"),
    )
    readonly_fields = ("id", "created_at", "counts", "page")

    @admin.display(description="inferences")
    def counts(self, export: Export) -> str:
        return f"{export.progress_count:,} of {export.expected_count:,}"

    @admin.display(description="page")
    def page(self, export: Export) -> SafeString:
        address = reverse("dashboard:exports", args=[export.registered_model.model_id])
        return format_html('<a href="{}">exports of the model</a>', address)
