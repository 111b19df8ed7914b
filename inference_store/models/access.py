"""Users, projects, roles, tokens: who may do what."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from inference_store.contract.base import Identifier
from inference_store.contract.enums import TokenScope

TOKEN_PREFIX = "ist_"  # noqa: S105  (recognisable to secret scanners, not a secret) # nosec B105
TOKEN_BYTES = 32
TOKEN_FORM = re.compile(TOKEN_PREFIX + r"[A-Za-z0-9_-]{43}", re.ASCII)
"""How every token looks; what doesn't need not be looked up."""


class User(AbstractUser):
    """Somebody who logs in; staff create projects, superusers see every project."""


class Role(models.TextChoices):
    """What a member may do in a project; each role may do what the ones before it may."""

    VIEWER = "viewer", "viewer: reads and exports"
    EDITOR = "editor", "editor: also registers, writes and deletes"
    ADMIN = "admin", "admin: also sets policies, protection and members"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    @classmethod
    def at_least(cls, role: "Role") -> list["Role"]:
        return [each for each in cls if each.rank >= role.rank]


def validate_identifier(value: str) -> None:
    """The contract's rule for ids, for forms and the admin site."""
    from pydantic import TypeAdapter
    from pydantic import ValidationError as Refused

    try:
        TypeAdapter(Identifier).validate_python(value)
    except Refused as error:
        raise ValidationError(f"An id {error.errors()[0]['msg'].lower()}.") from error


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User | AnonymousUser) -> "ProjectQuerySet":
        """Projects the user is a member of; all of them for a superuser."""
        if user.is_superuser:
            return self
        return self.filter(pk__in=Membership.objects.of(user).values("project"))

    def administered_by(self, user: User | AnonymousUser) -> "ProjectQuerySet":
        """Projects in which the user is an admin; all of them for a superuser."""
        if user.is_superuser:
            return self
        return self.filter(pk__in=Membership.objects.of(user).filter(role=Role.ADMIN).values("project"))


class Project(models.Model):
    """A team's models, and who may see them."""

    project_id = models.CharField(
        primary_key=True, max_length=255, db_collation="C", validators=[validate_identifier]
    )
    name = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="projects", blank=True
    )

    objects: ClassVar[Any] = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ("project_id",)

    def __str__(self) -> str:
        return self.name

    def role_of(self, user: User | AnonymousUser) -> Role | None:
        """The user's role here, None for a stranger. Costs one query, none for a superuser."""
        if user.is_superuser:
            return Role.ADMIN
        role = Membership.objects.of(user).filter(project=self).values_list("role", flat=True).first()
        return Role(role) if role else None


class MembershipQuerySet(models.QuerySet["Membership"]):
    def of(self, user: User | AnonymousUser) -> "MembershipQuerySet":
        """The user's own; nobody's for somebody not logged in."""
        return self.none() if user.pk is None else self.filter(user_id=user.pk)


class Membership(models.Model):
    """A user's role in a project."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)

    objects: ClassVar[Any] = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "project"], name="one_role_per_project"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


def token_digest(secret: str) -> str:
    """How a token is stored. Plain SHA-256 suffices: the secret is 256 random bits, not a password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def all_scopes() -> list[str]:
    """What a token may do unless it is told otherwise."""
    return [scope.value for scope in TokenScope]


class TokenManager(models.Manager["Token"]):
    def issue(
        self,
        user: User,
        name: str,
        expires_at: Any = None,
        scopes: Iterable[str] | None = None,
        project: Project | None = None,
        description: str = "",
    ) -> tuple["Token", str]:
        """A new token and its secret, which is shown this once and kept nowhere."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        token = self.create(
            user=user,
            name=name,
            hint=secret[:8],
            digest=token_digest(secret),
            expires_at=expires_at,
            scopes=all_scopes() if scopes is None else [TokenScope(each).value for each in scopes],
            project=project,
            description=description,
        )
        return token, secret


class Token(models.Model):
    """A bearer token, stored hashed. It may never do more than its user may.

    With `project` it is good for that project alone, and goes with it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, help_text="What uses it, to know it by.")
    description = models.CharField(max_length=500, blank=True, db_default="", default="")
    scopes = ArrayField(
        models.CharField(max_length=10, choices=[(each.value, each.value) for each in TokenScope]),
        default=all_scopes,
    )
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="tokens",
        help_text="Empty: every project that its user may see.",
    )
    hint = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To some minutes.")

    objects: ClassVar[TokenManager] = TokenManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=all_scopes(), scopes__len__gt=0), name="known_scopes"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"
