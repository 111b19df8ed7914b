"""What every test may use."""

from typing import Any

import pytest
from django.db import connection

# Each of these is started once, for all tests that use it.
from tests.chromium import chromium  # noqa: F401
from tests.servers import django_db_modify_db_settings, embedded_postgres, embedded_redis  # noqa: F401
from tests.swift import swift_service  # noqa: F401


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    """Under their own names: nothing was collected."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: object) -> None:
    """Tests with transactions of their own empty every table afterwards, the audit log's too."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:  # type: ignore[attr-defined]
        for table in ("auditrecord", "auditedinferences", "auditseal", "auditcheckpoint"):
            cursor.execute(f"alter table inference_store_{table} disable trigger audit_no_truncation")
