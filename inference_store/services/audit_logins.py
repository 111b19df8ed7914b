"""Logins, logouts and failed logins are recorded; of a failed one the name only if a user has it."""

from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction

from inference_store.contract.enums import AuditAction
from inference_store.models import User
from inference_store.services import audit


@transaction.atomic
def logged_in(user: User, **_: Any) -> None:
    backend = getattr(user, "backend", "")  # where authentication put it
    details = {"issuer": settings.OIDC_ISSUER} if backend.startswith("inference_store.openid") else None
    audit.record(AuditAction.LOGIN, actor=(user.pk, user.get_username()), details=details)


@transaction.atomic
def logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        audit.record(AuditAction.LOGOUT, actor=(user.pk, user.get_username()))


@transaction.atomic
def failed(credentials: dict[str, Any], **_: Any) -> None:
    # What nobody is called may be a password that was typed in the wrong place.
    name = str(credentials.get("username") or "")[:150].replace("\x00", "")
    user = User.objects.filter(username=name).first()
    actor = (user.pk, user.get_username()) if user else (None, "")
    audit.record(AuditAction.LOGIN_FAIL, outcome="refused", actor=actor)


def connect() -> None:
    user_logged_in.connect(logged_in, dispatch_uid="audit login")
    user_logged_out.connect(logged_out, dispatch_uid="audit logout")
    user_login_failed.connect(failed, dispatch_uid="audit failed login")
