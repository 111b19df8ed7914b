"""PostgreSQL and Redis for the tests: our own embedded ones, in a directory of their own, gone afterwards.

Loaded as a plugin (see pyproject.toml) before anything reads the settings, in each process that runs tests:
they share nothing. DATABASE_URL and REDIS_URL, where set, are used
instead. PostgreSQL starts when a test first needs it.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings

from inference_store.embedded.postgres import Postgres
from inference_store.embedded.redis import Redis

if settings.configured:
    raise pytest.UsageError("The settings were read before tests.servers chose where the tests' data lie.")

HOME = Path(tempfile.mkdtemp(prefix="inference-store-tests-"))
HOME.chmod(0o711)  # where root runs the tests, PostgreSQL is somebody else and must pass through
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["INFERENCE_STORE_HOME"] = str(HOME)
os.environ["DJANGO_SETTINGS_MODULE"] = "inference_store.settings"
django.setup()


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[None]:
    """A server whose data need not outlive a crash, which makes it quick."""
    if os.environ.get("DATABASE_URL"):
        yield
        return
    server = Postgres(durable=False)
    server.start()
    yield
    server.stop()


@pytest.fixture(scope="session", autouse=True)
def embedded_redis() -> Iterator[None]:
    """For all tests: it starts in 30 ms."""
    if os.environ.get("REDIS_URL"):
        yield
        return
    server = Redis()
    server.start()
    yield
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(embedded_postgres: None) -> None:
    """Where pytest-django lets us in before it makes the test database."""
