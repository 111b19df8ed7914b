"""Blobs in a bucket: Swift's S3 API, by plain HTTP as any client sends it (faults 8, 11, 13, 19 and 25)."""

import io
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image

from inference_store import blobs
from inference_store.blobs import bucket as buckets
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Blob, Export, Inference, RegisteredModel
from inference_store.models.job import hence
from inference_store.services import deletion, exporting, exports, sweeping
from inference_store.services.verification import verify_blobs
from tests.cast import Cast, request_of
from tests.faults.test_row_13_presigned_urls import place
from tests.making import make_user
from tests.swift import BUCKET, Swift


@pytest.fixture(autouse=True)
def bucket(swift_service: Swift, settings: Any) -> Any:
    for name, value in swift_service.settings().items():
        setattr(settings, name, value)
    settings.S3_ADDRESSING = "path"
    kept = buckets.bucket()
    with suppress(kept.client.exceptions.BucketAlreadyOwnedByYou):
        kept.client.create_bucket(Bucket=BUCKET)
    for found in list(kept.listed("")):
        kept.client.delete_object(Bucket=BUCKET, Key=found["Key"])
    return kept


def paths(bucket: Any) -> list[str]:
    return sorted(found["Key"].removeprefix(bucket.prefix) for found in bucket.listed(""))


def absolute(url: str) -> str:
    assert url.startswith("http://127.0.0.1:")
    return url


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(made, "PNG")
    return made.getvalue()


def stored(cast: Cast, content: bytes, inference_id: str = "i-1") -> tuple[str, str]:
    """An inference with that input: its key, and the URL that the input was put at."""
    key, url = place(cast)
    assert httpx.put(absolute(url), content=content).status_code == 200
    body = request_of(data_storage_key=key) | {"inference_id": inference_id}
    assert cast.bob.post("models/detector/inferences", body).status_code == 201
    return key, url


def read_url(cast: Cast, inference_id: str = "i-1") -> str:
    answer = cast.carol.get(f"models/detector/inferences/{inference_id}?presign=true")
    return absolute(answer.json()["presigned_url"])


def test_it_works(cast: Cast, detector: RegisteredModel, bucket: Any) -> None:
    key, _ = stored(cast, picture())
    answer = httpx.get(read_url(cast))
    assert answer.content == picture()
    # It is saved, never shown: a bucket can say neither nosniff nor sandbox.
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    row = Blob.objects.get(key=key)
    assert (row.media_type, row.width, row.height, row.size) == ("image/png", 40, 30, len(picture()))
    assert paths(bucket) == [key]
    assert blobs.size(key) == len(picture())


def test_what_is_kept_is_written_once(cast: Cast, detector: RegisteredModel, bucket: Any) -> None:
    key, url = stored(cast, b"first")
    httpx.put(url, content=b"second")
    with blobs.open_blob(key) as file:
        assert file.read() == b"first"
    other = request_of(data_storage_key=key) | {"inference_id": "i-2"}
    assert cast.bob.post("models/detector/inferences", other).status_code == 409
    with blobs.open_blob(key) as file:
        assert file.read() == b"first"
    assert blobs.remove_stale_incoming(-60) == 1
    assert paths(bucket) == [key]


def test_bytes_that_change_while_they_are_collected(
    cast: Cast, detector: RegisteredModel, bucket: Any
) -> None:
    key, url = place(cast)
    httpx.put(url, content=b"looked at")
    body = request_of(data_storage_key=key)

    def change(**told: Any) -> None:
        httpx.put(url, content=b"sent between the look and the copy")

    events = bucket.patient.meta.events
    events.register("before-call.s3.CopyObject", change)
    try:
        assert cast.bob.post("models/detector/inferences", body).status_code == 503
    finally:
        events.unregister("before-call.s3.CopyObject", change)
    assert cast.bob.post("models/detector/inferences", body).status_code == 201
    with blobs.open_blob(key) as file:
        assert len(file.read()) == Blob.objects.get(key=key).size == 34


def test_changed_urls_are_refused(cast: Cast, detector: RegisteredModel) -> None:
    stored(cast, b"the input")
    url = read_url(cast)
    start = url.index("/blobs/") + len("/blobs/")
    for position in (
        start,
        start + 5,
        url.index("X-Amz-Date=") + 12,
        url.index("Expires=") + 8,
        len(url) - 1,
    ):
        other = "1" if url[position] != "1" else "2"
        changed = url[:position] + other + url[position + 1 :]
        assert httpx.get(changed).status_code in (400, 403), changed
    assert httpx.put(url, content=b"x").status_code == 403
    assert httpx.get(url.partition("?")[0]).status_code in (400, 403)
    _, put = place(cast)
    assert httpx.get(put).status_code == 403
    other_key, _ = place(cast)
    assert (
        httpx.put(
            f"{put[: put.index('/incoming/')]}/incoming/{other_key}?{put.partition('?')[2]}"
        ).status_code
        == 403
    )


def test_a_url_has_its_time(cast: Cast, detector: RegisteredModel) -> None:
    key, _ = stored(cast, b"the input")
    url = blobs.presigned_url(key, "GET", 60)
    assert httpx.get(url).status_code == 200
    then = datetime.now(UTC) - timedelta(hours=1)
    stamp = url.index("X-Amz-Date=") + 11
    signed = {"url": url[:stamp] + then.strftime("%Y%m%dT%H%M%SZ") + url[stamp + 16 :]}
    assert httpx.get(signed["url"]).status_code == 403


def test_above_the_maximum(cast: Cast, detector: RegisteredModel, settings: Any, bucket: Any) -> None:
    settings.BLOB_MAXIMUM_BYTES = 100
    key, url = place(cast)
    httpx.put(url, content=b"x" * 101)
    answer = cast.bob.post("models/detector/inferences", request_of(data_storage_key=key))
    assert answer.status_code == 413
    assert paths(bucket) == []
    assert not Inference.objects.exists()
    httpx.put(url, content=b"x" * 100)
    assert cast.bob.post("models/detector/inferences", request_of(data_storage_key=key)).status_code == 201


def test_a_key_that_nothing_was_sent_for(cast: Cast, detector: RegisteredModel) -> None:
    key, _ = place(cast)
    assert cast.bob.post("models/detector/inferences", request_of(data_storage_key=key)).status_code == 400
    for made_up in ("../../etc/passwd", "1/" + "a" * 32):
        body = request_of(data_storage_key=made_up)
        assert cast.bob.post("models/detector/inferences", body).status_code == 400


def test_bytes_go_with_their_inference(cast: Cast, detector: RegisteredModel, bucket: Any) -> None:
    key, _ = stored(cast, b"the input")
    with pytest.raises(Refusal):
        blobs.open_blob("1/" + "a" * 32)
    assert [found.what for found in verify_blobs()] == [
        "has the SHA-256 " + blobs.sha256(key) + ", not " + "a" * 64
    ]
    deletion.remove_blobs([key])
    assert paths(bucket) == []
    place(cast)
    Blob.objects.update(created_at=hence(-30 * 86400))
    assert sweeping.sweep_blobs() == 1


def test_large_bytes_are_read_anywhere(detector: RegisteredModel) -> None:
    content = bytes(range(256)) * 8_000
    key = blobs.new_key(detector.pk)
    with blobs.receive([content], len(content)) as received:
        received.keep(key)
    with blobs.open_blob(key) as file:
        file.seek(1_000_000)
        assert file.read(10) == content[1_000_000:1_000_010]
        assert file.seek(0, 2) == len(content)
        file.seek(0)
        assert file.read() == content


def begun(detector: RegisteredModel) -> Export:
    return exports.create_export(
        model=detector, user=make_user(), request=NewExportTaskRequest(format="coco")
    )


@pytest.mark.django_db(transaction=True)
def test_an_export_goes_on_anywhere(cast: Cast, detector: RegisteredModel, bucket: Any) -> None:
    for number in range(3):
        stored(cast, f"input {number}".encode(), f"i-{number}")
    quiet = begun(detector)
    exporting.run(quiet.pk)
    quiet.refresh_from_db()
    assert quiet.state == "complete", quiet.error
    # Each step by a worker that keeps nothing of its own.
    moved, done = begun(detector), False
    while not done:
        making = exporting.Making()
        Export.objects.filter(pk=moved.pk).update(claimed_until=hence(-1))
        job = exporting.jobs.claim(Export, moved.pk)
        assert job is not None
        done = not making.step(job)
        making.close()
    moved.refresh_from_db()
    assert blobs.sha256(moved.archive_key or "") == blobs.sha256(quiet.archive_key or "")
    told = exports.told(moved)
    url = blobs.presigned_url(told.archive_key or "", "GET", 60, blobs.archive_name(told.archive_key or ""))
    answer = httpx.get(url)
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert answer.headers["Content-Disposition"].endswith('.zip"')


def test_drafts_keep_what_was_committed(bucket: Any) -> None:
    name = "00000000-0000-0000-0000-000000000001"
    draft = blobs.open_draft(name, {})
    draft.append("archive", b"one ")
    first = draft.commit()
    draft.append("archive", b"lost")
    draft.commit()  # by a worker whose claim was lost: no row names it
    again = blobs.open_draft(name, first)
    again.append("archive", b"two")
    assert b"".join(again.pieces("archive")) == b"one two"
    assert again.size("archive") == 7
    key = blobs.new_key(1)
    again.keep("archive", key)
    with blobs.open_blob(key) as file:
        assert file.read() == b"one two"
    assert blobs.drafts() == [name]
    blobs.discard_draft(name)
    assert paths(bucket) == [key]
    with pytest.raises(blobs.DraftLostError):
        blobs.open_draft(name, first)
