"""The blob store in another place answers 503 for a while, or not at all: a clear 503, and nothing half done.

What answers is Swift, with a door in front that can be told to say what a service says that is overrun.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from inference_store import blobs
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Blob, Export, Inference, RegisteredModel
from inference_store.models.job import hence
from inference_store.services import exporting, exports, readiness, sweeping
from tests.api.test_s3 import bucket, picture, stored  # noqa: F401
from tests.cast import Cast, request_of
from tests.faults.test_row_13_presigned_urls import place
from tests.making import make_user
from tests.workers import wait_until

BUSY = b"""HTTP/1.1 503 Slow Down\r
Content-Type: application/xml\r
Connection: close\r
Content-Length: %d\r
\r
%s"""
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
WAYS = ["busy", "silent"]


class Door:
    """Passes bytes on to the service; `way` says what it does instead: "busy" or "silent"."""

    def __init__(self, endpoint: str) -> None:
        where = urlsplit(endpoint)
        self.behind = (where.hostname or "", where.port or 80)
        self.way = ""
        self.refused = 0
        self.open: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self.way:
                self.refused += 1
                if self.way == "busy":
                    client.recv(65_536)
                    client.sendall(BUSY % (len(SLOW_DOWN), SLOW_DOWN))
                return
            with socket.create_connection(self.behind) as service:
                self.open += [client, service]
                back = threading.Thread(target=self._pass_on, args=(service, client), daemon=True)
                back.start()
                self._pass_on(client, service)
                back.join()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def be(self, way: str) -> None:
        """From now on; what is under way breaks off."""
        self.way = way
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self) -> None:
        self.be("")
        self.listener.close()


@pytest.fixture
def door(bucket: Any, settings: Any) -> Iterator[Door]:  # noqa: F811
    made = Door(settings.S3_ENDPOINT_URL)
    settings.S3_ENDPOINT_URL = made.endpoint
    yield made
    made.close()


def begun(model: RegisteredModel) -> Export:
    return exports.create_export(model=model, user=make_user(), request=NewExportTaskRequest())


def is_complete(export: Export) -> bool:
    """Once a worker has taken it up again."""
    Export.objects.filter(pk=export.pk).update(claimed_until=hence(-1))
    exporting.run(export.pk)
    export.refresh_from_db()
    return export.state == "complete"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", WAYS)
def test_away_and_back(cast: Cast, detector: RegisteredModel, door: Door, way: str) -> None:
    stored(cast, picture())
    key, url = place(cast)
    assert httpx.put(url, content=b"another").status_code == 200
    body = request_of("i-2", data_storage_key=key)
    export = begun(detector)
    door.be(way)

    refused = cast.bob.post("models/detector/inferences", body)
    assert (refused.status_code, refused.json()["code"]) == (503, "blob_store_unavailable")
    assert refused["Retry-After"]
    assert door.refused
    assert Inference.objects.count() == 1
    # What needs no bytes goes on.
    found = cast.carol.post("models/detector/search", {"presign": True})
    assert (found.status_code, len(found.json()["inferences"])) == (200, 1)
    assert cast.bob.post("models/detector/inferences", request_of("i-3")).status_code == 201
    # An operator sees it.
    readiness.kept.forget()
    assert cast.nobody.get("/readyz").json()["parts"]["blobs"] != "ok"
    # Nothing is called complete, and nothing is lost.
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.is_active
    assert export.state != "complete"
    assert cast.alice.delete("models/detector/inferences/i-3").status_code == 200

    door.be("")
    # It is asked again a moment later.
    wait_until(lambda: cast.bob.post("models/detector/inferences", body).status_code == 201, "it is taken in")
    wait_until(lambda: is_complete(export), "it goes on to its end")
    with blobs.open_blob(export.archive_key or "") as archive:
        assert archive.read(2) == b"PK"
    readiness.kept.forget()
    assert cast.nobody.get("/readyz").json()["parts"]["blobs"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_away_in_the_middle_of_an_export(
    cast: Cast, detector: RegisteredModel, door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for number in range(4):
        stored(cast, picture() + bytes([number]), f"i-{number}")
    monkeypatch.setattr(exporting, "BATCH", 1, raising=False)
    export = begun(detector)

    class Broken(exporting.Making):
        """Whose store goes away once something is written."""

        def step(self, job: Export) -> bool:
            more = super().step(job)
            door.be("busy")
            return more

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "Making", Broken)
        exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state != "complete"
    told = cast.carol.get(f"models/detector/export-tasks/{export.pk}").json()
    assert told["state"] != "complete"
    assert told.get("presigned_url") is None
    door.be("")
    wait_until(lambda: is_complete(export), "it goes on to its end")
    path = tmp_path / "export.zip"
    with blobs.open_blob(export.archive_key or "") as archive:
        path.write_bytes(archive.read())
    assert check_archive(path).inference_count == 4


def test_a_removal_waits(cast: Cast, detector: RegisteredModel, door: Door, bucket: Any) -> None:  # noqa: F811
    """Rows go, their bytes follow when the store is back."""
    key, _ = stored(cast, picture())
    door.be("busy")
    with suppress(blobs.UnavailableError):
        Blob.objects.update(doomed_at=hence(-1), inference_id=None)
        sweeping.sweep_blobs()
    assert Blob.objects.filter(key=key).exists()
    door.be("")

    def is_gone() -> bool:
        with suppress(blobs.UnavailableError):
            sweeping.sweep_blobs()
        return not Blob.objects.filter(key=key).exists()

    wait_until(is_gone, "the bytes follow")
    assert blobs.size(key) is None


def test_a_collection_that_was_cut_off_is_taken_up(cast: Cast, detector: RegisteredModel, door: Door) -> None:
    """Whoever moved the bytes was killed before its transaction ended: what was sent is not lost."""
    key, url = place(cast)
    assert httpx.put(url, content=picture()).status_code == 200
    assert blobs.collect(key, 10**6) is not None  # and then nothing more
    answer = cast.bob.post("models/detector/inferences", request_of(data_storage_key=key))
    assert answer.status_code == 201, answer.content
    row = Blob.objects.get(key=key)
    assert (row.size, row.media_type, row.width) == (len(picture()), "image/png", 40)
    other = request_of("i-2", data_storage_key=key)
    assert cast.bob.post("models/detector/inferences", other).status_code == 409
    nothing, _ = place(cast)
    refused = cast.bob.post("models/detector/inferences", request_of("i-3", data_storage_key=nothing))
    assert refused.status_code == 400
