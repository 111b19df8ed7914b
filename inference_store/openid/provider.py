"""The provider: what it says of itself, and whether a token is its word for us, now and here."""

import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import jwt
from django.conf import settings

from inference_store.services.identities import Claims

logger = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_SECONDS = 5.0
KEPT_SECONDS = 3600.0
SOONEST_SECONDS = 10.0
"""Between two looks for a key that was not there: anybody may send a token that names one."""
LEEWAY_SECONDS = 60
FAMILIES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""Signatures that only the provider can make, and the kind of key that each needs."""
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
LONGEST_SUBJECT = 255
LOOPBACK = ("localhost", "127.0.0.1", "::1")
T = TypeVar("T")


class AwayError(Exception):
    """The provider does not answer, or not as one."""


class ForgedError(Exception):
    """What came is not the provider's word for us; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Where it does what."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    end_session: str = ""
    takes_secret_in_body: bool = False


class Kept(Generic[T]):
    """What was fetched, for an hour; beyond it too while the provider is away."""

    def __init__(self, fetch: Callable[[str], T]) -> None:
        self._fetch, self._lock = fetch, Lock()
        self._found: dict[str, tuple[float, T]] = {}

    def get(self, name: str, youngest: float = KEPT_SECONDS) -> T:
        with self._lock:
            held = self._found.get(name)
            if held is not None and time.monotonic() - held[0] < youngest:
                return held[1]
            try:
                found = self._fetch(name)
            except AwayError:
                if held is None:
                    raise
                logger.warning("The OpenID provider does not answer: what it said last is believed on.")
                found = held[1]
            self._found[name] = (time.monotonic(), found)
            return found

    def forget(self) -> None:
        self._found.clear()


def is_safe(url: str) -> bool:
    """Whether what goes there goes encrypted, or does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _json(url: str) -> dict[str, Any]:
    try:
        answer = httpx.get(url, timeout=TIMEOUT_SECONDS, follow_redirects=False)
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise AwayError(f"{url}: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise AwayError(f"{url}: no object")
    return found


def _discover(issuer: str) -> Provider:
    told = _json(issuer.rstrip("/") + DISCOVERY)
    if told.get("issuer") != issuer:
        raise AwayError(f"it calls itself {told.get('issuer')!r}: set OIDC_ISSUER to that, letter by letter")
    methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    found = Provider(
        issuer,
        authorization=str(told.get("authorization_endpoint", "")),
        token=str(told.get("token_endpoint", "")),
        keys=str(told.get("jwks_uri", "")),
        userinfo=str(told.get("userinfo_endpoint", "")),
        end_session=str(told.get("end_session_endpoint", "")),
        takes_secret_in_body="client_secret_post" in methods,
    )
    used = (found.authorization, found.token, found.keys, found.userinfo, found.end_session)
    if not all(used[:3]) or not all(is_safe(each) for each in used if each):
        raise AwayError("its document lacks an endpoint, or names one without https")
    return found


_documents = Kept(_discover)
_keys = Kept(lambda url: list(_json(url).get("keys", ())))


def provider() -> Provider:
    """As the settings spell it out, else as its own document does; AwayError."""
    spelt = (settings.OIDC_AUTHORIZATION_ENDPOINT, settings.OIDC_TOKEN_ENDPOINT, settings.OIDC_JWKS_ENDPOINT)
    if all(spelt):
        more = settings.OIDC_USERINFO_ENDPOINT, settings.OIDC_LOGOUT_ENDPOINT, True
        return Provider(settings.OIDC_ISSUER, *spelt, *more)
    return _documents.get(settings.OIDC_ISSUER)


def forget() -> None:
    _documents.forget()
    _keys.forget()


# --- Tokens -------------------------------------------------------------------------------------------------
def verified(token: object, nonce: str) -> dict[str, Any]:
    """The claims of an id token that the provider made for us and this very sign-in; ForgedError."""
    if not isinstance(token, str):
        raise ForgedError("there is no id token")
    known = provider()
    try:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        if algorithm not in FAMILIES:
            raise ForgedError(f"it is signed by {algorithm[:20]!r}")
        claims: dict[str, Any] = jwt.decode(
            token,
            _key(known.keys, algorithm, header.get("kid")),
            algorithms=[algorithm],
            audience=settings.OIDC_CLIENT_ID,
            issuer=known.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED},
        )
    except jwt.PyJWTError as error:
        raise ForgedError(type(error).__name__) from error
    subject, said = claims["sub"], claims.get("nonce")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or "\x00" in subject:
        raise ForgedError("its subject is none")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise ForgedError("its nonce is another")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
        raise ForgedError("it was made for another client")
    return claims


def _key(url: str, algorithm: str, kid: object) -> Any:
    """The provider's key of that id and kind; looked for once more where it may have been changed."""
    for youngest in (KEPT_SECONDS, SOONEST_SECONDS):
        fit = [each for each in _keys.get(url, youngest) if _fits(each, algorithm, kid)]
        if len(fit) == 1:
            return jwt.PyJWK(fit[0], algorithm).key
    raise ForgedError("it is signed by no key of the provider's")


def _fits(key: Any, algorithm: str, kid: object) -> bool:
    if not isinstance(key, Mapping) or key.get("kty") != FAMILIES[algorithm]:
        return False
    named = kid is None or key.get("kid") == kid
    return named and key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm


def told_more(access_token: object, claims: dict[str, Any]) -> dict[str, Any]:
    """The claims, with what only the provider's userinfo tells, if that is of the same subject."""
    url = provider().userinfo
    wanted = {"email", settings.OIDC_GROUPS_CLAIM} if settings.OIDC_ROLES not in ("", "{}") else {"email"}
    if not url or not isinstance(access_token, str) or wanted <= claims.keys():
        return claims
    headers = {"Authorization": f"Bearer {access_token}"}
    try:
        answer = httpx.get(url, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False)
        answer.raise_for_status()
        more = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise AwayError(f"{url}: {type(error).__name__}") from error
    if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
        raise ForgedError("userinfo is of another subject")
    return more | claims


def claims_of(told: dict[str, Any]) -> Claims:
    """What we take from them."""

    def text(name: str) -> str:
        value = told.get(name)
        return value.strip() if isinstance(value, str) and "\x00" not in value else ""

    is_verified = told.get("email_verified") in (True, "true")
    return Claims(
        issuer=told["iss"],
        subject=told["sub"],
        name=text("preferred_username"),
        email=text("email")[:254] if is_verified else "",
        groups=_groups(told),
    )


def _groups(told: dict[str, Any]) -> tuple[str, ...]:
    """By the claim's name, or by its path with dots, as realm_access.roles."""
    found: Any = told.get(settings.OIDC_GROUPS_CLAIM)
    if found is None:
        found = told
        for part in settings.OIDC_GROUPS_CLAIM.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        return (found,)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
