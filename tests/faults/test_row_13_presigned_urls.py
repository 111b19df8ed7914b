"""Uploads and presigned URLs (faults 13 and 11)."""

import json
import time
from typing import Any

import pytest

from inference_store.models import Blob, RegisteredModel
from tests.cast import Cast, request_of

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def place(cast: Cast, kind: str = "data") -> tuple[str, str]:
    answer = cast.bob.post(f"models/detector/uploads/{kind}")
    assert answer.status_code == 201
    told = answer.json()
    return told[f"{kind}_storage_key"], told[f"{kind}_presigned_url"].removeprefix("http://testserver")


@pytest.fixture
def stored(cast: Cast, detector: RegisteredModel) -> str:
    """The URL to read an input that an inference has."""
    key, url = place(cast)
    assert cast.nobody.put(url, SVG, content_type="image/svg+xml").status_code == 204
    cast.bob.post("models/detector/inferences", request_of(data_storage_key=key))
    answer = cast.carol.get("models/detector/inferences/i-1?presign=true").json()
    return answer["presigned_url"].removeprefix("http://testserver")


def test_an_input_is_sent_as_an_attachment(cast: Cast, stored: str) -> None:
    answer = cast.nobody.get(stored)
    assert b"".join(answer.streaming_content) == SVG
    assert answer["Content-Disposition"] == "attachment"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["Content-Type"] == "application/octet-stream"
    assert "immutable" in answer["Cache-Control"]
    assert int(answer["Content-Length"]) == len(SVG)
    assert cast.nobody.get(stored, HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 304


def test_any_changed_byte_is_refused(cast: Cast, stored: str) -> None:
    start = stored.index("/blobs/") + len("/blobs/")
    for position in range(start, len(stored)):
        other = "1" if stored[position] != "1" else "2"
        changed = stored[:position] + other + stored[position + 1 :]
        assert cast.nobody.get(changed).status_code == 403, changed
    for changed in (stored + "&x=1", stored + "0", stored.replace("?", "?&"), stored.partition("?")[0]):
        assert cast.nobody.get(changed).status_code == 403, changed
    assert cast.nobody.get(stored.replace("expires", "%65xpires")).status_code == 403
    # What a server decodes before we see it, it keeps as it was sent, too.
    assert cast.nobody.get(stored, RAW_URI=stored).status_code == 200
    assert cast.nobody.get(stored, RAW_URI=stored.replace("blobs", "%62lobs")).status_code == 403


def test_a_url_is_for_one_method_and_its_time(
    cast: Cast, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cast.nobody.put(stored, b"x").status_code == 403
    _, url = place(cast)
    assert cast.nobody.get(url).status_code == 403
    assert cast.nobody.post(url, b"x").status_code == 405
    now = time.time()
    monkeypatch.setattr("inference_store.blobs.signing.time.time", lambda: now + 3600)
    assert cast.nobody.get(stored).status_code == 403
    assert cast.nobody.put(url, b"x").status_code == 403


def test_written_once(cast: Cast, detector: RegisteredModel) -> None:
    _, url = place(cast)
    assert cast.nobody.put(url, b"one").status_code == 204
    answer = cast.nobody.put(url, b"two")
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"


def test_above_the_maximum(cast: Cast, detector: RegisteredModel, settings: Any) -> None:
    settings.BLOB_MAXIMUM_BYTES = 100
    key, url = place(cast)
    assert cast.nobody.put(url, b"x" * 101).status_code == 413
    assert cast.nobody.put(url, b"x", CONTENT_LENGTH=str(10**12)).status_code == 413
    assert Blob.objects.get(key=key).uploaded_at is None
    assert cast.nobody.put(url, b"x" * 100).status_code == 204


@pytest.mark.parametrize(
    "path",
    [
        "blobs/../../etc/passwd?expires=9999999999&signature=" + "a" * 64,
        "blobs/%2e%2e/%2e%2e/x?expires=9999999999&signature=" + "a" * 64,
        "blobs//etc/passwd?expires=9999999999&signature=" + "a" * 64,
        "blobs/1/%00?expires=9999999999&signature=" + "a" * 64,
        "blobs/1/x",
    ],
)
def test_made_up_keys(cast: Cast, path: str) -> None:
    assert cast.nobody.get(path).status_code in (403, 404)
    assert cast.nobody.put(path, b"x").status_code in (403, 404)


def test_from_upload(cast: Cast, detector: RegisteredModel) -> None:
    key, url = place(cast, "metadata")
    assert cast.nobody.put(url, json.dumps(request_of()["data"]).encode()).status_code == 204
    body = {"inference_id": "up", "metadata_storage_key": key}
    first = cast.bob.post("models/detector/create-from-upload", body)
    assert first.status_code == 201
    assert first.json()["inference_id"] == "up"
    assert cast.bob.post("models/detector/create-from-upload", body).status_code == 200


def test_from_an_upload_that_is_no_inference(cast: Cast, detector: RegisteredModel) -> None:
    key, url = place(cast, "metadata")
    cast.nobody.put(url, b'{"metadata": {"standard_metadata": {"data_hash": "\\ud800"}}}')
    answer = cast.bob.post(
        "models/detector/create-from-upload", {"inference_id": "up", "metadata_storage_key": key}
    )
    assert answer.status_code == 400
    unknown = {"inference_id": "up", "metadata_storage_key": "../../etc/passwd"}
    assert cast.bob.post("models/detector/create-from-upload", unknown).status_code == 400
