"""PostgreSQL, Redis, the worker and the blob store are killed while clients write, read and export.

Nothing that was acknowledged is lost, nothing is there twice, and every client goes on by itself.
"""

import os
import random
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import inference_store.client as istore
from inference_store.client import inference, models, register
from inference_store.client.connection import disconnect
from tests.embedded.running import Up
from tests.faults.crowd import MODEL, Client, Exporter, Writer, read_back
from tests.servers import HOME
from tests.swift import Swift

PROCESSES = {"PostgreSQL": r"/postgres -D", "Redis": r"redis-server", "worker": r"celery .* worker"}
LOGS = ("web.log", "worker.log")
BLOB_STORE = "blob store"
VICTIMS = [*PROCESSES, BLOB_STORE]
RECOVERY_SECONDS = 90.0
LEFT_AWAY_SECONDS = 1.0
"""Nothing here starts the blob store again but the test: the others have a supervisor."""
MOST_READ_BACK = 300


@pytest.fixture
def up(swift_service: Swift) -> Iterator[Up]:
    state = Path(tempfile.mkdtemp(dir=HOME))
    state.chmod(0o711)
    swift_service.make_bucket()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    running = Up(state, port, **swift_service.settings(), S3_ADDRESSING="path", JOB_LEASE_SECONDS="4")
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
    # Read on, or it would wait for somebody who reads.
    reader = threading.Thread(target=running.read_on)
    reader.start()
    yield running
    disconnect()
    running.process.send_signal(signal.SIGINT)
    reader.join()
    running.process.wait()
    print(running.output, *((state / "logs" / name).read_text() for name in LOGS), sep="\n")  # if it fails
    shutil.rmtree(state)


def kill(up: Up, swift: Swift, name: str) -> None:
    if name == BLOB_STORE:
        swift.stop()
        time.sleep(LEFT_AWAY_SECONDS)
        swift.start()
        return
    found = [pid for pid, command in up.descendants().items() if re.search(PROCESSES[name], command)]
    assert found, f"there is no {name} to kill"
    os.kill(min(found), signal.SIGKILL)  # the oldest: the parent of the others


def progress(name: str) -> Callable[[Writer], int]:
    """What a writer has done that needs the victim."""
    return (lambda each: len(each.pictures)) if name == BLOB_STORE else (lambda each: len(each.acknowledged))


def wait_for_all(writers: list[Writer], clients: list[Client], name: str, killed: float) -> float:
    """The seconds since the kill after which each writer has stored something more."""
    done = progress(name)
    before = [done(each) for each in writers]
    while not all(done(each) > count + 1 for each, count in zip(writers, before, strict=True)):
        assert not any(each.error for each in clients), [each.error for each in clients if each.error]
        assert time.monotonic() - killed < RECOVERY_SECONDS, f"{name}: a client never came back"
        time.sleep(0.05)
    return round(time.monotonic() - killed, 1)


def survive(up: Up, swift: Swift, count: int, kills: int, seconds: float) -> str:
    """Kill each victim so often while so many clients work; what was seen."""
    done = threading.Event()
    writers = [Writer(number, done) for number in range(count)]
    exporter = Exporter(writers[0], done, Path(tempfile.mkdtemp(dir=HOME)))
    clients: list[Client] = [*writers, exporter]
    for each in clients:
        each.start()
    longest: Counter[str] = Counter()
    for _ in range(kills):
        for name in VICTIMS:
            killed = time.monotonic()
            end_of_calm = killed + seconds / (kills * len(VICTIMS))
            kill(up, swift, name)
            longest[name] = max(longest[name], wait_for_all(writers, clients, name, killed))
            done.wait(max(0.0, end_of_calm - time.monotonic()))
    done.set()
    for each in clients:
        each.join(2 * RECOVERY_SECONDS)
        assert not each.is_alive()
        assert each.error is None
    exporter.export()
    assert exporter.complete
    acknowledged = check_all(writers)
    refused = dict(sum((each.refused for each in clients), Counter()))
    return (
        f"{count} clients, each of {', '.join(VICTIMS)} killed {kills} times: "
        f"{len(acknowledged)} acknowledged, "
        f"{sum(len(each.pictures) for each in writers)} of them with a picture, none lost, none twice; "
        f"{exporter.complete} exports complete and verified, {exporter.failed} said that they failed; "
        f"refusals beyond the SDK's own retries: {refused or 'none'}; "
        f"longest until every client went on: {dict(longest)} s"
    )


def check_all(writers: list[Writer]) -> list[str]:
    """The ids that were acknowledged: they are stored, once, and nothing else is."""
    stored = [found.inference_id for found in inference.iterate_inferences(MODEL)]
    acknowledged = [inference_id for each in writers for inference_id in each.acknowledged]
    assert len(stored) == len(set(stored)), "an inference is there twice"
    assert set(stored) == set(acknowledged)
    assert inference.count_inferences(MODEL, models.NewGetInferencesRequest()) == len(acknowledged)
    pictures = [inference_id for each in writers for inference_id in each.pictures]
    for inference_id in random.sample(pictures, min(len(pictures), MOST_READ_BACK)):
        read_back(inference_id, with_picture=True)
    return acknowledged


def test_nothing_acknowledged_is_lost(up: Up, swift_service: Swift) -> None:
    print(survive(up, swift_service, count=8, kills=1, seconds=3))


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_for_long(up: Up, swift_service: Swift) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    print(survive(up, swift_service, count=64, kills=3, seconds=seconds))
