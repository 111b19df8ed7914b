"""What a user may reach, and how far."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from inference_store import replica, statements
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.models import Membership, Project, RegisteredModel, Role, Token, User
from inference_store.models.access import TOKEN_FORM, token_digest


def _columns(model: type[Model], but: Collection[str] = ()) -> list[str]:
    """The columns as `from_db` takes them: in the order of the fields."""
    return [field.attname for field in model._meta.concrete_fields if field.attname not in but]


USER = _columns(User, but=("password",))
MODEL = _columns(RegisteredModel)
PROJECT = _columns(Project)
USE_NOTED_MINUTES = 5
"""A token's last use is noted no oftener, so that its row is not written with every request."""
# One statement and none of the ORM's, for it comes before every other of the API.
WHO_CALLS = f"""
    select {", ".join(f"u.{each}" for each in USER)}, {", ".join(f"m.{each}" for each in MODEL)},
           {", ".join(f"p.{each}" for each in PROJECT)}, held.role,
           t.id, t.name, t.hint, t.scopes, t.project_id, t.expires_at, coalesce(t.expires_at <= now(), false),
           coalesce(t.last_used_at < now() - interval '{USE_NOTED_MINUTES} minutes', true)
      from {Token._meta.db_table} t
      join {User._meta.db_table} u on u.id = t.user_id and u.is_active
      left join {RegisteredModel._meta.db_table} m
             on m.model_id = %s and (t.project_id is null or m.project_id = t.project_id)
      left join {Project._meta.db_table} p on p.project_id = m.project_id
      left join {Membership._meta.db_table} held on held.user_id = u.id and held.project_id = m.project_id
     where t.digest = %s
"""  # noqa: S608 # nosec B608


@dataclass(frozen=True, slots=True)
class Held:
    """The token that a caller holds: its hint, what it is good for (None: every project), and whether its
    last use was noted some time ago."""

    pk: int = 0
    hint: str = ""
    scopes: Collection[str] = ()
    project_id: str | None = None
    is_unnoted: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the API, the model that they name, and their role there; None where there is none."""

    user: User
    model: RegisteredModel | None
    role: Role | None
    token: Held

    def require(self, *scopes: TokenScope) -> None:
        """403 where the token was not given one of these scopes."""
        for scope in scopes:
            if scope.value in self.token.scopes:
                continue
            raise Refusal(
                403,
                "insufficient_scope",
                f"This token lacks the scope {scope.value}: use one that has it.",
                headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope.value}"'},
            )

    def model_for(self, model_id: str, role: Role) -> RegisteredModel:
        """As the function of that name, of the model that the call names."""
        return _reached(self.model if self.role else None, model_id, self.role, role)

    def project_for(self, project_id: str, role: Role) -> Project:
        """As the function of that name; a token of another project finds none."""
        self.require_project(project_id)
        return project_for(self.user, project_id, role)

    def require_project(self, project_id: str) -> None:
        """404 where the token is of another project."""
        if self.token.project_id not in (None, project_id):
            raise _no_project(project_id)

    def within(self, found: Any, field: str = "project_id") -> Any:
        """What of a queryset the token is good for."""
        return found if self.token.project_id is None else found.filter(**{field: self.token.project_id})

    def require_every_project(self) -> None:
        """403 where the token is of one project."""
        if self.token.project_id is not None:
            raise Refusal(
                403, "forbidden", f"This token is good for project {self.token.project_id!r} alone."
            )


REALM = 'Bearer realm="inference-store"'


def caller(secret: str, model_id: str | None) -> Caller | None:
    """Whose token that is, an active user's, and what they are to the model; 401 for one that has expired.

    One query; none for what can't be a token.
    """
    if not TOKEN_FORM.fullmatch(secret):
        return None
    if model_id is not None and "\x00" in model_id:
        model_id = None
    rows = statements.rows(WHO_CALLS, [model_id, token_digest(secret)])
    if not rows:
        return None
    *found, role, pk, name, hint, scopes, only, expires_at, has_expired, is_unnoted = rows[0]
    if has_expired:
        message = f"The token {name!r} expired on {expires_at:%Y-%m-%d at %H:%M} UTC: make a new one."
        raise Refusal(401, "token_expired", message)
    user = User.from_db(DEFAULT_DB_ALIAS, USER, found[: len(USER)])
    token = Held(pk, hint, scopes, only, is_unnoted)
    of_model, of_project = found[len(USER) : -len(PROJECT)], found[-len(PROJECT) :]
    if of_model[0] is None:
        return Caller(user, None, None, token)
    model = RegisteredModel.from_db(DEFAULT_DB_ALIAS, MODEL, of_model)
    model.project = Project.from_db(DEFAULT_DB_ALIAS, PROJECT, of_project)
    held = Role.ADMIN if user.is_superuser else role and Role(role)
    return Caller(user, model, held, token)


@replica.of_primary
def model_for(user: User | AnonymousUser, model_id: str, role: Role = Role.VIEWER) -> RegisteredModel:
    """The model, for a user with that role; 404 where they may not see it, 403 where they may only look.

    Two queries at most.
    """
    visible: RegisteredModel | None = None
    if "\x00" not in model_id:
        models = RegisteredModel.objects.visible_to(user)
        visible = models.filter(model_id=model_id).select_related("project").first()
    # Who sees it is a viewer at least.
    held = visible.project.role_of(user) if visible and role is not Role.VIEWER else Role.VIEWER
    return _reached(visible, model_id, held, role)


@replica.of_primary
def project_for(user: User | AnonymousUser, project_id: str, role: Role) -> Project:
    """The project, for a user with that role in it; 404 where they may not see it, 403 where less."""
    found: Project | None = None
    if "\x00" not in project_id:
        found = Project.objects.visible_to(user).filter(project_id=project_id).first()
    if found is None:
        raise _no_project(project_id)
    held = found.role_of(user)
    if held is None or held.rank < role.rank:
        raise Refusal(403, "forbidden", f"This needs the role {role.value} in project {project_id!r}.")
    return found


def _no_project(project_id: str) -> Refusal:
    return Refusal.not_found(f"There is no project {project_id[:255]!r} that you may see.")


def _reached(
    visible: RegisteredModel | None, model_id: str, held: Role | None, wanted: Role
) -> RegisteredModel:
    if visible is None:
        raise Refusal.not_found(f"There is no model {model_id[:255]!r} that you may see.")
    if held is None or held.rank < wanted.rank:
        raise Refusal(
            403, "forbidden", f"This needs the role {wanted.value} in project {visible.project_id!r}."
        )
    return visible
