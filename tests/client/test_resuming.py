"""A download that breaks off goes on where it was, and never puts two versions together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_store import client as istore
from inference_store.client import fetching
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import AuditRecord, Project
from inference_store.services import exporting, exports
from tests.cast import cast, detector  # noqa: F401
from tests.client.scripted_store import Answer, Received, ScriptedStore, refused
from tests.client.test_calls import BASE, EXPORT
from tests.client.test_download import ARCHIVE, alone
from tests.cutting import Cutting
from tests.jobs.stock import stock
from tests.making import make_model
from tests.workers import Web

URL, NEW_URL = "/blobs/a.zip?expires=1&signature=x", "/blobs/a.zip?expires=2&signature=y"
TAG = '"one"'


def whole(content: bytes = ARCHIVE, tag: str = TAG, **how: Any) -> Answer:
    return Answer(200, content, {"ETag": tag} if tag else {}, **how)


def part(first: int, tag: str = TAG, **how: Any) -> Answer:
    told = {"Content-Range": f"bytes {first}-{len(ARCHIVE) - 1}/{len(ARCHIVE)}", "ETag": tag}
    return Answer(206, ARCHIVE[first:], told, **how)


class Serving:
    """A complete export; at its URL these answers, one by one. Remembers the ranges that were asked for."""

    def __init__(self, store: ScriptedStore, *answers: Answer) -> None:
        self.left, self.asked, self.urls = list(answers), [], [URL, NEW_URL]  # type: ignore[var-annotated]
        store.answers = [self.answer]

    def answer(self, request: Received) -> Answer:
        if request.path.startswith(BASE):
            return Answer(200, EXPORT | {"state": "complete", "presigned_url": self.urls.pop(0)})
        self.asked.append((request.headers.get("range"), request.headers.get("if-range")))
        return self.left.pop(0)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PIECE_BYTES", 100)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive.zip"


def test_it_goes_on_where_it_broke(store: ScriptedStore, target: Path) -> None:
    serving = Serving(store, whole(cut_at=300), part(300, cut_at=200), part(500))
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)
    assert serving.asked == [(None, None), ("bytes=300-", TAG), ("bytes=500-", TAG)]


def test_for_as_long_as_more_of_it_comes(store: ScriptedStore, target: Path) -> None:
    parts = [part(first, cut_at=100) for first in range(100, len(ARCHIVE) - 100, 100)]
    assert len(parts) > 6  # more than are tried where nothing comes
    serving = Serving(store, whole(cut_at=100), *parts, part(100 * len(parts) + 100))
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)
    assert not serving.left


def test_what_never_goes_on_is_given_up(store: ScriptedStore, target: Path) -> None:
    Serving(store, whole(cut_at=300), *[part(300, cut_at=0)] * 20)
    with pytest.raises(istore.InferenceStoreError, match="gave no answer"):
        istore.download_export("m", "e", target)
    alone(target, None)


@pytest.mark.parametrize(
    "answers",
    [
        (whole(ARCHIVE[::-1], '"other"', cut_at=300), whole()),
        (whole(cut_at=300, tag=""), whole(tag="")),
        (whole(cut_at=300, tag='W/"one"'), whole()),
        (whole(cut_at=300), part(300, tag='"other"'), whole()),
        (whole(cut_at=300), part(200), whole()),
        (whole(cut_at=300), refused(416, "range_not_satisfiable"), whole()),
    ],
)
def test_another_version_is_begun_anew(
    store: ScriptedStore, target: Path, answers: tuple[Answer, ...]
) -> None:
    serving = Serving(store, *answers)
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)
    assert not serving.left


def test_a_url_that_is_past_its_time_is_renewed(store: ScriptedStore, target: Path) -> None:
    late = refused(403, "expired")
    serving = Serving(store, whole(cut_at=300), late, part(300, cut_at=100), late, part(400))
    serving.urls.append(NEW_URL)
    istore.download_export("m", "e", target)
    alone(target, ARCHIVE)
    assert {received.target for received in store.received} >= {URL, NEW_URL}
    serving = Serving(store, whole(cut_at=300), late, late)
    with pytest.raises(istore.InferenceStoreError) as raised:
        istore.download_export("m", "e", target.with_name("other.zip"))
    assert raised.value.status == 403


@pytest.fixture
def web(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[Web]:
    settings.BLOB_ROOT = tmp_path / "blobs"
    running = Web(tmp_path / "web.log")
    running.start()
    running.ready()
    yield running
    running.kill()


def test_over_connections_that_are_cut(
    web: Web,
    cast: Any,  # noqa: F811
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real ones, to a real server, ten times and more."""
    model = make_model("pictures", project=Project.objects.get(pk="birds"))
    stock(model, 60, size=20_000)
    request = NewExportTaskRequest()
    export = exports.create_export(model=model, user=cast.users["bob"], request=request)
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.size
    monkeypatch.setattr(fetching, "PIECE_BYTES", 10_000)
    with Cutting(web.url, after_bytes=export.size // 10) as cutting:
        istore.connect(base_url=cutting.url, token=cast.carol.token)
        istore.download_export("pictures", str(export.pk), target)
    assert check_archive(target).inference_count == 60
    assert cutting.cuts >= 9
    # Each attempt asked only for what was missing; what was on its way when the wire broke is lost.
    assert cutting.sent < export.size * 3
    reads = AuditRecord.objects.filter(action="export.download").count()
    assert reads >= 9
