"""Pages where blobs lie in a bucket: pictures come from the store, downloads from the bucket itself."""

import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from inference_store.blobs import bucket as buckets
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, User
from inference_store.services import exporting, exports
from tests.dashboard.conftest import box, picture_bytes, store_seen
from tests.making import make_model, make_project, make_user
from tests.swift import Swift

pytestmark = pytest.mark.browser


@pytest.fixture
def bucket(swift_service: Swift, settings: Any) -> None:
    for name, value in swift_service.settings().items():
        setattr(settings, name, value)
    settings.S3_ADDRESSING = "path"
    kept = buckets.bucket()
    if kept.name not in [each["Name"] for each in kept.client.list_buckets()["Buckets"]]:
        kept.client.create_bucket(Bucket=kept.name)


@pytest.fixture
def birds(bucket: None, transactional_db: None) -> None:
    """Instead of the one of all tests here: two inferences, with pictures in the bucket."""
    project = make_project("birds", viewer=make_user("carol"))
    model = make_model("detector", task=TaskType.OBJECT_DETECTION, project=project)
    for number in range(2):
        content = picture_bytes(320, 240, colour=(100 * number, 120, 90))
        store_seen(model, f"i-{number}", content=content, entries=[box("owl", 0.9)])
    export = exports.create_export(
        model=model, user=User.objects.get(username="carol"), request=NewExportTaskRequest()
    )
    exporting.run(export.pk)


def test_pictures_and_downloads(
    open_page: Any, complaints: list[str], swift_service: Swift, tmp_path: Path
) -> None:
    page = open_page()
    elsewhere: list[str] = []
    page.on("request", lambda asked: elsewhere.append(asked.url))
    page.goto("/models/detector/inferences/i-1/")
    expect(page.locator(".figure img")).to_have_js_property("naturalWidth", 320)
    assert complaints == []
    assert not [
        url for url in elsewhere if swift_service.endpoint in url
    ]  # the page itself loads nothing from there

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the original").click()
    waiting.value.save_as(tmp_path / "input")
    assert (tmp_path / "input").read_bytes() == picture_bytes(320, 240, colour=(100, 120, 90))
    assert waiting.value.url.startswith(swift_service.endpoint)

    page.goto("/models/detector/exports/")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").first.click()
    waiting.value.save_as(tmp_path / "archive.zip")
    assert waiting.value.url.startswith(swift_service.endpoint)
    assert waiting.value.suggested_filename.startswith("export-")
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert archive.testzip() is None
        assert len(json.loads(archive.read("manifest.json"))["members"]) == 3
    assert Export.objects.get().state == "complete"
    # What the browser went to beside the store were the two downloads; nothing was blocked or broke.
    netloc = urlsplit(swift_service.endpoint).netloc
    assert [each for each in complaints if urlsplit(each).netloc != netloc] == []
