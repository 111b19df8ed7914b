"""What a user may reach, and how far."""

from django.contrib.auth.models import AnonymousUser

from inference_store.contract.errors import Refusal
from inference_store.models import RegisteredModel, Role, User


def model_for(user: User | AnonymousUser, model_id: str, role: Role = Role.VIEWER) -> RegisteredModel:
    """The model, for a user with that role; 404 where they may not see it, 403 where they may only look.

    Two queries at most.
    """
    unseen = Refusal.not_found(f"There is no model {model_id[:255]!r} that you may see.")
    if "\x00" in model_id:
        raise unseen
    model: RegisteredModel | None = (
        RegisteredModel.objects.visible_to(user).filter(model_id=model_id).select_related("project").first()
    )
    if model is None:
        raise unseen
    if role is not Role.VIEWER:
        held = model.project.role_of(user)
        if held is None or held.rank < role.rank:
            raise Refusal(
                403, "forbidden", f"This needs the role {role.value} in project {model.project_id!r}."
            )
    return model
