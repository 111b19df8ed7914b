"""Bearer tokens."""

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from inference_store import calling
from inference_store.models import User
from inference_store.services import access


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, for an unexpired token of an active user."""

    def authenticate(self, request: Request) -> tuple[User, access.Caller] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        named = (request.parser_context or {}).get("kwargs", {}).get("model_id")
        secret = secret.strip()
        caller = access.caller(secret, named) if secret.isascii() else None
        if caller is None:
            raise AuthenticationFailed("The token is unknown or has expired: ask for a new one.")
        calling.identify(caller.user, caller.token)
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="inference-store"'


def caller_of(request: Request) -> access.Caller:
    """Who calls, and what they are to the model of the address; routes are closed to anybody else."""
    return cast(access.Caller, request.auth)


def user_of(request: Request) -> Any:
    """Who calls; routes are closed to anybody else."""
    return request.user
