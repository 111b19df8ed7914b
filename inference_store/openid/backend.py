"""The library's backend with our provider, our tokens' checks and our users."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from inference_store.models import User
from inference_store.openid.provider import TIMEOUT_SECONDS, claims_of, provider, told_more, verified
from inference_store.services import identities


def setting(name: str, *default: Any) -> Any:
    """What the library asks by its own names."""
    found = SETTINGS.get(name)
    return found() if found else default[0] if default else None


SETTINGS: dict[str, Callable[[], Any]] = {
    "OIDC_RP_CLIENT_ID": lambda: settings.OIDC_CLIENT_ID,
    "OIDC_RP_CLIENT_SECRET": lambda: settings.OIDC_CLIENT_SECRET,
    "OIDC_RP_SCOPES": lambda: settings.OIDC_SCOPES,
    "OIDC_OP_AUTHORIZATION_ENDPOINT": lambda: provider().authorization,
    "OIDC_OP_TOKEN_ENDPOINT": lambda: provider().token,
    "OIDC_TOKEN_USE_BASIC_AUTH": lambda: not provider().takes_secret_in_body,
    "OIDC_AUTHENTICATION_CALLBACK_URL": lambda: "dashboard:oidc_callback",
    "OIDC_USE_PKCE": lambda: True,
    "OIDC_USE_NONCE": lambda: True,
    "OIDC_STORE_ID_TOKEN": lambda: settings.OIDC_LOGOUT,
    "OIDC_TIMEOUT": lambda: TIMEOUT_SECONDS,
    "LOGIN_REDIRECT_URL": lambda: settings.LOGIN_REDIRECT_URL,
}


class Backend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """Made for each request that has a session: nothing is asked of the provider before it is needed."""

    get_settings = staticmethod(setting)

    def __init__(self) -> None:
        self.UserModel = get_user_model()
        self.OIDC_RP_CLIENT_ID = settings.OIDC_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_CLIENT_SECRET

    @property
    def OIDC_OP_TOKEN_ENDPOINT(self) -> str:  # noqa: N802  (the library's)
        return provider().token

    def authenticate(
        self,
        request: HttpRequest | None,
        nonce: str | None = None,
        code_verifier: str | None = None,
        **credentials: Any,
    ) -> Any:
        """The user; None for anybody who does not come from the provider by a sign-in that began here.

        A form with a password would otherwise be taken for one, if its address held a code and a state.
        """
        if request is None or not nonce or not code_verifier or credentials:
            return None
        return super().authenticate(request, nonce=nonce, code_verifier=code_verifier)

    def get_user(self, user_id: Any) -> User | None:
        """Whose session it is; nobody's once they are disabled, which the library does not look at."""
        user: User | None = self.UserModel.objects.filter(pk=user_id, is_active=True).first()
        return user

    def verify_token(self, token: Any, **kwargs: Any) -> dict[str, Any]:
        return verified(token, kwargs["nonce"])

    def get_or_create_user(self, access_token: Any, id_token: Any, payload: dict[str, Any]) -> User:
        return identities.signed_in(claims_of(told_more(access_token, payload)))
