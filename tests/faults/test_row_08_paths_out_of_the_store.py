"""Keys, ids and links that lead out of the store's root: nothing out there is read, written or removed."""

import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import NoReverseMatch

from inference_store import blobs
from inference_store.blobs import signing
from inference_store.contract.errors import Refusal
from inference_store.models import Blob, Export, Inference, RegisteredModel
from inference_store.services import deletion, exporting, sweeping
from tests.cast import Cast, request_of
from tests.faults.test_row_13_presigned_urls import place

ONE = "models/detector/inferences"
SECRET = b"what lies outside the store"
HEX = "0123456789abcdef" * 2
KEYS = [
    *("../secret", "../../secret", "1/../../secret", "%2e%2e/secret", "..%2fsecret"),
    "1/%2e%2e/%2e%2e/secret",
    *("/etc/passwd", "//etc/passwd", "file:///etc/passwd", "C:\\secret", "..\\secret", "~/secret"),
    *(f"1/{HEX}#", f"1/{HEX}?x=1", f"1/{HEX}/../../secret", f"1/{HEX}%00", f"/1/{HEX}", f"./1/{HEX}"),
    *(f"1//{HEX}", f"１/{HEX}", f"1/{HEX.upper()}", f"1/{HEX}.", "1/..", "..", ".", "", "incoming/x"),
    *(f"1/{HEX}\n", "drafts/x", "$HOME/secret"),
]


@pytest.fixture
def outside(blob_root: Path) -> Path:
    """A directory beside the root, with a file; whether anything there changed is asked of `untouched`."""
    blob_root.mkdir()
    beside = blob_root.parent / "outside"
    beside.mkdir()
    for path in (beside / "secret", blob_root.parent / "secret"):
        path.write_bytes(SECRET)
    return beside


def untouched(outside: Path) -> bool:
    found = {path for path in outside.parent.rglob("*") if path.is_file() and "blobs" not in path.parts}
    expected = {outside / "secret", outside.parent / "secret"}
    return found == expected and all(path.read_bytes() == SECRET for path in expected)


@pytest.mark.parametrize("key", KEYS)
def test_keys(cast: Cast, detector: RegisteredModel, outside: Path, key: str) -> None:
    for body in (request_of(data_storage_key=key), request_of(data_storage_key=key, is_protected=True)):
        assert cast.bob.post(ONE, body).status_code == 400
    body = {"inference_id": "i-1", "metadata_storage_key": key, "data_storage_key": key}
    assert cast.bob.post("models/detector/create-from-upload", body).status_code == 400
    # Even signed by ourselves.
    for method in ("GET", "PUT"):
        try:
            url = signing.presigned_url(key, method)
        except NoReverseMatch:  # there is not even an address
            continue
        for address in (url, url.replace(key, quote(key)), url.replace(key, quote(key, safe=""))):
            answer = cast.nobody(method, address, b"overwritten" if method == "PUT" else None)
            assert answer.status_code in (301, 400, 403, 404), (address, answer.status_code)
    for act in (blobs.open_blob, blobs.size, blobs.sha256, blobs.remove):
        with pytest.raises(Refusal):
            act(key)
    with blobs.receive([b"overwritten"], 100) as received, pytest.raises(Refusal):
        received.keep(key)
    assert untouched(outside)
    assert not Inference.objects.exists()


@pytest.mark.parametrize("name", ["../../x", "..%2f", "..", "/etc/passwd", "00000000", "", "x/../../outside"])
def test_names_of_drafts(outside: Path, name: str) -> None:
    for act in (lambda: blobs.open_draft(name, {}), lambda: blobs.discard_draft(name)):
        with pytest.raises(ValueError, match="UUID"):
            act()
    assert untouched(outside)


@pytest.mark.parametrize("inference_id", ["../../secret", "/etc/passwd", "..", ".", "a/../../secret"])
def test_ids_that_are_paths_are_refused(
    cast: Cast, detector: RegisteredModel, outside: Path, inference_id: str
) -> None:
    assert cast.bob.post(ONE, request_of(inference_id)).status_code == 400
    for address in (quote(inference_id, safe=""), inference_id.replace(".", "%2e")):
        assert cast.alice.get(f"{ONE}/{address}").status_code in (400, 404)
        assert cast.alice.delete(f"{ONE}/{address}").status_code in (400, 404, 405)
    assert untouched(outside)


LOOK_LIKE_PATHS = ["a#b", "a?b=1", "%2e%2e", "..%2f..%2fsecret", "...", "a\\..\\b", "~", "$HOME"]


@pytest.mark.parametrize("inference_id", LOOK_LIKE_PATHS)
def test_ids_that_look_like_paths_are_ids(
    cast: Cast, detector: RegisteredModel, outside: Path, inference_id: str
) -> None:
    key, url = place(cast)
    cast.nobody.put(url, b"an input")
    assert cast.bob.post(ONE, request_of(inference_id, data_storage_key=key)).status_code == 201
    address = quote(inference_id, safe="")
    assert cast.carol.get(f"{ONE}/{address}").json()["inference_id"] == inference_id
    browser = Client()
    browser.force_login(cast.users["carol"])
    assert browser.get(f"/models/detector/inferences/{address}/").status_code == 200
    assert cast.alice.delete(f"{ONE}/{address}").status_code == 200
    assert untouched(outside)


def exported(cast: Cast) -> Export:
    made = cast.carol.post("models/detector/export-tasks", {}).json()
    exporting.run(made["id"])
    return Export.objects.get(pk=made["id"])


# --- Symbolic links -----------------------------------------------------------------------------------------
@pytest.fixture
def stored(cast: Cast, detector: RegisteredModel, outside: Path) -> str:
    """The key of an input that an inference has."""
    key, url = place(cast)
    assert cast.nobody.put(url, b"an input").status_code == 204
    assert cast.bob.post(ONE, request_of(data_storage_key=key)).status_code == 201
    return key


def replace(path: Path, target: Path) -> None:
    """Put a link to the target where something lay."""
    path.rename(path.with_name(f"{path.name}-moved"))
    path.symlink_to(target)


def file_of(root: Path, key: str) -> Path:
    model, name = key.split("/")
    return root / model / name[:2] / name


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["file", "shard", "model"])
def test_a_link_in_the_place_of_an_input(
    cast: Cast, stored: str, blob_root: Path, outside: Path, where: str
) -> None:
    file = file_of(blob_root, stored)
    if where == "file":
        replace(file, outside / "secret")
    else:
        directory = file.parent if where == "shard" else file.parent.parent
        copy = outside / file.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(SECRET)
        replace(directory, outside)
    url = cast.carol.get(f"{ONE}/i-1?presign=true").json()["presigned_url"]
    assert cast.nobody.get(url.removeprefix("http://testserver")).status_code == 404
    browser = Client()
    browser.force_login(cast.users["carol"])
    for page in ("", "thumbnail", "excerpt", "entries/0/crop"):
        answer = browser.get(f"/models/detector/inferences/i-1/{page}")
        assert answer.status_code < 500
        assert SECRET not in answer.content
    export = exported(cast)
    if export.state == "complete":
        with blobs.open_blob(export.archive_key) as archive:
            assert SECRET not in archive.read()
    deletion.remove_blobs([stored])
    Blob.objects.update(doomed_at="2020-01-01T00:00:00Z", inference_id=None)
    sweeping.sweep_blobs()
    for path in outside.rglob("*"):
        assert path.is_dir() or path.read_bytes() == SECRET
    assert (outside / "secret").read_bytes() == SECRET
    if where != "file":
        assert copy.read_bytes() == SECRET


@pytest.mark.parametrize("where", ["incoming", "model"])
def test_a_link_in_the_place_of_what_is_written(
    cast: Cast, detector: RegisteredModel, blob_root: Path, outside: Path, where: str
) -> None:
    (blob_root / ("incoming" if where == "incoming" else str(detector.pk))).symlink_to(outside)
    key, url = place(cast)
    answer = cast.nobody.put(url, b"an input")
    assert (answer.status_code, answer.json()["code"]) == (503, "blob_store_unavailable")
    assert Blob.objects.get(key=key).uploaded_at is None
    old = outside / "old"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    sweeping.sweep_blobs()
    assert old.exists()
    old.unlink()
    assert untouched(outside)


@pytest.mark.parametrize("where", ["drafts", "draft", "stream"])
def test_a_link_in_the_place_of_a_draft(
    cast: Cast, stored: str, blob_root: Path, outside: Path, where: str
) -> None:
    made = cast.carol.post("models/detector/export-tasks", {}).json()
    drafts = blob_root / "drafts"
    if where == "drafts":
        drafts.symlink_to(outside)
    else:
        drafts.mkdir()
        if where == "draft":
            (drafts / made["id"]).symlink_to(outside)
        else:
            (drafts / made["id"]).mkdir()
            for stream in ("lock", "archive", "members"):
                (drafts / made["id"] / stream).symlink_to(outside / "secret")
    exporting.run(made["id"])
    assert Export.objects.get(pk=made["id"]).state != "complete"
    blobs.discard_draft(made["id"])
    assert untouched(outside)


def test_the_root_itself_may_be_a_link(
    cast: Cast, detector: RegisteredModel, settings: Any, tmp_path: Path
) -> None:
    """An operator's own choice of a disk."""
    real = tmp_path / "a disk"
    real.mkdir()
    settings.BLOB_ROOT = tmp_path / "link"
    settings.BLOB_ROOT.symlink_to(real)
    key, url = place(cast)
    assert cast.nobody.put(url, b"an input").status_code == 204
    with blobs.open_blob(key) as file:
        assert io.BytesIO(file.read()).getvalue() == b"an input"


def test_an_upload_that_goes_on_is_never_swept(outside: Path) -> None:
    """However old this machine's clock makes it."""

    def pieces() -> Any:
        yield b"one "
        for path in (outside.parent / "blobs" / "incoming").iterdir():
            os.utime(path, (0, 0))
        assert blobs.remove_stale_incoming(0) == 0
        yield b"two"

    with blobs.receive(pieces(), 100) as received:
        assert blobs.remove_stale_incoming(-86_400) == 0
        received.keep(f"1/{HEX}")
    with blobs.open_blob(f"1/{HEX}") as file:
        assert file.read() == b"one two"
    left = outside.parent / "blobs" / "incoming" / "left-behind"
    left.write_bytes(b"half of it")
    os.utime(left, (0, 0))
    assert blobs.remove_stale_incoming(3_600) == 1
