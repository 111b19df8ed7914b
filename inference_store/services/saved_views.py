"""Views are saved, renamed, shared and deleted by their owner; admins delete those that are shared, too."""

from uuid import UUID

from django.db import IntegrityError, transaction

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.models import RegisteredModel, Role, SavedView, User
from inference_store.models.saved_view import LONGEST_VIEW_NAME, LONGEST_VIEW_QUERY
from inference_store.services import audit

MOST_VIEWS = 200
"""Of one owner and model: all of them are listed."""


def save_view(
    *, model: RegisteredModel, user: User, name: str, query: str, is_shared: bool = False
) -> SavedView:
    """Save a query string under a name that the user has not given to another view of the model."""
    if len(query) > LONGEST_VIEW_QUERY:
        raise Refusal.invalid("query", f"is longer than {LONGEST_VIEW_QUERY:,} characters; use fewer filters")
    if SavedView.objects.filter(registered_model=model, owner=user).count() >= MOST_VIEWS:
        raise Refusal.conflict(f"You have {MOST_VIEWS} views of this model; delete one first.")
    view = SavedView(registered_model=model, owner=user, name=_name(name), query=query, is_shared=is_shared)
    _store(view, AuditAction.VIEW_SAVE)
    return view


def find_view(*, user: User, view_id: UUID) -> SavedView:
    """The view for somebody who may see it; 404 for everybody else."""
    found: SavedView | None = (
        SavedView.objects.visible_to(user)
        .select_related("registered_model__project", "owner")
        .filter(pk=view_id)
        .first()
    )
    if found is None:
        raise Refusal.not_found("There is no such view that you may see.")
    return found


def rename_view(*, user: User, view_id: UUID, name: str) -> SavedView:
    view = _own(user, view_id)
    view.name = _name(name)
    _store(view, AuditAction.VIEW_CHANGE)
    return view


def share_view(*, user: User, view_id: UUID, is_shared: bool) -> SavedView:
    """Share it with the model's project, or take that back."""
    view = _own(user, view_id)
    view.is_shared = is_shared
    _store(view, AuditAction.VIEW_CHANGE)
    return view


@transaction.atomic
def delete_view(*, user: User, view_id: UUID) -> SavedView:
    """One's own; as an admin of the project also one that is shared with it, as its owner may have left."""
    view = find_view(user=user, view_id=view_id)
    if not may_delete(view, user.pk, view.registered_model.project.role_of(user)):
        raise Refusal(403, "forbidden", "Only its owner, or an admin of the project, may delete a view.")
    SavedView.objects.filter(pk=view.pk).delete()
    _record(view, AuditAction.VIEW_DELETE)
    return view


def may_delete(view: SavedView, user_id: int | None, role: Role | None) -> bool:
    """Of a view that the user may see."""
    return view.owner_id == user_id or role is Role.ADMIN


def _own(user: User, view_id: UUID) -> SavedView:
    view = find_view(user=user, view_id=view_id)
    if view.owner_id != user.pk:
        raise Refusal(403, "forbidden", "Only its owner may change a view; save one of your own.")
    return view


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > LONGEST_VIEW_NAME or not name.isprintable():
        raise Refusal.invalid("name", f"must be 1 to {LONGEST_VIEW_NAME} printable characters")
    return name


def _record(view: SavedView, action: AuditAction) -> None:
    details = {"view": str(view.pk), "name": view.name, "is_shared": view.is_shared}
    audit.record(action, model=view.registered_model, details=details)


def _store(view: SavedView, action: AuditAction) -> None:
    try:
        with transaction.atomic():
            view.save()
            _record(view, action)
    except IntegrityError:
        raise Refusal.conflict(
            f"You have a view {view.name!r} of this model already; choose another name.", {"name": "is taken"}
        ) from None
