"""A replica and two web servers, shared by these tests; what each of them stores lasts for the test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.cast import cast, detector  # noqa: F401
from tests.standby import Standby
from tests.workers import Web


@pytest.fixture(scope="module")
def running_standby(django_db_setup: None, django_db_blocker: Any) -> Iterator[Standby]:
    with django_db_blocker.unblock():
        standby = Standby()
        standby.start()
    yield standby
    standby.remove()


@pytest.fixture
def standby(transactional_db: None, running_standby: Standby) -> Iterator[Standby]:
    """A replica that has all there is."""
    running_standby.catch_up()
    yield running_standby
    running_standby.thaw()
    if running_standby.process is None:
        running_standby.start()
    running_standby.resume()


@pytest.fixture(scope="module")
def webs(
    running_standby: Standby, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Web]]:
    """Two processes; the second one's replica may lag by half a second."""
    logs = tmp_path_factory.mktemp("webs")
    started = []
    with django_db_blocker.unblock():
        for name, lag in (("first", "60"), ("second", "0.5")):
            changes = {"REPLICA_URL": running_standby.url, "REPLICA_LAG_SECONDS": lag}
            changes["DJANGO_SETTINGS_MODULE"] = "tests.replica.uncollected"
            started.append(Web(logs / name, BLOB_ROOT=str(logs / "blobs"), **changes))
            started[-1].start()
    for web in started:
        web.ready()
    yield started
    for web in started:
        web.stop()


@pytest.fixture(autouse=True)
def blob_root(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_ROOT = tmp_path / "blobs"


assert "replica" not in settings.DATABASES, "these tests make a replica of their own"
