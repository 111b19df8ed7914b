"""Bearer tokens."""

from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from inference_store.models import Token, User


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, for an unexpired token of an active user."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            token = Token.objects.valid(secret.strip().decode("ascii"))
        except UnicodeDecodeError:
            token = None
        if token is None:
            raise AuthenticationFailed("The token is unknown or has expired: ask for a new one.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="inference-store"'


def user_of(request: Request) -> Any:
    """Who calls; routes are closed to anybody else."""
    return request.user
