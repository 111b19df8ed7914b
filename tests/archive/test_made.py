"""Every format by the engine itself: from ingest to an archive that verifies and loads."""

import io
import json
import zipfile

import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.client.verification import verify_archive
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.services import exporting, exports
from tests.archive.driver import box
from tests.making import make_model, make_request, make_upload, make_user, store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("blob_root")]


def picture(number):
    file = io.BytesIO()
    Image.new("RGB", (64 + number, 48), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def made(tmp_path):
    """Exports two pictures, a text, and an inference without input; the open archive and its manifest."""
    model = make_model("harbour", task=TaskType.OBJECT_DETECTION, embedding_size=2)
    inputs = [picture(0), picture(1), b"no picture"]
    for number, content in enumerate(inputs):
        entries = [box("boat", 1, 2, 30, 40), box("quay", -3, 2, 30, 90)]
        key = make_upload(model, content)
        metadata = [("run", "int", str(number))]
        request = make_request(
            model, f"i-{number}", entries=entries, key=key, metadata=metadata, embedding=[1, 2]
        )
        store(model, request)
    store(model, make_request(model, "i-3", entries=[]))

    def export(format_):
        request = NewExportTaskRequest(format=format_)
        found = exports.create_export(model=model, user=make_user(), request=request)
        exporting.run(found.pk)
        found.refresh_from_db()
        assert found.state == "complete", found.error
        path = tmp_path / f"{format_}.zip"
        with blobs.open_blob(found.archive_key) as file:
            path.write_bytes(file.read())
        verify_archive(path)
        archive = zipfile.ZipFile(path)
        return archive, json.loads(archive.read("manifest.json"))

    return export


@pytest.mark.parametrize("format_", WRITERS)
def test_it_verifies_and_holds_the_inputs_it_should(format_, made):
    archive, manifest = made(format_)
    assert (manifest["format"], manifest["inference_count"]) == (format_, 4)
    names = [name for name in archive.namelist() if name.startswith(("data/", "images/"))]
    assert len(names) == {"archive": 3, "coco": 2, "yolo": 2}.get(format_, 0)
    for name in names:
        number = int(name.partition("/i-")[2][0])
        assert archive.read(name) == (picture(number) if number < 2 else b"no picture")


def test_coco_loads(made, tmp_path):
    archive, manifest = made("coco")
    archive.extractall(tmp_path / "coco")
    found = COCO(str(tmp_path / "coco/annotations.json"))
    assert [image["width"] for image in found.imgs.values()] == [64, 65]
    assert [category["name"] for category in found.cats.values()] == ["boat", "quay"]
    assert len(found.anns) == manifest["counts"]["annotations"] == 4
    assert manifest["counts"]["skipped_without_picture"] == 2
    for image in found.imgs.values():
        with Image.open(tmp_path / "coco/images" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])


def test_yolo_loads(made):
    archive, manifest = made("yolo")
    assert yaml.safe_load(archive.read("data.yaml"))["names"] == {0: "boat", 1: "quay"}
    lines = archive.read("labels/i-0.txt").decode().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    counts = {"images": 2, "boxes": 4, "clipped_boxes": 2, "skipped_without_picture": 2}
    assert manifest["counts"] == counts
