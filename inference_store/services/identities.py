"""Whom an OpenID provider sends: which user of ours they are, or a new one, and their roles by its groups.

A user is known by the provider's address and its own lasting name for them. An e-mail makes nobody somebody
else, but for one case that has to be allowed (OIDC_LINK_EMAILS), and never somebody with special rights.
"""

import logging
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from inference_store import role_mapping
from inference_store.contract.enums import AuditAction
from inference_store.models import Identity, Membership, Project, User
from inference_store.services import audit

logger = logging.getLogger(__name__)

LONGEST_NAME = 140
"""Of 150: a number may follow."""


class NoEntryError(Exception):
    """They may not come in; the message tells them why and what to do."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a provider says of somebody, proven to be its word."""

    issuer: str
    subject: str
    name: str = ""
    email: str = ""
    """Verified by the provider; empty where it says nothing of that."""
    groups: tuple[str, ...] = ()


def signed_in(claims: Claims) -> User:
    """The active user that they are, with the roles that their groups give; NoEntryError."""
    _refuse_domain(claims)
    try:
        return _signed_in(claims)
    except IntegrityError:
        # They came twice at once for the first time, or somebody has taken the name meanwhile.
        return _signed_in(claims)


@transaction.atomic
def _signed_in(claims: Claims) -> User:
    user = _known(claims) or _linked(claims) or _created(claims)
    if not user.is_active:
        raise NoEntryError("Your account is disabled: ask an administrator.")
    # Two that come at once take turns.
    user = User.objects.select_for_update().get(pk=user.pk)
    if claims.email and user.email != claims.email:
        user.email = claims.email
        user.save(update_fields=["email"])
    _set_roles(user, claims)
    return user


def _refuse_domain(claims: Claims) -> None:
    allowed = [domain.lower().removeprefix("@") for domain in settings.OIDC_EMAIL_DOMAINS]
    if allowed and claims.email.rpartition("@")[2].lower() not in allowed:
        raise NoEntryError(
            f"Only verified addresses of {', '.join(allowed)} may sign in here: ask an administrator."
        )


def _known(claims: Claims) -> User | None:
    found = Identity.objects.select_related("user").filter(issuer=claims.issuer, subject=claims.subject)
    identity = found.first()
    return identity.user if identity else None


def _linked(claims: Claims) -> User | None:
    """Where that is allowed: the one ordinary user of that e-mail, from now on known by the subject."""
    if not (settings.OIDC_LINK_EMAILS and claims.email):
        return None
    found = User.objects.filter(email__iexact=claims.email)[:2]
    if len(found) != 1:
        return None
    (user,) = found
    special = user.is_staff or user.is_superuser or not user.is_active
    if special or Identity.objects.filter(user=user, issuer=claims.issuer).exists():
        return None
    link(user, claims.issuer, claims.subject)
    return user


def _created(claims: Claims) -> User:
    if not settings.OIDC_CREATE_USERS:
        raise NoEntryError("You have no account here yet: ask an administrator for one.")
    user = User.objects.create_user(free_name(claims), email=claims.email)
    Identity.objects.create(user=user, issuer=claims.issuer, subject=claims.subject)
    audit.record(
        AuditAction.USER_CREATE,
        actor=(user.pk, user.get_username()),
        details={"names": [user.get_username()], "issuer": claims.issuer, "subject": claims.subject},
    )
    return user


def free_name(claims: Claims) -> str:
    """What the provider calls them if nobody has that name here, else with a number."""
    wanted = next((each for each in (claims.name, claims.email) if _is_name(each)), "user")
    wanted = User.normalize_username(wanted)[:LONGEST_NAME]
    taken = set(User.objects.filter(username__startswith=wanted).values_list("username", flat=True))
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _is_name(text: str) -> bool:
    try:
        UnicodeUsernameValidator()(text)
    except ValidationError:
        return False
    return bool(text)


@transaction.atomic
def link(user: User, issuer: str, subject: str) -> Identity:
    """From now on the subject signs in as that user; IntegrityError where it is somebody's already."""
    identity = Identity.objects.create(user=user, issuer=issuer, subject=subject)
    audit.record(
        AuditAction.USER_CHANGE,
        details={"names": [user.get_username()], "linked": str(identity)},
    )
    return identity


@transaction.atomic
def unlink(user: User, issuer: str) -> int:
    """They can't sign in by that provider any more; how many of its names went."""
    count = Identity.objects.filter(user=user, issuer=issuer).delete()[0]
    if count:
        audit.record(AuditAction.USER_CHANGE, details={"names": [user.get_username()], "unlinked": issuer})
    return count


# --- Roles --------------------------------------------------------------------------------------------------
def _set_roles(user: User, claims: Claims) -> None:
    """In the projects that OIDC_ROLES names, what the groups say and nothing else; in others, nothing."""
    mapping = role_mapping.parsed(settings.OIDC_ROLES)
    named = {project for grants in mapping.values() for project, _ in grants}
    if not named:
        return
    wanted = role_mapping.roles_of(claims.groups, mapping)
    held = {each.project_id: each for each in Membership.objects.filter(user=user, project__in=named)}
    there = set(Project.objects.filter(pk__in=named).values_list("pk", flat=True))
    if missing := sorted(named - there):
        logger.warning("OIDC_ROLES names projects that do not exist: %s.", ", ".join(missing))
    for project_id in sorted(there):
        role, member = wanted.get(project_id), held.get(project_id)
        details = {"names": [user.get_username()], "by": "groups of the provider"}
        actor = (user.pk, user.get_username())
        if role is None and member is not None:
            member.delete()
            audit.record(AuditAction.MEMBER_REMOVE, project_id=project_id, actor=actor, details=details)
        elif role is not None and (member is None or member.role != role.value):
            Membership.objects.update_or_create(
                user=user, project_id=project_id, defaults={"role": role.value}
            )
            details |= {"role": role.value}
            audit.record(AuditAction.MEMBER_SET, project_id=project_id, actor=actor, details=details)
