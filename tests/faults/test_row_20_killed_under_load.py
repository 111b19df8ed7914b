"""Databases and workers are killed while clients write and read: nothing that was acknowledged is lost."""

import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import inference_store.client as istore
from inference_store.client import InferenceStoreError, inference, models, register
from inference_store.client.connection import disconnect
from tests.cast import HASH
from tests.embedded.running import Up
from tests.servers import HOME

MODEL = "watched"
VICTIMS = {"PostgreSQL": r"/postgres -D", "Redis": r"redis-server", "worker": r"celery .* worker"}
RECOVERY_SECONDS = 90.0
UNAVAILABLE = {0, 503}
PAUSE_SECONDS = 0.2


@pytest.fixture
def up() -> Iterator[Up]:
    state = Path(tempfile.mkdtemp(dir=HOME))
    state.chmod(0o711)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    running = Up(state, port)
    running.until("API token")
    token = re.search(r"ist_\S+", running.output)
    assert token
    running.until("Ready: ")
    istore.connect(base_url=running.url, token=token[0])
    register.register_model_for_inference_storage(
        models.NewRegisterModelRequest(
            model_id=MODEL, project_id="demo", task_type=models.TaskType.OBJECT_DETECTION
        )
    )
    yield running
    disconnect()
    running.process.send_signal(signal.SIGINT)
    running.ended()
    shutil.rmtree(state)


def request_of(inference_id: str) -> models.NewInferenceStorageRequest:
    standard = {
        "data_hash": HASH,
        "data_size": 1,
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
    )


class Client(threading.Thread):
    """Writes one inference after the other, each until it is acknowledged, and reads it back now and then."""

    def __init__(self, number: int, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.done = number, done
        self.acknowledged: list[str] = []
        self.refused: Counter[int] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self.write(f"{self.number}-{len(self.acknowledged)}")
        except BaseException as error:  # told by the test
            self.error = error
            raise

    def write(self, inference_id: str) -> None:
        while True:
            try:
                inference.create_inference(MODEL, request_of(inference_id))
                self.acknowledged.append(inference_id)
                if len(self.acknowledged) % 5 == 0:
                    assert inference.get_inference(MODEL, inference_id) is not None
                return
            except InferenceStoreError as error:
                if error.status not in UNAVAILABLE:
                    raise
                self.refused[error.status] += 1
                time.sleep(PAUSE_SECONDS)


def kill(up: Up, name: str) -> None:
    found = [pid for pid, command in up.descendants().items() if re.search(VICTIMS[name], command)]
    assert found, f"there is no {name} to kill"
    os.kill(min(found), signal.SIGKILL)  # the oldest: the parent of the others


def recovered(clients: list[Client], before: list[int]) -> bool:
    """Whether each has stored something since."""
    assert not any(each.error for each in clients), [each.error for each in clients if each.error]
    return all(len(each.acknowledged) > count + 1 for each, count in zip(clients, before, strict=True))


def survive(up: Up, count: int, kills: int, seconds: float) -> str:
    """Kill each victim so often while so many clients work; what was seen."""
    done = threading.Event()
    clients = [Client(number, done) for number in range(count)]
    for each in clients:
        each.start()
    longest: Counter[str] = Counter()
    for turn in range(kills):
        for name in VICTIMS:
            end_of_calm = time.monotonic() + seconds / (kills * len(VICTIMS))
            kill(up, name)
            before, killed = [len(each.acknowledged) for each in clients], time.monotonic()
            while not recovered(clients, before):
                assert time.monotonic() - killed < RECOVERY_SECONDS, (
                    f"{name}, {turn}: a client never came back"
                )
                time.sleep(0.05)
            longest[name] = max(longest[name], round(time.monotonic() - killed, 1))
            done.wait(max(0.0, end_of_calm - time.monotonic()))
    done.set()
    for each in clients:
        each.join(RECOVERY_SECONDS)
        assert not each.is_alive()
        assert each.error is None
    stored = [found.inference_id for found in inference.iterate_inferences(MODEL)]
    acknowledged = [inference_id for each in clients for inference_id in each.acknowledged]
    assert len(stored) == len(set(stored)), "an inference is there twice"
    assert set(stored) == set(acknowledged)
    assert inference.count_inferences(MODEL, models.NewGetInferencesRequest()) == len(acknowledged)
    refused = dict(sum((each.refused for each in clients), Counter()))
    return (
        f"{count} clients, each of {', '.join(VICTIMS)} killed {kills} times: "
        f"{len(acknowledged)} acknowledged, none lost, none twice; "
        f"refusals beyond the SDK's own retries: {refused or 'none'}; "
        f"longest until every client went on: {dict(longest)} s"
    )


def test_nothing_acknowledged_is_lost(up: Up) -> None:
    print(survive(up, count=8, kills=1, seconds=3))


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_for_long(up: Up) -> None:
    print(survive(up, count=64, kills=3, seconds=float(os.environ.get("SOAK_SECONDS", "600"))))
