"""Bearer tokens."""

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from inference_store import calling, counters
from inference_store.contract.errors import Refusal
from inference_store.models import User
from inference_store.services import access, token_throttle, tokens


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, for an unexpired token of an active user."""

    def authenticate(self, request: Request) -> tuple[User, access.Caller] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        named = (request.parser_context or {}).get("kwargs", {}).get("model_id")
        caller = access.caller(secret.strip(), named)
        if caller is None:
            raise wrong_token()
        calling.identify(caller.user, caller.token.hint)
        tokens.note_use(caller)
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return access.REALM


def wrong_token() -> Refusal:
    """401, and for whoever has sent too many 429."""
    counters.wrong_token()
    by = calling.current()
    if wait := token_throttle.seconds_to_wait(by.address if by else ""):
        message = f"Too many wrong tokens came from your address: wait {wait} s, and send one that is good."
        return Refusal(429, "too_many_wrong_tokens", message, headers={"Retry-After": str(wait)})
    return Refusal(401, "unauthenticated", "The token is unknown, or was revoked: make a new one.")


def caller_of(request: Request) -> access.Caller:
    """Who calls, and what they are to the model of the address; routes are closed to anybody else."""
    return cast(access.Caller, request.auth)


def authenticate_anew(request: Request) -> None:
    """Ask again who calls: tokens are revoked, and members leave, while a body comes."""
    request._authenticate()  # type: ignore[attr-defined]  # what it does once, when first asked


def user_of(request: Request) -> Any:
    """Who calls; routes are closed to anybody else."""
    return request.user
