"""Signing in with an OpenID provider, by OIDC_ISSUER: `docs/sign-in.md`.

Needs the extra `oidc`; nothing here but this module is imported without the setting.
"""

from urllib.parse import urlsplit

from django.conf import settings


def is_on() -> bool:
    return bool(settings.OIDC_ISSUER)


def name() -> str:
    """What the provider is called on pages."""
    return settings.OIDC_NAME or urlsplit(settings.OIDC_ISSUER).hostname or "OpenID"
