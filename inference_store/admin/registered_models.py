# mypy: disable-error-code="type-arg"
"""Registered models."""

from typing import Any

from django.contrib import admin
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest

from inference_store.admin.asking import Asked
from inference_store.admin.auditing import Audited
from inference_store.admin.permissions import OfOwnProjects
from inference_store.models import Project, RegisteredModel
from inference_store.models.access import validate_identifier


@admin.register(RegisteredModel)
class RegisteredModels(Asked, Audited, OfOwnProjects, admin.ModelAdmin):
    list_display = ("model_id", "project", "task_type", "embedding_size", "created_at")
    list_select_related = ("project",)
    list_filter = ("task_type",)
    search_fields = ("model_id",)
    fields = ("model_id", "project", "task_type", "embedding_size")
    show_full_result_count = False
    actions = None  # deleting many would ask of each whether it has inferences

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        own = Project.objects.administered_by(request.user)
        return super().get_queryset(request).filter(project__in=own)

    def get_readonly_fields(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> tuple[str, ...]:
        return ("model_id", "project", "task_type", "embedding_size") if obj else ()

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "project":
            kwargs["queryset"] = Project.objects.administered_by(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "model_id" in form.base_fields:
            form.base_fields["model_id"].validators.append(validate_identifier)
        return form

    def has_delete_permission(self, request: HttpRequest, obj: RegisteredModel | None = None) -> bool:
        if obj is None or not super().has_delete_permission(request, obj):
            return False
        return not (obj.inferences.exists() or obj.blobs.exists())
