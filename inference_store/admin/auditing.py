# mypy: disable-error-code="type-arg"
"""What is changed on the admin site is recorded in its transaction, as what the services write is."""

from typing import Any

from axes.models import AccessAttempt
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from inference_store.contract.enums import AuditAction
from inference_store.models import Project, RegisteredModel
from inference_store.services import audit

NOUNS = {"project": "project", "registeredmodel": "model", "token": "token", "user": "user"}  # nosec B105
VERBS = {"add": "create", "change": "change", "delete": "delete"}


def action_of(obj: models.Model, verb: str) -> AuditAction:
    noun = NOUNS.get(str(obj._meta.model_name))
    return AuditAction(f"{noun}.{VERBS[verb]}") if noun else AuditAction.OTHER_CHANGE


class Audited:
    """For a ModelAdmin: each of its writes is one record and one transaction."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        with transaction.atomic():  # its actions have none of their own
            return super().changelist_view(request, extra_context)  # type: ignore[misc]

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        record([obj], "add", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        record([obj], "change", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        record(list(queryset), "delete", None)
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def named(obj: models.Model) -> str:
    """What it is known by; a failed login by the name and the address that it counts for."""
    if isinstance(obj, AccessAttempt):
        return f"{obj.username} at {obj.ip_address}"
    return str(obj)


def record(objects: list[models.Model], verb: str, message: Any) -> None:
    """One record; `message` is what Django says of a change: which fields, not their values."""
    if not objects:
        return
    first = objects[0]
    model = first if isinstance(first, RegisteredModel) else getattr(first, "registered_model", None)
    project_id = str(first.pk) if isinstance(first, Project) else ""
    details: dict[str, Any] = {
        "what": first._meta.verbose_name,
        "names": [named(each) for each in objects[:20]],
    }
    if len(objects) > 1:
        details["count"] = len(objects)
    if message:
        details["changed"] = message
    with transaction.atomic():
        audit.record(action_of(first, verb), model=model, project_id=project_id, details=details)
