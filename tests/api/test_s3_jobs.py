"""Jobs on a bucket: archives of several parts, downloads that go on, retention."""

from pathlib import Path
from typing import Any

import pytest

import inference_store.client as istore
from inference_store import blobs
from inference_store.client import fetching
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Blob, RegisteredModel
from inference_store.services import exporting, exports
from tests.api.test_s3 import bucket, paths  # noqa: F401  (a fixture)
from tests.cast import Cast
from tests.cutting import Cutting
from tests.making import make_request, make_upload, store
from tests.services.retaining import Item, carried_out, due, lay, make_policy, make_task
from tests.workers import Web

MEBIBYTE = 2**20

pytestmark = pytest.mark.django_db(transaction=True)


def exported(cast: Cast, model: RegisteredModel, count: int, size: int) -> Any:
    for number in range(count):
        content = bytes([number]) * size
        store(model, make_request(model, f"i-{number}", entries=[], key=make_upload(model, content)))
    export = exports.create_export(model=model, user=cast.users["bob"], request=NewExportTaskRequest())
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "complete", export.error
    return export


def test_an_archive_of_several_parts(
    cast: Cast,
    detector: RegisteredModel,
    bucket: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    parts = []
    events = bucket.patient.meta.events
    events.register("before-call.s3.UploadPart", lambda **told: parts.append(told["params"]["url_path"]))
    try:
        export = exported(cast, detector, 3, 7 * MEBIBYTE)
    finally:
        events.unregister("before-call.s3.UploadPart")
    assert export.size > 21 * MEBIBYTE
    assert len(parts) >= 3
    assert blobs.size(export.archive_key) == export.size
    (tmp_path / "a.zip").write_bytes(blobs.open_blob(export.archive_key).read())
    assert check_archive(tmp_path / "a.zip").inference_count == 3
    # Nothing of the making is left.
    assert not [path for path in paths(bucket) if path.startswith(("drafts/", "incoming/"))]


def test_a_download_past_the_store_goes_on(
    cast: Cast,
    detector: RegisteredModel,
    bucket: Any,  # noqa: F811
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    swift_service: Any,
) -> None:
    """From the bucket itself, by its own ranges, over a wire that breaks."""
    export = exported(cast, detector, 4, 100_000)
    monkeypatch.setattr(fetching, "PIECE_BYTES", 10_000)
    with Cutting(swift_service.endpoint, after_bytes=90_000) as cutting:
        told = swift_service.settings() | {"S3_PUBLIC_ENDPOINT_URL": cutting.url, "S3_ADDRESSING": "path"}
        web = Web(tmp_path / "web.log", **told)
        web.start()
        try:
            web.ready()
            istore.connect(base_url=web.url, token=cast.carol.token)
            istore.download_export("detector", str(export.pk), tmp_path / "a.zip")
        finally:
            istore.disconnect()
            web.kill()
    assert check_archive(tmp_path / "a.zip").inference_count == 4
    assert cutting.cuts >= 4  # begun anew each time, it would never end


def test_retention_takes_bytes_from_the_bucket(
    detector: RegisteredModel,
    bucket: Any,  # noqa: F811
) -> None:
    hours = [1, 3, 5, 7, 30, 50]
    items = lay(detector, [Item(age=age, data=100, protected=age == 50) for age in hours])
    taken = due(items, 24, 4)
    assert {reason for _, reason in taken} == {"record", "blob"}
    before = set(paths(bucket))
    task = carried_out(make_task(make_policy(detector, record=24, blob=4)))
    assert task.state == "complete"
    assert (task.deleted_record_count, task.deleted_blob_count) == (1, 3)
    left = set(paths(bucket))
    assert len(before) == 6
    assert left == set(Blob.objects.values_list("key", flat=True))
    assert len(left) == 3
