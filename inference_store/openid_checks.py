"""What is wrong with the settings of signing in, told before anybody tries."""

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps.config import AppConfig
from django.conf import settings
from django.core import checks

from inference_store import role_mapping

DOMAIN = re.compile(r"@?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ENDPOINTS = ("OIDC_AUTHORIZATION_ENDPOINT", "OIDC_TOKEN_ENDPOINT", "OIDC_JWKS_ENDPOINT")
MORE_ENDPOINTS = ("OIDC_USERINFO_ENDPOINT", "OIDC_LOGOUT_ENDPOINT")


@checks.register("inference_store", checks.Tags.security)
def safe_sign_in(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Mistakes in the settings of signing in."""
    found = _of_provider() if settings.OIDC_ISSUER else _of_none()
    return [checks.Error(words, hint=hint, id=f"inference_store.{code}") for words, hint, code in found]


def _of_none() -> Iterator[tuple[str, str, str]]:
    if not settings.PASSWORD_LOGIN:
        yield (
            "PASSWORD_LOGIN is off and there is no OIDC_ISSUER: nobody could sign in.",
            "Set OIDC_ISSUER, or leave PASSWORD_LOGIN on.",
            "E020",
        )
    if settings.OIDC_CLIENT_ID or settings.OIDC_CLIENT_SECRET:
        yield (
            "OIDC_CLIENT_ID or OIDC_CLIENT_SECRET is set without OIDC_ISSUER.",
            "Set OIDC_ISSUER to the provider's address.",
            "E021",
        )


def _of_provider() -> Iterator[tuple[str, str, str]]:
    if find_spec("mozilla_django_oidc") is None:
        yield (
            "OIDC_ISSUER is set, but mozilla-django-oidc is not installed.",
            "Install the extra: pip install 'inference-store[oidc]'.",
            "E022",
        )
    for name in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
        if not getattr(settings, name):
            yield f"{name} is not set.", "The provider gives it when the store is registered there.", "E024"
    if "openid" not in settings.OIDC_SCOPES.split():
        yield "OIDC_SCOPES lacks openid.", "Write for example: openid email profile", "E025"
    yield from _of_addresses()
    yield from _of_users()


def _of_addresses() -> Iterator[tuple[str, str, str]]:
    for name in ("OIDC_ISSUER", *ENDPOINTS, *MORE_ENDPOINTS):
        if (value := getattr(settings, name)) and not _is_safe(value):
            yield f"{name} is no https address.", "Write it whole, https://…", "E023"
    if len({bool(getattr(settings, name)) for name in ENDPOINTS}) > 1:
        yield (
            "Some OIDC_…_ENDPOINTs are set, but not all that are needed.",
            f"Set all of {', '.join(ENDPOINTS)}, or none, to have the provider's own document read.",
            "E026",
        )


def _of_users() -> Iterator[tuple[str, str, str]]:
    try:
        role_mapping.parsed(settings.OIDC_ROLES)
    except ValueError as error:
        yield (
            f"OIDC_ROLES can't be read: {error}.",
            """Write for example {"ml-team": "vision:editor", "leads": ["vision:admin", "birds:viewer"]}.""",
            "E027",
        )
    if not all(DOMAIN.fullmatch(domain) for domain in settings.OIDC_EMAIL_DOMAINS):
        yield (
            "OIDC_EMAIL_DOMAINS holds something that is no domain.",
            "Write domains with commas between: example.org,lab.example.org",
            "E028",
        )
    if settings.OIDC_SESSION_HOURS < 1:
        yield "OIDC_SESSION_HOURS is less than an hour.", "Write 12, for example.", "E029"


def _is_safe(url: str) -> bool:
    """Whether it is encrypted, or on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
