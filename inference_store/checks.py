"""What `manage.py check` and the server's start refuse, each with what to set instead."""

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps.config import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from inference_store.openid_checks import safe_sign_in

SHORTEST_SECRET_KEY = 40
SHORTEST_AUDIT_KEY = 32
SHORTEST_METRICS_TOKEN = 20
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
LONGEST_LAG_SECONDS = 300


@checks.register("inference_store")
def writable_audit_head(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Where the audit log's head is kept beside the database: else nothing would be sealed."""
    head = Path(settings.AUDIT_HEAD_FILE)
    if not settings.AUDIT_HEAD_FILE or (not head.is_dir() and os.access(head.parent, os.W_OK)):
        return []
    return [
        checks.Error(
            f"AUDIT_HEAD_FILE can't be written: {head}. The audit log would not be sealed.",
            hint="Name a file in a directory that is there and that this user may write to.",
            id="inference_store.E023",
        )
    ]


@checks.register("inference_store")
def usable_map_tiles(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Where maps get their tiles: else they would be grey without a word."""
    tiles = settings.MAP_TILES_URL
    whole = tiles.startswith(("https://", "http://", "/")) and all(
        each in tiles for each in ("{z}", "{x}", "{y}")
    )
    if whole or not tiles:
        return []
    return [
        checks.Error(
            "MAP_TILES_URL is no address of tiles.",
            hint="Write it with {z}, {x} and {y}, for example https://tiles.example.org/{z}/{x}/{y}.png.",
            id="inference_store.E024",
        )
    ]


@checks.register("inference_store", checks.Tags.security)
def safe_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Settings that are unsafe wherever they are found."""
    found: list[checks.CheckMessage] = []
    key = settings.SECRET_KEY
    if len(key) < SHORTEST_SECRET_KEY or len(set(key)) < 10 or "insecure" in key or "change" in key.lower():
        found.append(
            checks.Error(
                "SECRET_KEY is short or a placeholder.",
                hint="Leave it unset (one is made and kept beside the data) or set 50 random characters, "
                "for example from `python -c 'import secrets; print(secrets.token_urlsafe(50))'`.",
                id="inference_store.E001",
            )
        )
    if settings.AUDIT_KEY and len(settings.AUDIT_KEY) < SHORTEST_AUDIT_KEY:
        found.append(
            checks.Error(
                "AUDIT_KEY is short, so that seals of the audit log could be made by guessing it.",
                hint="Leave it unset (one is made and kept beside the data) or set 50 random characters.",
                id="inference_store.E010",
            )
        )
    if settings.REPLICA_LAG_SECONDS > LONGEST_LAG_SECONDS:
        found.append(
            checks.Error(
                "REPLICA_LAG_SECONDS is longer than what callers must see is remembered.",
                hint=f"Set {LONGEST_LAG_SECONDS} or less.",
                id="inference_store.E020",
            )
        )
    if any("*" in host or host.startswith(".") for host in settings.ALLOWED_HOSTS):
        found.append(
            checks.Error(
                "ALLOWED_HOSTS holds a wildcard, so that any Host header would be believed.",
                hint="Set PUBLIC_URL to the address people type, or ALLOWED_HOSTS to exact names.",
                id="inference_store.E002",
            )
        )
    if settings.DEBUG and set(settings.ALLOWED_HOSTS) - set(settings.LOOPBACK_HOSTS):
        found.append(
            checks.Error(
                "DEBUG is on for hosts other than this machine: its error pages show settings and code.",
                hint="Unset DEBUG.",
                id="inference_store.E003",
            )
        )
    if settings.BLOB_STORE and not is_bucket(settings.BLOB_STORE):
        found.append(
            checks.Error(
                "BLOB_STORE names no bucket.",
                hint="Write s3://bucket or s3://bucket/prefix, or leave it unset for BLOB_ROOT.",
                id="inference_store.E011",
            )
        )
    elif settings.BLOB_STORE and find_spec("boto3") is None:
        found.append(
            checks.Error(
                "BLOB_STORE is set, but boto3 is not installed.",
                hint="Install the extra: pip install 'inference-store[s3]'.",
                id="inference_store.E012",
            )
        )
    found += _of_sentry()
    if settings.PUBLIC_URL and not settings.PUBLIC_URL.startswith(("https://", "http://")):
        found.append(
            checks.Error(
                "PUBLIC_URL is not an address.",
                hint="Write it whole, for example https://inferences.example.org.",
                id="inference_store.E004",
            )
        )
    return found


@checks.register("inference_store", checks.Tags.security, deploy=True)
def safe_deployment(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """What a public installation needs beyond that."""
    found: list[checks.CheckMessage] = []
    if not settings.PUBLIC_URL.startswith("https://"):
        found.append(
            checks.Error(
                "PUBLIC_URL is not an https address, so that tokens and sessions would travel in the clear.",
                hint="Set PUBLIC_URL=https://… ; secure cookies, HSTS and the allowed host follow from it.",
                id="inference_store.E005",
            )
        )
    # With a database of its own the store may run on several machines, and each would make its own keys.
    given = {"SECRET_KEY": settings.IS_SECRET_KEY_GIVEN, "AUDIT_KEY": bool(settings.AUDIT_KEY)}
    for name, is_given in given.items():
        if settings.DATABASE_URL and not is_given:
            found.append(
                checks.Warning(
                    f"{name} is not set: each machine makes one of its own and keeps it in its home.",
                    hint=f"Set {name} to the same 50 random characters wherever the store runs: "
                    "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`.",
                    id="inference_store.W001" if name == "SECRET_KEY" else "inference_store.W002",
                )
            )
    if settings.METRICS_TOKEN and len(settings.METRICS_TOKEN) < SHORTEST_METRICS_TOKEN:
        found.append(
            checks.Warning(
                "METRICS_TOKEN is short enough to be guessed.",
                hint=f"Set {SHORTEST_METRICS_TOKEN} random characters or more.",
                id="inference_store.W003",
            )
        )
    return found


def _of_sentry() -> list[checks.CheckMessage]:
    if not settings.SENTRY_DSN:
        return []
    parts = urlsplit(settings.SENTRY_DSN)
    is_whole = parts.scheme in ("https", "http") and parts.username and parts.hostname
    if not (is_whole and parts.path.rpartition("/")[2]):
        return [
            checks.Error(
                "SENTRY_DSN is not an address of a project.",
                hint="Copy it whole from the project's settings: https://key@sentry.example.org/1",
                id="inference_store.E014",
            )
        ]
    return []


def is_bucket(address: str) -> bool:
    """Whether it is s3://bucket/prefix and nothing else."""
    try:
        parts = urlsplit(address)
        more = parts.query or parts.fragment or parts.username or parts.port
    except ValueError:
        return False
    return parts.scheme == "s3" and BUCKET.fullmatch(parts.netloc) is not None and not more


def refuse_unsafe_settings() -> None:
    """Raise ImproperlyConfigured, naming what to set, when the server must not serve."""
    found = [*safe_settings(), *safe_sign_in()]
    if errors := [each for each in found if each.is_serious()]:
        raise ImproperlyConfigured("\n".join(f"{each.msg} {each.hint}" for each in errors))
