"""The bucket's service answers 503, or takes connections and says nothing (fault 19)."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_store.models import Blob, RegisteredModel
from inference_store.services import uploads
from tests.cast import BASE, Cast, request_of
from tests.workers import Web, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUT_SECONDS = 1.0
BOUND_SECONDS = 12.0
"""Two tries of a second, with what a busy machine adds; without the bound it would never end."""
THREADS = 4  # of the server
CALLERS = 32


@pytest.fixture
def hanging() -> Iterator[str]:
    """The system takes the connections; nobody reads them."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Busy(BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.send_response(503, "Slow Down")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def run(tmp_path: Path, settings: Any) -> Iterator[Callable[[str], Web]]:
    running: list[Web] = []

    def started(endpoint: str) -> Web:
        told = {
            "BLOB_STORE": "s3://kept/blobs",
            "S3_ENDPOINT_URL": endpoint,
            "S3_ADDRESSING": "path",
            "S3_ACCESS_KEY_ID": "id",
            "S3_SECRET_ACCESS_KEY": "secret",
        }
        for name, value in told.items():
            setattr(settings, name, value)  # keys are handed out here, too
        web = Web(tmp_path / "web.log", S3_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS), **told)
        running.append(web)
        web.start()
        web.ready()
        return web

    yield started
    for web in running:
        web.kill()


class Asking:
    """Requests at once, each with its status, code and seconds."""

    def __init__(self, web: Web, cast: Cast) -> None:
        headers = {"Authorization": f"Bearer {cast.bob.token}"}
        limits = httpx.Limits(max_connections=None)
        self.client = httpx.Client(base_url=web.url + BASE, headers=headers, timeout=60, limits=limits)
        self.told: list[tuple[int, str, float]] = []
        self.threads: list[threading.Thread] = []

    def name(self, key: str, inference_id: str) -> None:
        body = request_of(inference_id, data_storage_key=key)
        began = time.monotonic()
        answer = self.client.post("/models/detector/inferences", json=body)
        code = "" if answer.is_success else answer.json()["code"]
        self.told.append((answer.status_code, code, time.monotonic() - began))

    def name_all(self, keys: list[str]) -> None:
        for number, key in enumerate(keys):
            self.threads.append(threading.Thread(target=self.name, args=(key, f"late-{number}")))
            self.threads[-1].start()

    def read(self) -> float:
        began = time.monotonic()
        for path in ("/models/detector/inferences", "/models/detector/inferences/i-1?presign=true"):
            assert self.client.get(path).status_code == 200
        return time.monotonic() - began

    def done(self) -> list[tuple[int, str, float]]:
        for each in self.threads:
            each.join()
        self.threads.clear()
        return self.told


@pytest.mark.parametrize("kind", ["hanging", "busy"])
def test_bytes_are_503_in_time_and_the_rest_goes_on(
    kind: str,
    cast: Cast,
    detector: RegisteredModel,
    run: Callable[[str], Web],
    request: pytest.FixtureRequest,
) -> None:
    web = run(request.getfixturevalue(kind))
    keys = [uploads.new_upload(model=detector, kind=Blob.Kind.DATA) for _ in range(CALLERS)]
    asking = Asking(web, cast)
    assert asking.client.post("/models/detector/inferences", json=request_of()).status_code == 201
    asking.name_all(keys)
    wait_until(lambda: len(asking.told) >= THREADS, "those that hung are answered", BOUND_SECONDS * 2)
    longest = max(asking.read() for _ in range(10))
    assert longest < BOUND_SECONDS
    told = asking.done()
    assert [(status, code) for status, code, _ in told] == [(503, "blob_store_unavailable")] * CALLERS
    # Not one after the other: once nobody answered, the others are told so at once.
    assert max(seconds for _, _, seconds in told) < BOUND_SECONDS
    if kind == "hanging":
        began = time.monotonic()
        asking.name(keys[0], "again")
        assert time.monotonic() - began < BOUND_SECONDS
    assert asking.client.get("/models/detector/inferences/i-1").status_code == 200
