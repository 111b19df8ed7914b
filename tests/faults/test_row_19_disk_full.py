"""The disk of the blob store is full, for real: a small file system in memory (fault 19)."""

import os
import subprocess
from pathlib import Path

import pytest

from inference_store import blobs
from inference_store.client.verification import check_archive
from inference_store.models import Blob, Export, ExportBatch, Project
from inference_store.services import exporting
from tests.cast import cast  # noqa: F401
from tests.jobs.stock import stock
from tests.making import make_model
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MEBIBYTE = 2**20
DISK_BYTES = 16 * MEBIBYTE
COUNT, INPUT_BYTES, UPLOAD_BYTES = 200, 20_000, 3 * MEBIBYTE
ROUTE = "models/pictures/export-tasks"
ALL = {"include_inferences_as_annotations": True, "include_custom_metadata": True}


class Disk:
    """A mounted file system of a few megabytes."""

    def __init__(self, path: Path):
        self.path = path
        self.ballast = path / "ballast"

    def free(self):
        told = os.statvfs(self.path)
        return told.f_bavail * told.f_frsize

    def fill(self, leave):
        self.ballast.write_bytes(bytes(self.free() - leave))
        assert self.free() == leave

    def make_room(self):
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
        refused = mounted.stderr if mounted.returncode else ""
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        message = f"a disk can only be filled where one may be mounted: {refused}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def blob_root(settings, disk):
    """Instead of the one of all tests here."""
    settings.BLOB_ROOT = disk.path / "blobs"
    settings.BLOB_ROOT.mkdir()
    return settings.BLOB_ROOT


@pytest.fixture
def pictures(cast, blob_root):  # noqa: F811
    model = make_model("pictures", project=Project.objects.get(pk="birds"))
    stock(model, COUNT, size=INPUT_BYTES)
    return model


def begun(caller):
    answer = caller.post(ROUTE, ALL)
    assert answer.status_code == 201
    return Export.objects.get(pk=answer.json()["id"])


def assert_failed(caller, export, disk, free):
    """It says why, is not called complete, and the room it took is back."""
    told = caller.get(f"{ROUTE}/{export.pk}").json()
    assert told["state"] == "failed"
    assert told["error"] == "The disk of the blob store is full. Make room and start it again."
    assert told["presigned_url"] is None
    assert told["size"] is None
    assert told["finished_at"]
    assert blobs.drafts() == []
    assert not ExportBatch.objects.exists()
    assert not Blob.objects.filter(kind=Blob.Kind.ARCHIVE).exists()
    assert disk.free() == free


def assert_the_rest_works(caller, disk):
    """Reads go on, and so does what needs no room for blobs; what does is 507."""
    assert caller.post("models/pictures/count", {}).json() == {"count": COUNT}
    found = caller.get("models/pictures/inferences/i-0000007?presign=true").json()
    blob = caller.get(found["presigned_url"].removeprefix("http://testserver"))
    assert len(b"".join(blob.streaming_content)) == INPUT_BYTES
    upload = caller.post("models/pictures/uploads/data").json()
    url = upload["data_presigned_url"].removeprefix("http://testserver")
    free = disk.free()
    refused = caller.put(url, bytes(UPLOAD_BYTES))
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert disk.free() == free
    extra = {"key": "seen", "type": "int", "value": "1"}
    assert caller.post("models/pictures/inferences/i-0000007/metadata", extra).status_code == 200
    disk.make_room()
    assert caller.put(url, bytes(UPLOAD_BYTES)).status_code == 204


def assert_a_new_one_completes(caller):
    export = begun(caller)
    exporting.run(export.pk)
    told = caller.get(f"{ROUTE}/{export.pk}").json()
    assert (told["state"], told["progress_count"]) == ("complete", COUNT), told
    export.refresh_from_db()
    with blobs.open_blob(export.archive_key) as archive:
        assert check_archive(archive.name).inference_count == COUNT


@pytest.mark.parametrize("leave", [0, 4096, COUNT * INPUT_BYTES // 2 // 4096 * 4096])
def test_full_in_a_batch(cast, pictures, disk, leave):  # noqa: F811
    disk.fill(leave)
    export = begun(cast.bob)
    exporting.run(export.pk)
    assert_failed(cast.bob, export, disk, leave)
    assert_the_rest_works(cast.bob, disk)
    assert_a_new_one_completes(cast.bob)


def test_full_in_the_closing(cast, pictures, disk, monkeypatch):  # noqa: F811
    free = disk.free()

    class Filling(exporting.Making):
        def step(self, export):
            if export.progress_count == COUNT:
                disk.fill(8192)
            return super().step(export)

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "Making", Filling)
        export = begun(cast.bob)
        exporting.run(export.pk)
    export.refresh_from_db()
    assert export.progress_count == COUNT
    assert_failed(cast.bob, export, disk, free - disk.ballast.stat().st_blocks * 512)
    disk.make_room()
    disk.fill(8192)
    assert_the_rest_works(cast.bob, disk)
    assert_a_new_one_completes(cast.bob)


def test_full_under_a_real_worker(cast, pictures, disk, worker):  # noqa: F811
    disk.fill(40 * 4096)
    export = begun(cast.bob)

    def ended():
        export.refresh_from_db()
        return not export.is_active and blobs.drafts() == []

    wait_until(ended, "the export ends")
    wait_until(lambda: not ExportBatch.objects.exists(), "what it wrote is removed")
    assert_failed(cast.bob, export, disk, 40 * 4096)
    assert_the_rest_works(cast.bob, disk)
    export = begun(cast.bob)
    wait_until(lambda: ended() and export.state == "complete", "the export completes")
