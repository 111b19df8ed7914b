"""Tokens are made, revoked, and known to be used."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from inference_store.contract.enums import AuditAction, TokenScope
from inference_store.contract.errors import Refusal
from inference_store.models import Project, Token, User
from inference_store.services import audit
from inference_store.services.access import USE_NOTED_MINUTES, Caller

MOST_TOKENS = 100
"""Of one user: all of them are listed."""
LONGEST_DAYS = 36_500
LONGEST_NAME, LONGEST_DESCRIPTION = 100, 500

# Whoever else is noting it at the same moment is not waited for.
NOTE_USE = f"""
    update {Token._meta.db_table} set last_used_at = now()
     where id = (select id from {Token._meta.db_table}
                  where id = %s
                    and coalesce(last_used_at < now() - interval '{USE_NOTED_MINUTES} minutes', true)
                    for no key update skip locked)
"""  # noqa: S608 # nosec B608


def default_days() -> int | None:
    """How long a token is good for unless its maker says; None: for ever."""
    usual, most = settings.TOKEN_DAYS or None, settings.TOKEN_MAXIMUM_DAYS or None
    return usual if most is None else min(usual or most, most)


def expiry(days: int | None) -> datetime | None:
    """When a token made now for so many days ends (None: never), or a refusal of what is not allowed."""
    most = settings.TOKEN_MAXIMUM_DAYS
    if days is None:
        if most:
            raise Refusal.invalid("days", f"must be given here: a token lives {most:,} days at most")
        return None
    if not 1 <= days <= (most or LONGEST_DAYS):
        raise Refusal.invalid("days", f"must be 1 to {most or LONGEST_DAYS:,}")
    return timezone.now() + timedelta(days=days)


@transaction.atomic
def create_token(
    *,
    user: User,
    name: str,
    days: int | None,
    scopes: Iterable[TokenScope] = tuple(TokenScope),
    project: Project | None = None,
    description: str = "",
) -> tuple[Token, str]:
    """A new token with its secret, which is told this once.

    `days` is how long it is good for, None for ever. `project` must be one that the user may see.
    """
    name, description = _text("name", name, LONGEST_NAME), description.strip()
    if description:
        _text("description", description, LONGEST_DESCRIPTION)
    given = [scope.value for scope in TokenScope if scope in set(scopes)]
    if not given:
        raise Refusal.invalid("scopes", "must be one at least")
    expires_at = expiry(days)
    # One at a time, so that a form that is sent twice makes one token.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    own = Token.objects.filter(user=user)
    if own.filter(name=name).exists():
        message = f"There is a token {name!r} already: revoke it first, or choose another name."
        raise Refusal.conflict(message, {"name": "is taken by another of your tokens"})
    if own.count() >= MOST_TOKENS:
        raise Refusal.conflict(f"There are {MOST_TOKENS} tokens already: revoke one first.")
    token, secret = Token.objects.issue(user, name, expires_at, given, project, description)
    audit.record(AuditAction.TOKEN_CREATE, project_id=token.project_id or "", details=told(token))
    return token, secret


@transaction.atomic
def revoke_token(*, user: User, token_id: int) -> Token:
    """The user's own token, gone: 404 where it is none of theirs. What it is used for is refused at once."""
    token = Token.objects.select_for_update().select_related("user").filter(pk=token_id, user=user).first()
    if token is None:
        raise Refusal.not_found("You have no such token.")
    audit.record(AuditAction.TOKEN_DELETE, project_id=token.project_id or "", details=told(token))
    Token.objects.filter(pk=token.pk).delete()
    return token


def told(token: Token) -> dict[str, object]:
    """A token as the audit log tells of it: never its secret, nor its digest."""
    details: dict[str, object] = {
        "user": token.user.get_username(),
        "token": token.hint,
        "name": token.name,
        "scopes": token.scopes,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }
    if token.project_id is not None:
        details["project"] = token.project_id
    return details


def note_use(caller: Caller) -> None:
    """Note that the caller's token was used, unless that was done lately. Never in the way of the call."""
    if caller.token.is_unnoted:
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(NOTE_USE, [caller.token.pk])


def _text(field: str, text: str, longest: int) -> str:
    text = text.strip()
    if not text or len(text) > longest or not text.isprintable():
        raise Refusal.invalid(field, f"must be 1 to {longest} printable characters")
    return text
