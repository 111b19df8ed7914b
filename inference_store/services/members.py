"""Who is in a project, and as what: for its admins to say, of whom one always stays."""

from django.db import transaction

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.models import Membership, Project, Role, User
from inference_store.services import audit
from inference_store.services.access import project_for

NOBODY = "is nobody who can log in here; they must have an account first"


def locked(by: User, project_id: str) -> Project:
    """The project for one of its admins, its members fixed until the transaction ends.

    Of two admins who take each other's role at once, the second is none any more when it is asked.
    """
    project_for(by, project_id, Role.ADMIN)
    lock(project_id)
    return project_for(by, project_id, Role.ADMIN)


def lock(project_id: str) -> None:
    """Whoever changes the project's members waits from here on."""
    list(Project.objects.select_for_update(no_key=True).filter(pk=project_id).values_list("pk"))


@transaction.atomic
def add_member(*, by: User, project_id: str, who: str, role: Role) -> Membership:
    """Take a user in, by their name or e-mail address; 409 for who is a member already."""
    project = locked(by, project_id)
    user = named(who)
    if project.memberships.filter(user=user).exists():
        message = f"{user.get_username()} is a member already; change the role in the list."
        raise Refusal.conflict(message, {"who": "is a member already; change the role in the list"})
    return _set(project, user, role, before=None)


@transaction.atomic
def set_role(*, by: User, project_id: str, user_id: int, role: Role) -> Membership:
    """Give a member another role; the last admin keeps it: 409."""
    project = locked(by, project_id)
    held = _member(project, user_id)
    if held.role == role:
        return held
    if role is not Role.ADMIN:
        _keep_an_admin(project, held)
    return _set(project, held.user, role, before=held.role)


@transaction.atomic
def remove_member(*, by: User, project_id: str, user_id: int) -> Membership:
    """Put somebody out, or oneself; the last admin stays: 409."""
    project = locked(by, project_id)
    held = _member(project, user_id)
    _keep_an_admin(project, held)
    Membership.objects.filter(pk=held.pk).delete()
    details = {"user": held.user.get_username(), "role": held.role}
    audit.record(AuditAction.MEMBER_REMOVE, project_id=project.pk, details=details)
    return held


def named(who: str) -> User:
    """The active user of that name or, if there is but one, of that e-mail address."""
    who = who.strip()
    active = User.objects.filter(is_active=True)
    found = [] if "\x00" in who else list(active.filter(username=who))
    if not found and "@" in who and "\x00" not in who:
        found = list(active.filter(email__iexact=who)[:2])
    if len(found) > 1:
        raise Refusal.invalid("who", "is the address of more than one; give the name")
    if not found:
        raise Refusal.invalid("who", NOBODY)
    return found[0]


def acting_admins(project: Project) -> set[int]:
    """The members, by user id, who can act as its admins."""
    admins = project.memberships.filter(role=Role.ADMIN, user__is_active=True)
    return set(admins.values_list("user_id", flat=True))


def _member(project: Project, user_id: int) -> Membership:
    held = project.memberships.select_related("user").filter(user_id=user_id).first()
    if held is None:
        raise Refusal.not_found("They are no member of the project any more.")
    return held


def _keep_an_admin(project: Project, leaving: Membership) -> None:
    if acting_admins(project) == {leaving.user_id}:
        name = leaving.user.get_username()
        raise Refusal.conflict(f"{name} is the last admin of the project: make somebody else one first.")


def _set(project: Project, user: User, role: Role, before: str | None) -> Membership:
    held, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    details = {"user": user.get_username(), "role": role.value, "before": before}
    audit.record(AuditAction.MEMBER_SET, project_id=project.pk, details=details)
    return held
