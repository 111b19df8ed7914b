"""Projects and models come into being, and projects get other names."""

from django.conf import settings
from django.db import transaction

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import NewProjectRequest, NewRegisterModelRequest
from inference_store.models import Membership, Project, RegisteredModel, Role, User
from inference_store.services import audit
from inference_store.services.access import project_for


def may_create_projects(user: User) -> bool:
    """Staff, and everybody where a setting says so."""
    return user.is_staff or user.is_superuser or settings.EVERYBODY_CREATES_PROJECTS


@transaction.atomic
def create_project(*, user: User, request: NewProjectRequest) -> Project:
    """A new project with its creator as admin, for those who may."""
    if not may_create_projects(user):
        raise Refusal(403, "forbidden", "Only staff create projects; ask an administrator.")
    project, created = Project.objects.get_or_create(
        project_id=request.project_id, defaults={"name": request.name or request.project_id}
    )
    if not created:
        raise Refusal.conflict("A project of that id exists.", {"project_id": "is taken"})
    Membership.objects.create(user=user, project=project, role=Role.ADMIN)
    audit.record(AuditAction.PROJECT_CREATE, project_id=project.pk)
    return project


@transaction.atomic
def rename_project(*, user: User, project_id: str, name: str) -> Project:
    """Give the project another name, for its admins. Its id stays."""
    name = name.strip()
    longest = Project._meta.get_field("name").max_length or 0
    if not name or len(name) > longest or not name.isprintable():
        raise Refusal.invalid("name", f"must be 1 to {longest} printable characters")
    project = project_for(user, project_id, Role.ADMIN)
    before, project.name = project.name, name
    if before != name:
        project.save(update_fields=["name"])
        details = {"name": name, "before": before}
        audit.record(AuditAction.PROJECT_CHANGE, project_id=project.pk, details=details)
    return project


@transaction.atomic
def register_model(*, user: User, request: NewRegisterModelRequest) -> tuple[RegisteredModel, bool]:
    """The model, and whether it is new; the same content again is the same model."""
    project_for(user, request.project_id, Role.EDITOR)
    wanted = {
        "project_id": request.project_id,
        "task_type": str(request.task_type),
        "embedding_size": request.embedding_size,
    }
    model, created = RegisteredModel.objects.get_or_create(model_id=request.model_id, defaults=wanted)
    if any(getattr(model, name) != value for name, value in wanted.items()):
        raise Refusal.conflict(
            "A model of that id is registered with other content; choose another id.",
            {"model_id": "is taken"},
        )
    if created:
        details = {name: wanted[name] for name in ("task_type", "embedding_size")}
        audit.record(AuditAction.MODEL_CREATE, model=model, details=details)
    return model, created
