"""Parts of blobs: what a download that broke off asks for."""

from typing import Any

import pytest

from inference_store.api.ranges import Part, UnsatisfiableError, part_of
from inference_store.models import AuditRecord, Blob, Export, RegisteredModel
from tests.cast import Cast, request_of
from tests.faults.test_row_13_presigned_urls import place

CONTENT = bytes(range(100))
WHOLE = [
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=5-4",
    "bytes=a-b",
    "lines=0-4",
    "bytes=0-4,6-7",
    "bytes=--5",
]


@pytest.fixture
def stored(cast: Cast, detector: RegisteredModel) -> str:
    """The URL to read an input at."""
    key, url = place(cast)
    cast.nobody.put(url, CONTENT)
    cast.bob.post("models/detector/inferences", request_of(data_storage_key=key))
    answer = cast.carol.get("models/detector/inferences/i-1?presign=true").json()
    return str(answer["presigned_url"]).removeprefix("http://testserver")


def content(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=90-", 90, 99),
        ("bytes=90-500", 90, 99),
        ("bytes=-7", 93, 99),
        ("bytes=-500", 0, 99),
        ("Bytes = 1-2", 1, 2),
    ],
)
def test_one_range(cast: Cast, stored: str, asked: str, first: int, last: int) -> None:
    answer = cast.nobody.get(stored, HTTP_RANGE=asked)
    assert answer.status_code == 206
    assert content(answer) == CONTENT[first : last + 1]
    assert answer["Content-Range"] == f"bytes {first}-{last}/100"
    assert answer["Content-Length"] == str(last + 1 - first)
    # It is as safe to look at as the whole.
    assert answer["Content-Disposition"] == "attachment"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("asked", WHOLE)
def test_what_is_no_range_gets_everything(cast: Cast, stored: str, asked: str) -> None:
    answer = cast.nobody.get(stored, HTTP_RANGE=asked)
    assert answer.status_code == 200
    assert content(answer) == CONTENT
    assert answer["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in answer


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_beyond_the_end(cast: Cast, stored: str, asked: str) -> None:
    answer = cast.nobody.get(stored, HTTP_RANGE=asked)
    assert answer.status_code == 416
    assert answer["Content-Range"] == "bytes */100"
    assert answer.json()["code"] == "range_not_satisfiable"


def test_of_the_version_that_was_begun(cast: Cast, stored: str) -> None:
    etag = cast.nobody.get(stored)["ETag"]
    assert cast.nobody.get(stored, HTTP_RANGE="bytes=5-", HTTP_IF_RANGE=etag).status_code == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        answer = cast.nobody.get(stored, HTTP_RANGE="bytes=500-", HTTP_IF_RANGE=other)
        assert (answer.status_code, content(answer)) == (200, CONTENT)
    assert cast.nobody.get(stored, HTTP_RANGE="bytes=5-", HTTP_IF_NONE_MATCH=etag).status_code == 304


def test_a_range_needs_its_signature_and_a_head_has_none(cast: Cast, stored: str) -> None:
    assert cast.nobody.get(stored[:-1], HTTP_RANGE="bytes=5-").status_code == 403
    head = cast.nobody("HEAD", stored, HTTP_RANGE="bytes=5-")
    assert (head.status_code, head["Content-Length"]) == (200, "100")


def test_each_part_of_an_archive_is_in_the_audit_log(
    cast: Cast, detector: RegisteredModel, stored: str
) -> None:
    Blob.objects.update(kind=Blob.Kind.ARCHIVE)
    told = {"registered_model": detector, "user": cast.users["bob"], "started_by": "bob"}
    export = Export.objects.create(
        archive_key=Blob.objects.get().key, request={}, state="complete", format="archive", **told
    )
    for asked, status in (("bytes=5-", 206), ("bytes=500-", 416)):
        assert cast.nobody.get(stored, HTTP_RANGE=asked).status_code == status
    read = AuditRecord.objects.get(action="export.download")  # one: what was refused is not read
    assert str(export.pk) in str(read.details)


def test_a_proxy_is_told_which_file_to_send(cast: Cast, stored: str, settings: Any) -> None:
    settings.BLOB_INTERNAL_LOCATION = "/internal-blobs/"
    answer = cast.nobody.get(stored, HTTP_RANGE="bytes=5-")
    key = Blob.objects.get().key
    model, name = key.split("/")
    assert answer["X-Accel-Redirect"] == f"/internal-blobs/{model}/{name[:2]}/{name}"
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Disposition"] == "attachment"
    assert cast.nobody.get(stored[:-1]).status_code == 403
    (settings.BLOB_ROOT / model / name[:2] / name).unlink()
    assert cast.nobody.get(stored).status_code == 404


def test_parts_agree_with_slices() -> None:
    whole = list(range(6))
    for first in range(8):
        for last in range(8):
            if first > last:
                assert part_of(f"bytes={first}-{last}", 6) is None
            elif first >= 6:
                with pytest.raises(UnsatisfiableError):
                    part_of(f"bytes={first}-{last}", 6)
            else:
                part = part_of(f"bytes={first}-{last}", 6)
                assert isinstance(part, Part)
                assert whole[part.first : part.first + part.length] == whole[first : last + 1]
    with pytest.raises(UnsatisfiableError):
        part_of("bytes=0-", 0)
