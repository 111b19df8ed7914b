"""Clients that write and read all the while, with and without pictures, whatever is killed meanwhile."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
from PIL import Image

from inference_store.client import InferenceStoreError, export_task, inference, models, upload
from inference_store.client.errors import TaskNotCompleteError
from inference_store.client.verification import check_archive
from tests.cast import HASH

MODEL = "watched"
UNAVAILABLE = {0, 503}
PAUSE_SECONDS = 0.2
PICTURE_EVERY, READ_EVERY = 8, 4
EXPORT_SECONDS = 600.0
T = TypeVar("T")


def request_of(inference_id: str, source: str, key: str | None = None) -> models.NewInferenceStorageRequest:
    standard = {
        "data_hash": HASH,
        "data_size": 1,
        "data_source": source,
        "task_type": models.TaskType.OBJECT_DETECTION,
        "inference_action": models.InferenceAction.DETECT,
    }
    return models.NewInferenceStorageRequest(
        model_id=MODEL,
        inference_id=inference_id,
        data={
            "object_detection": [{"label": "ship", "score": 0.5}],
            "metadata": {"standard_metadata": standard},
        },
        data_storage_key=key,
    )


def picture_of(inference_id: str) -> bytes:
    """A picture that no other inference has."""
    made = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 80, 30)).save(made, "PNG")
    return made.getvalue() + inference_id.encode()


class Client(threading.Thread):
    """Does one thing after the other, each until it is done, as a service that must lose nothing."""

    def __init__(self, number: int, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.done = number, done
        self.source = f"camera-{number}"
        self.refused: Counter[int] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self.turn()
        except BaseException as error:  # told by the test
            self.error = error
            raise

    def turn(self) -> None:
        raise NotImplementedError

    def until_done(self, act: Callable[[], T]) -> T:
        """Do it, again where the store or what it stands on is away; nothing else is put up with."""
        while True:
            try:
                return act()
            except InferenceStoreError as error:
                if error.status not in UNAVAILABLE:
                    raise
                self.refused[error.status] += 1
            except httpx.TransportError:
                self.refused[0] += 1
            time.sleep(PAUSE_SECONDS)


class Writer(Client):
    """Stores inferences, some with a picture, and reads back what it has stored."""

    def __init__(self, number: int, done: threading.Event) -> None:
        super().__init__(number, done)
        self.acknowledged: list[str] = []
        self.pictures: list[str] = []
        self.turns = 0

    def turn(self) -> None:
        self.turns += 1
        inference_id = f"{self.number}-{self.turns}"
        key = None
        if self.turns % PICTURE_EVERY == 0:
            key = self.until_done(lambda: self.sent(picture_of(inference_id)))
        body = request_of(inference_id, self.source, key)
        self.until_done(lambda: inference.create_inference(MODEL, body))
        self.acknowledged.append(inference_id)
        if key:
            self.pictures.append(inference_id)
        if self.turns % READ_EVERY == 0:
            self.until_done(lambda: read_back(inference_id, bool(key)))

    def sent(self, content: bytes) -> str:
        """The key of these bytes, which are in the blob store."""
        target = upload.upload_data(MODEL)
        assert target is not None
        upload.put(target.data_presigned_url, content)
        return target.data_storage_key


def read_back(inference_id: str, with_picture: bool) -> None:
    """What was acknowledged is there, and its picture byte by byte."""
    found = inference.get_inference(MODEL, inference_id, presign=with_picture)
    assert found is not None, f"{inference_id} was acknowledged and is gone"
    if not with_picture:
        return
    assert found.presigned_url, inference_id
    answer = httpx.get(found.presigned_url, timeout=30)
    if answer.status_code in UNAVAILABLE:
        raise InferenceStoreError(answer.status_code, "the blob store is away")
    assert answer.content == picture_of(inference_id), (inference_id, answer.status_code)


class Exporter(Client):
    """Exports what one of the writers has stored, pictures and all, and verifies each archive."""

    def __init__(self, of: Writer, done: threading.Event, folder: Path) -> None:
        super().__init__(of.number, done)
        self.of, self.folder = of, folder
        self.complete = self.failed = 0

    def turn(self) -> None:
        self.export()

    def export(self) -> None:
        before = len(self.of.acknowledged)
        asked = models.NewExportTaskRequest(filters={"data_source_filter": self.source})
        made = self.until_done(lambda: export_task.create_export_task(MODEL, asked))
        assert made is not None
        task_id = made.id
        path = self.folder / "export.zip"
        try:
            self.until_done(
                lambda: export_task.wait_for_export(MODEL, task_id, timeout=EXPORT_SECONDS, progress=False)
            )
        except TaskNotCompleteError:  # it says so, and gives no archive
            self.failed += 1
            return
        self.until_done(lambda: export_task.download_export(MODEL, task_id, path))
        checked = check_archive(path)
        # One more may be on its way while its writer waits for the answer.
        assert before <= checked.inference_count <= len(self.of.acknowledged) + 1
        self.complete += 1
