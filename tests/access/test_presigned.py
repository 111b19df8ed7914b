"""Presigned URLs, of a directory and of a bucket: who is given one, and that it is good for nothing else.

A URL is all the permission that it takes; so what counts is the URL, not who comes with it.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client

from inference_store import blobs
from inference_store.blobs import bucket as buckets
from inference_store.models import Blob, Export, RegisteredModel
from inference_store.services import deletion, uploads
from tests.cast import BASE, Cast, cast, detector, request_of  # noqa: F401  (fixtures)
from tests.swift import Swift

INPUT, ARCHIVE = b"the input", b"the archive"
CALLERS = ("nobody", "mallory", "carol", "bob", "alice")
READERS = ("carol", "bob", "alice")


class Signed:
    """A store of blobs, an input and an archive in it, and how a URL of them is asked."""

    def __init__(self, cast: Cast, is_bucket: bool) -> None:  # noqa: F811
        self.cast, self.is_bucket = cast, is_bucket
        self.callers = ("nobody",) if is_bucket else CALLERS

    def ask(
        self, url: str, method: str = "GET", who: str = "nobody", content: bytes = b""
    ) -> tuple[int, bytes]:
        if self.is_bucket:  # it knows none of us: there is nobody but the URL
            answer = httpx.request(method, url, content=content)
            return answer.status_code, answer.content
        caller = getattr(self.cast, who)
        extra = {"HTTP_AUTHORIZATION": f"Bearer {caller.token}"} if caller.token else {}
        path = url.removeprefix("http://testserver")
        local = Client().generic(method, path, content, content_type="application/octet-stream", **extra)
        return local.status_code, local.getvalue()


@pytest.fixture(params=["directory", "bucket"])
def signed(
    request: pytest.FixtureRequest,
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    settings: Any,
    tmp_path: Path,
) -> Signed:
    settings.BLOB_ROOT = tmp_path / "blobs"
    if request.param == "bucket":
        swift: Swift = request.getfixturevalue("swift_service")
        for name, value in swift.settings().items():
            setattr(settings, name, value)
        settings.S3_ADDRESSING = "path"
        kept = buckets.bucket()
        if kept.name not in [each["Name"] for each in kept.client.list_buckets()["Buckets"]]:
            kept.client.create_bucket(Bucket=kept.name)
    store = Signed(cast, request.param == "bucket")
    place = cast.bob.post("models/detector/uploads/data").json()
    assert store.ask(place["data_presigned_url"], "PUT", content=INPUT)[0] in (200, 204)
    body = request_of(data_storage_key=place["data_storage_key"])
    assert cast.bob.post("models/detector/inferences", body).status_code == 201
    key = uploads.new_upload(model=detector, kind=Blob.Kind.ARCHIVE)
    uploads.receive(key=key, chunks=[ARCHIVE])
    Export.objects.create(
        registered_model=detector,
        user=cast.users["bob"],
        started_by="bob",
        state="complete",
        format="archive",
        request={},
        archive_key=key,
        size=len(ARCHIVE),
        finished_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    return store


def told(signed: Signed, who: str) -> dict[str, str]:
    """The URLs that somebody is given, of the input and of the archive."""
    caller = getattr(signed.cast, who)
    found = caller.get("models/detector/inferences/i-1?presign=true")
    export = caller.get(f"models/detector/export-tasks/{Export.objects.get().pk}")
    expected = {"nobody": 401, "mallory": 404}.get(who, 200)
    assert (found.status_code, export.status_code) == (expected, expected)
    if expected != 200:
        return {}
    return {"input": found.json()["presigned_url"], "archive": export.json()["presigned_url"]}


def test_who_is_given_one(signed: Signed) -> None:
    for who in CALLERS:
        assert set(told(signed, who)) == ({"input", "archive"} if who in READERS else set())
    for who in ("nobody", "mallory", "carol"):
        answer = getattr(signed.cast, who)("POST", f"{BASE}/models/detector/uploads/data")
        assert answer.status_code == {"nobody": 401, "mallory": 404, "carol": 403}[who]


def test_a_url_is_good_for_its_bytes_and_method_alone(signed: Signed) -> None:
    """Whoever comes with it: those who may see the project no more than anybody else."""
    urls = told(signed, "carol")
    other = told(signed, "bob")
    for who in signed.callers:
        assert signed.ask(urls["input"], who=who) == (200, INPUT)
        assert signed.ask(urls["archive"], who=who) == (200, ARCHIVE)
        for name, of_another in (("input", "archive"), ("archive", "input")):
            path, query = urls[name].partition("?")[0], other[of_another].partition("?")[2]
            assert signed.ask(f"{path}?{query}", who=who)[0] == 403
            assert signed.ask(path, who=who)[0] in (400, 403)
            for method in ("PUT", "DELETE", "POST"):
                status, _ = signed.ask(urls[name], method, who, b"other bytes")
                assert status in (400, 403, 405, 501), (name, method, who)
    assert signed.ask(urls["input"]) == (200, INPUT)
    assert signed.ask(urls["archive"]) == (200, ARCHIVE)


def test_a_url_for_sending_reads_nothing(signed: Signed) -> None:
    place = signed.cast.bob.post("models/detector/uploads/data").json()
    for who in signed.callers:
        assert signed.ask(place["data_presigned_url"], who=who)[0] == 403
    path = place["data_presigned_url"].partition("?")[0]
    for url in told(signed, "bob").values():
        assert signed.ask(f"{path}?{url.partition('?')[2]}", "PUT", content=b"x")[0] == 403


def test_it_ends(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Blob.objects.get(kind=kind).key for kind in (Blob.Kind.DATA, Blob.Kind.ARCHIVE)]
    if signed.is_bucket:
        urls = [blobs.presigned_url(key, "GET", 1) for key in keys]
        end = time.monotonic() + 10
        while {signed.ask(url)[0] for url in urls} != {403}:
            assert time.monotonic() < end
    else:
        urls = [blobs.presigned_url(key, "GET", -1) for key in keys]
        assert {signed.ask(url)[0] for url in urls} == {403}
    # Not by saying that it lives longer.
    longer = [
        url.replace("X-Amz-Expires=1&", "X-Amz-Expires=900&").replace("expires=1", "expires=2")
        for url in urls
    ]
    assert longer != urls
    assert {signed.ask(url)[0] for url in longer} == {403}


def test_after_deletion_there_is_nothing(signed: Signed) -> None:
    urls = told(signed, "carol")
    assert signed.cast.bob.delete("models/detector/inferences/i-1").status_code == 200
    deletion.remove_blobs(list(Blob.objects.values_list("key", flat=True)))
    for who in signed.callers:
        for url in urls.values():
            assert signed.ask(url, who=who)[0] == 404
