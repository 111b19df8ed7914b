# mypy: disable-error-code="type-arg"
"""Who may open what on the admin site.

A superuser sees everything. A member of staff sees the projects they are an admin of, with what belongs to
them, and their own tokens; nothing here lets them become more than they are.
"""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from inference_store.models import Project


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


class ForSuperusers:
    """Closed to everybody else, whatever permissions they were given."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    has_add_permission = has_module_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


class OfOwnProjects:
    """Open to staff, for the rows of the projects that they administer."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request) and (obj is None or self.is_own(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def is_own(self, request: HttpRequest, obj: Any) -> bool:
        return Project.objects.administered_by(request.user).filter(pk=self.project_of(obj)).exists()

    def project_of(self, obj: Any) -> str:
        """The id of the project that the row belongs to."""
        return str(obj.project_id)


class OfOwnModels(OfOwnProjects):
    """The same, for rows that belong to a registered model."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        own = Project.objects.administered_by(request.user)
        found: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        return found.filter(registered_model__project__in=own)

    def project_of(self, obj: Any) -> str:
        return str(obj.registered_model.project_id)
