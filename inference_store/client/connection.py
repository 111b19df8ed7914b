"""Where the store is, and the one pooled HTTP client of this process."""

import os
import threading
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

import httpx

from inference_store.client.errors import NOT_CONFIGURED, InferenceStoreError

API_PATH = "/api/inference-store/v1"
URL_VARIABLE = "INFERENCE_STORE_URL"
TOKEN_VARIABLE = "INFERENCE_STORE_TOKEN"  # noqa: S105 - the variable's name # nosec B105
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """`base_url` ends with the API's path."""

    base_url: str
    token: str = field(repr=False)
    timeout: float


@dataclass(frozen=True, slots=True)
class Connection:
    """An HTTP client with the settings that it was made for."""

    settings: Settings
    client: httpx.Client
    headers: list[tuple[str, str]] = field(repr=False)
    """Of every call of the API."""
    extensions: dict[str, Any]
    """How long each of its steps may take."""


_lock = threading.Lock()
_given: Settings | None = None
_current: Connection | None = None


def connect(base_url: str | None = None, token: str | None = None, timeout: float | None = None) -> None:
    """Set the store that every later call of this process talks to. Nothing is sent yet.

    Args:
        base_url: The server's address, like http://127.0.0.1:8000; without it INFERENCE_STORE_URL counts.
        token: An API token; without it INFERENCE_STORE_TOKEN counts.
        timeout: Seconds that one answer may take to come, 60 by default. A connection is given at most 5.

    Raises:
        InferenceStoreError: an address or token is missing or can't be one.
    """
    global _given
    settings = _settings(base_url, token, timeout)
    with _lock:
        _given = settings


def disconnect() -> None:
    """Forget what `connect` set and close idle connections; the environment variables count again."""
    global _given, _current
    with _lock:
        closing, _current, _given = _current, None, None
    if closing is not None:
        closing.client.close()


def current() -> Connection:
    """The connection that `connect` or the environment describes.

    Raises:
        InferenceStoreError: neither does.
    """
    global _current
    with _lock:
        settings = _given or _settings(None, None, None)
        if _current is None or _current.settings != settings:
            _current = _new_connection(settings)
        return _current


def _settings(base_url: str | None, token: str | None, timeout: float | None) -> Settings:
    url = base_url or os.environ.get(URL_VARIABLE, "")
    secret = (token or os.environ.get(TOKEN_VARIABLE, "")).strip()
    if not url.strip():
        raise _misconfigured(f"no store is set: call connect(base_url=…, token=…) or set {URL_VARIABLE}")
    if not secret:
        raise _misconfigured(f"no API token is set: call connect(token=…) or set {TOKEN_VARIABLE}")
    if not (secret.isascii() and secret.isprintable()):
        raise _misconfigured("the API token holds characters that no token has")
    if timeout is not None and not timeout > 0:
        raise _misconfigured("timeout must be a number of seconds above 0")
    return Settings(_api_url(url.strip()), secret, READ_SECONDS if timeout is None else timeout)


def _api_url(text: str) -> str:
    """The address of the API, from the server's address or its own."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise _misconfigured(f"{text!r} is not an address like http://127.0.0.1:8000")
    if url.userinfo or url.query or url.fragment:
        # A password in the address would silently replace the token.
        raise _misconfigured("the store's address can't hold a user, a query or a fragment")
    root = text.rstrip("/")
    return root if root.endswith(API_PATH) else root + API_PATH


def _misconfigured(message: str) -> InferenceStoreError:
    return InferenceStoreError(0, message, NOT_CONFIGURED)


def _new_connection(settings: Settings) -> Connection:
    client = httpx.Client(
        timeout=httpx.Timeout(settings.timeout, connect=min(CONNECT_SECONDS, settings.timeout)),
        headers={"Accept": "application/json", "User-Agent": "inference-store-client"},
        # A proxy from the environment can't reach the caller's own machine.
        mounts={"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None},
        cookies=_NoCookies(),
    )
    headers = [*client.headers.items(), ("Authorization", f"Bearer {settings.token}")]
    return Connection(settings, client, headers, {"timeout": client.timeout.as_dict()})


class _NoCookies(CookieJar):
    """The store sets none, and looking for them is an eighth of the work of a call."""

    def extract_cookies(self, response: Any, request: Any) -> None: ...


def _after_fork() -> None:
    """A child must share neither its parent's sockets nor a lock that some other thread held."""
    global _lock, _current
    _lock, _current = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
