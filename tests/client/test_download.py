"""Downloading an archive: the file is there and good, or not there."""

import resource
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from inference_store import client as istore
from inference_store.client import fetching
from tests.client.archives import write
from tests.client.scripted_store import Answer, Received, ScriptedStore, refused
from tests.client.test_calls import BASE, EXPORT

write(_file := BytesIO()).finish()
ARCHIVE = _file.getvalue()
URL = "/blobs/a.zip?expires=1&signature=x%2Fy"


def serving(*blobs: Answer, **task: Any) -> list[Callable[[Received], Answer]]:
    """A complete export, and these answers at its URL, the last one again and again."""
    left = list(blobs)

    def answer(request: Received) -> Answer:
        if request.path.startswith(BASE):
            return Answer(200, EXPORT | {"state": "complete", "presigned_url": URL} | task)
        return left.pop(0) if len(left) > 1 else left[0]

    return [answer]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive.zip"


def alone(target: Path, content: bytes | None) -> None:
    """Nothing is beside the target, which holds this or is not there."""
    assert list(target.parent.iterdir()) == ([target] if content is not None else [])
    assert content is None or target.read_bytes() == content


@pytest.mark.parametrize("as_text", [True, False])
def test_a_good_archive_is_there_afterwards(store: ScriptedStore, target: Path, as_text: bool) -> None:
    store.answers = serving(Answer(200, ARCHIVE))
    assert istore.download_export("m", "e", str(target) if as_text else target) == target
    alone(target, ARCHIVE)
    task, blob = store.received
    assert task.target == f"{BASE}/models/m/export-tasks/e"
    assert (blob.method, blob.target) == ("GET", URL)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask")
    )
    return int(line.split()[1], 8)


def test_no_token_is_sent_to_the_url(store: ScriptedStore, target: Path) -> None:
    elsewhere = ScriptedStore()
    try:
        elsewhere.answers = [Answer(200, ARCHIVE)]
        store.answers = serving(Answer(500), presigned_url=f"{elsewhere.url}/a.zip")
        istore.download_export("m", "e", target)
        (blob,) = elsewhere.received
        assert "authorization" not in blob.headers
        assert len(store.received) == 1
    finally:
        elsewhere.stop()
    store.answers = serving(Answer(200, ARCHIVE))
    istore.download_export("m", "e", target)
    assert "authorization" not in store.received[-1].headers


def test_a_file_of_that_name_is_replaced(store: ScriptedStore, target: Path) -> None:
    target.write_bytes(b"x" * 10_000)
    store.answers = serving(Answer(200, ARCHIVE))
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)


@pytest.mark.parametrize(
    "failure",
    [
        Answer(200, ARCHIVE, cut_at=700),
        Answer(200, ARCHIVE, cut_at=0),
        Answer(drop=True),
        refused(503, "busy"),
    ],
)
def test_a_broken_download_is_begun_again(
    store: ScriptedStore, target: Path, failure: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some of it has been written when it breaks.
    monkeypatch.setattr(fetching, "PIECE_BYTES", 100)
    store.answers = serving(failure, failure, Answer(200, ARCHIVE))
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)
    assert len(store.received) == 4


def test_one_that_always_breaks_leaves_nothing(store: ScriptedStore, target: Path) -> None:
    store.answers = serving(Answer(200, ARCHIVE, cut_at=700))
    with pytest.raises(istore.InferenceStoreError, match="gave no answer") as raised:
        istore.download_export("m", "e", target)
    assert raised.value.code == "unreachable"
    alone(target, None)


@pytest.mark.parametrize("content", [ARCHIVE[:-100], b"", b"<html>", ARCHIVE[:700] + b"?" + ARCHIVE[701:]])
def test_what_is_no_good_archive_gets_no_name(store: ScriptedStore, target: Path, content: bytes) -> None:
    target.write_bytes(b"an older one")
    store.answers = serving(Answer(200, content))
    with pytest.raises(istore.ArchiveError, match="what was downloaded is not good: "):
        istore.download_export("m", "e", target)
    alone(target, b"an older one")


def test_a_refused_url_is_told(store: ScriptedStore, target: Path) -> None:
    store.answers = serving(refused(403, "expired", "the URL has expired"))
    with pytest.raises(istore.InferenceStoreError, match="the URL has expired"):
        istore.download_export("m", "e", target)
    alone(target, None)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"state": "running"}, "The export is running and has no archive; wait_for_export"),
        (
            {"state": "failed", "finished_at": "2026-01-31T12:00:00Z"},
            r"The export is failed and has no archive\.",
        ),
        ({"state": "complete"}, "The export's archive has expired"),
    ],
)
def test_without_an_archive_the_state_is_told(
    store: ScriptedStore, target: Path, task: dict[str, Any], told: str
) -> None:
    store.answers = serving(Answer(500), presigned_url=None, **task)
    with pytest.raises(istore.InferenceStoreError, match=told) as raised:
        istore.download_export("m", "e", target)
    assert (raised.value.status, raised.value.code) == (409, "no_archive")
    alone(target, None)


def test_without_a_task_it_is_not_found(store: ScriptedStore, target: Path) -> None:
    store.answers = [refused(404, "not_found")]
    with pytest.raises(istore.InferenceStoreError, match="There is no such export task") as raised:
        istore.download_export("m", "e", target)
    assert raised.value.code == "not_found"


def test_where_no_file_can_be_nothing_is_asked_for(store: ScriptedStore, tmp_path: Path) -> None:
    store.answers = serving(Answer(200, ARCHIVE))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        istore.download_export("m", "e", tmp_path)
    assert store.received == []
    with pytest.raises(FileNotFoundError):
        istore.download_export("m", "e", tmp_path / "missing" / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_grow_no_more_is_told(store: ScriptedStore, target: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.answers = serving(Answer(200, ARCHIVE))
    # Python ignores the signal, so that writing fails as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            istore.download_export("m", "e", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    alone(target, None)


def test_what_was_exported_reads_back(store: ScriptedStore, target: Path) -> None:
    store.answers = serving(Answer(200, ARCHIVE))
    assert istore.verify_archive(istore.download_export("m", "e", target)).inference_count == 2
