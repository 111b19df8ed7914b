"""Faults of real web processes and workers arrive at a Sentry-compatible service, without anybody's data."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.staticfiles import finders
from django.db import connection

from inference_store import blobs, calling, checks
from inference_store.celery import app
from inference_store.models import Blob, RegisteredModel
from tests.cast import BASE, Cast, cast, detector, request_of  # noqa: F401
from tests.workers import Web, Worker, environment, wait_until

PLANTED = "planted-7f3a"


class Service:
    """What a service would have received: whole requests, and the events in them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                service.bodies.append(gzip.decompress(body) if is_packed else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.server.server_address[1]}/1"

    def events(self) -> list[dict[str, Any]]:
        found = []
        for body in list(self.bodies):
            _head, kind, event = body.split(b"\n")[:3]
            assert json.loads(kind)["type"] == "event", kind
            found.append(json.loads(event))
        return found

    def of(self, request_id: str) -> dict[str, Any]:
        """The one event of that request."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.events() if each["tags"].get("request_id") == request_id]

        wait_until(found, f"an event of {request_id}")
        assert len(found()) == 1
        return found()[0]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def broken_audit(transactional_db: None) -> Iterator[None]:
    """PostgreSQL refuses each audit record, and tells of the whole row that it refused."""
    table = "inference_store_auditrecord"

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"alter table {table} {statement}")

    yield run("add constraint refused check (false) not valid")
    run("drop constraint refused")


def pages_can_be_shown(static_root: Path) -> None:
    """Without its static files, a page of an error could not be shown: say that they are collected."""
    found = [path for finder in finders.get_finders() for path, _ in finder.list([])]
    told = {"version": "1.1", "hash": "", "paths": {path: path for path in found}}
    (static_root / "staticfiles.json").write_text(json.dumps(told))


def types(event: dict[str, Any]) -> list[str]:
    return [each["type"] for each in event["exception"]["values"]]


@pytest.fixture
def web(transactional_db: None, service: Service, tmp_path: Path) -> Iterator[Web]:
    changes = {"SENTRY_DSN": service.dsn, "SENTRY_ENVIRONMENT": "tests", "STATIC_ROOT": str(tmp_path)}
    pages_can_be_shown(tmp_path)
    running = Web(tmp_path / "web.log", **changes)
    running.start()
    running.ready()
    yield running
    running.kill()


def test_faults_of_web_processes(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    service: Service,
    web: Web,
    broken_audit: None,
) -> None:
    key = blobs.new_key(detector.pk)
    Blob.objects.create(key=key, registered_model=detector, kind=Blob.Kind.DATA)
    signed = blobs.presigned_url(key, "PUT")
    with httpx.Client(base_url=web.url, timeout=60) as bob:
        headers = {"Authorization": f"Bearer {cast.bob.token}", "X-Request-ID": "post-by-bob"}
        body = [request_of(f"{PLANTED}-id", standard={"data_source": f"{PLANTED}-source"})]
        path = f"{BASE}/models/detector/bulk-create"
        assert bob.post(path, json=body, headers=headers).status_code == 500
        headers = {"X-Request-ID": "upload-of-bob"}
        assert bob.put(signed, content=PLANTED.encode(), headers=headers).status_code == 500
        bob.get("/login/")
        bob.cookies.set("sessionid", f"{PLANTED}-cookie")
        form = {"username": "bob", "password": f"{PLANTED}-password"}
        form |= {"csrfmiddlewaretoken": bob.cookies["csrftoken"]}
        headers = {"X-Request-ID": "login-of-bob", "Referer": f"{web.url}/?{PLANTED}"}
        assert bob.post(f"/login/?x={PLANTED}", data=form, headers=headers).status_code == 500

    event = service.of("post-by-bob")
    assert event["tags"] == {"request_id": "post-by-bob", "door": "api"}
    assert event["transaction"] == "api/inference-store/v1/models/<id:model_id>/bulk-create"
    assert event["environment"] == "tests"
    assert types(event)[-1] == "IntegrityError"
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert any(frame["module"].startswith("inference_store.services") for frame in frames)
    assert service.of("upload-of-bob")["transaction"].startswith("api/inference-store/v1/blobs/")
    of_page = service.of("login-of-bob")
    assert (of_page["tags"]["door"], of_page["transaction"]) == ("page", "login/")
    assert f"{PLANTED}-id" in web.said()  # the log has the text
    nothing_told(service, cast, key, signed.partition("signature=")[2])


def nothing_told(service: Service, cast: Cast, *more: str) -> None:  # noqa: F811
    """Not what was planted, no token, and not who it was."""
    assert cast.bob.token is not None
    whole = b"".join(service.bodies).decode()
    hidden = (PLANTED, cast.bob.token, '"bob"', "Failing row", "127.0.0.1:", '"vars"', "sessionid=", *more)
    for secret in hidden:
        assert len(secret) > 4
        assert secret not in whole, secret
    for event in service.events():
        assert not {"request", "user", "extra", "breadcrumbs", "modules", "threads"} & set(event)


def test_faults_of_workers(cast: Cast, service: Service, tmp_path: Path) -> None:  # noqa: F811
    app.control.purge()
    worker = Worker(tmp_path / "worker.log", SENTRY_DSN=service.dsn)
    worker.start()
    try:
        worker.ready()
        with calling.serving(calling.Calling("asked-by-bob", "api", username="bob")):
            app.send_task("inference_store.run_export", [PLANTED, "more than it takes"])
        event = service.of("asked-by-bob")
    finally:
        worker.kill()
    assert event["tags"] == {"request_id": "asked-by-bob", "door": "job"}
    assert event["transaction"] == "inference_store.run_export"
    assert types(event)[-1] == "TypeError"
    nothing_told(service, cast)


@pytest.mark.django_db
def test_without_the_setting_nothing_is_imported() -> None:
    asked = (
        "import inference_store.wsgi, inference_store.celery, sys;"
        "print([each for each in sys.modules if each.split('.')[0] in ('sentry_sdk', 'mozilla_django_oidc')])"
    )
    told = subprocess.run(
        [sys.executable, "-c", asked], env=environment(), capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("dsn", "code"),
    [
        ("https://public@sentry.example.org/1", None),
        ("https://public@sentry.example.org/path/17", None),
        ("https://sentry.example.org/1", "E014"),
        ("https://public@sentry.example.org/", "E014"),
        ("public@sentry.example.org/1", "E014"),
    ],
)
def test_a_malformed_address_is_refused(settings: Any, dsn: str, code: str | None) -> None:
    settings.SENTRY_DSN = dsn
    found = [each.id for each in checks.safe_settings()]
    assert found == ([f"inference_store.{code}"] if code else [])
