"""Where an installation without DATABASE_URL and REDIS_URL keeps its things."""

import os
import secrets
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def directory() -> Path:
    """The state directory: INFERENCE_STORE_HOME, else `var/` in the checkout."""
    return Path(os.environ.get("INFERENCE_STORE_HOME") or CHECKOUT / "var").resolve()


def database_url() -> str:
    return f"postgres://app@/inference_store?host={directory() / 'postgres'}"


def redis_broker_url() -> str:
    return f"redis+socket://{directory() / 'redis' / 'redis.sock'}"


def redis_cache_url() -> str:
    return f"unix://{directory() / 'redis' / 'redis.sock'}?db=1"


def secret_key() -> str:
    """This installation's key, made on first use, readable by its owner alone."""
    path = directory() / "secret_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
    return path.read_text()
