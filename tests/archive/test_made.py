"""Every format by the engine itself: from ingest to an archive that verifies and loads."""

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.client.verification import verify_archive
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import RegisteredModel
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


# --- The documentation --------------------------------------------------------------------------------------
IDS = ["i-0", "i-1", "i-2", "i-3"]
DOCUMENT = (Path(__file__).parents[2] / "docs/exports.md").read_text()


@pytest.mark.parametrize("format_", WRITERS)
def test_the_documented_lines_read_it(format_, made, tmp_path, monkeypatch):
    archive, _ = made(format_)
    archive.extractall(tmp_path / "unpacked")
    monkeypatch.chdir(tmp_path / "unpacked")
    for section in ("manifest.json", format_):
        (lines,) = re.findall(rf"\n## {section}\n.*?```python\n(.*?)```", DOCUMENT, re.DOTALL)
        assert len(lines.splitlines()) == 3
        names = {}
        exec(lines, names)
    read = {
        "archive": lambda: [*names["inputs"]] == ["i-0", "i-1", "i-2"],
        "coco": lambda: names["boxes"] == [[1, 2, 29, 38], [-3, 2, 33, 88]],
        "yolo": lambda: [name for name, _ in names["labels"]] == ["boat", "quay"],
        "parquet": lambda: names["newest"]["inference_id"] == "i-3",
        "jsonl": lambda: [each.inference_id for each in names["inferences"]] == IDS,
        "csv": lambda: names["ids"] == IDS and names["frame"]["created_at"].dt.tz is not None,
    }
    assert read[format_]()


def in_form(form, orientation):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 0, 0)).save(file, form, exif=exif)
    return file.getvalue()


def test_pictures_that_are_shown_turned_are_counted(made):
    """They go in as they are: the labels are of their pixels."""
    model = RegisteredModel.objects.get()
    turned = {"jpeg": in_form("JPEG", 6), "tiff": in_form("TIFF", 3), "webp": in_form("WEBP", 8)}
    upright = {"one": in_form("JPEG", 1), "none": in_form("JPEG", None)}
    for name, content in (turned | upright).items():
        key = make_upload(model, content)
        store(model, make_request(model, name, entries=[box("boat", 1, 2, 30, 40)], key=key))
    for format_ in ("coco", "yolo"):
        archive, manifest = made(format_)
        assert manifest["counts"]["turned_pictures"] == 3
        assert archive.read("images/jpeg.jpg") == turned["jpeg"]
        assert archive.read("images/tiff.tif") == turned["tiff"]
    _, manifest = made("archive")
    assert "turned_pictures" not in manifest["counts"]


def test_every_count_is_documented():
    code = "".join(
        path.read_text() for path in (Path(__file__).parents[2] / "inference_store/archive").glob("*.py")
    )
    counts = set(re.findall(r'counters\["(\w+)"\]', code))
    assert len(counts) > 8
    assert {name for name in counts if f"`{name}`" not in DOCUMENT} == set()
