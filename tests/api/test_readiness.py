"""/healthz and /readyz: which part is not there."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from inference_store import migrations
from inference_store.services import readiness
from inference_store.services.readiness import HEARTBEAT, LATE_SECONDS, note_heartbeat
from tests.workers import Web

NEWEST = sorted(path.stem for path in Path(migrations.__path__[0]).glob("[0-9]*.py"))[-1]
PARTS = {"database", "migrations", "cache", "broker", "blobs", "jobs"}


@pytest.fixture(autouse=True)
def fresh(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Nothing kept from an earlier test, and blobs of one's own."""
    settings.BLOB_ROOT = tmp_path / "blobs"
    readiness.kept.forget()
    cache.delete(HEARTBEAT)
    yield
    readiness.kept.forget()
    cache.delete(HEARTBEAT)


def asked() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, answer.json()


@pytest.mark.django_db(transaction=True)
def test_all_is_there() -> None:
    note_heartbeat()
    assert asked() == (200, {"ready": True, "parts": dict.fromkeys(PARTS, "ok")})


@pytest.mark.django_db(transaction=True)
def test_no_worker_is_told_but_does_not_stop_requests() -> None:
    status, said = asked()
    assert (status, said["ready"]) == (200, True)
    assert said["parts"]["jobs"] == "no worker has been seen: start a worker and a scheduler"
    readiness.kept.forget()
    note_heartbeat()
    cache.set(HEARTBEAT, cache.get(HEARTBEAT) - LATE_SECONDS - 30)
    assert "no worker has been seen for 9" in asked()[1]["parts"]["jobs"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "undo", "said"),
    [
        (
            f"update django_migrations set app = 'gone' where name = '{NEWEST}'",
            f"update django_migrations set app = 'inference_store' where name = '{NEWEST}'",
            "not applied: run manage.py migrate",
        ),
        (
            "insert into django_migrations (app, name, applied) "
            "values ('inference_store', '9999_new', now())",
            "delete from django_migrations where name = '9999_new'",
            "the database is of a newer release: upgrade this process",
        ),
    ],
)
def test_another_release_is_not_ready(change: str, undo: str, said: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(change)
        try:
            status, body = asked()
        finally:
            cursor.execute(undo)
    assert (status, body["ready"]) == (503, False)
    assert said in body["parts"]["migrations"]


@pytest.mark.django_db(transaction=True)
def test_a_blob_root_that_takes_nothing_is_told(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.BLOB_ROOT = tmp_path / "file" / "blobs"
    status, said = asked()
    assert status == 200
    assert said["parts"]["blobs"].startswith("failed: ")


@pytest.mark.django_db(transaction=True)
def test_it_is_asked_once_a_second() -> None:
    first = readiness.kept.look()
    assert readiness.kept.look() is first


def test_without_a_database_the_process_lives_and_is_not_ready(
    transactional_db: None, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = f"postgres://somebody:secret@127.0.0.1:{port}/nothing"
    web = Web(tmp_path / "log", DATABASE_URL=away)
    web.start()
    try:
        web.ready()
        assert httpx.get(f"{web.url}/healthz", timeout=10).json() == {"status": "ok"}
        answer = httpx.get(f"{web.url}/readyz", timeout=10, cookies={"sessionid": "anything"})
        figures = httpx.get(f"{web.url}/metrics", timeout=10)
    finally:
        web.kill()
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] != "ok"
    assert answer.json()["parts"]["cache"] == "ok"
    assert figures.status_code == 200
    assert 'inference_store_ready{part="database"} 0.0' in figures.text
    for secret in ("secret", "somebody", str(port)):
        assert secret not in answer.text
