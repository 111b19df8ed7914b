"""What is counted as it happens, over several web processes and past the end of each."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from inference_store import blobs, counters
from inference_store.celery import app
from inference_store.models import RegisteredModel
from tests.cast import BASE, Cast, cast, detector, request_of  # noqa: F401
from tests.workers import Web, wait_until

Figures = dict[tuple[str, ...], float]


class TwoWebs(Web):
    command = [*Web.command, "--workers", "2"]

    def children(self) -> list[int]:
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in found.split()]


@pytest.fixture
def web(transactional_db: None, tmp_path: Path) -> Iterator[TwoWebs]:
    running = TwoWebs(tmp_path / "web.log", COUNTERS_ROOT=str(tmp_path / "counters"))
    running.start()
    wait_until(lambda: running.said().count(running.ready_when) == 2, "both are ready")
    yield running
    running.kill()


def figures(text: str) -> Figures:
    return {
        (sample.name.removeprefix("inference_store_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def here() -> Figures:
    return figures(Client().get("/metrics").content.decode())


def ask(web: Web, times: int) -> None:
    """Requests at once, so that both processes answer some."""
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: httpx.get(f"{web.url}{BASE}/nowhere", timeout=30), range(times)):
            assert answer.status_code == 404


def counting(root: Path) -> int:
    """How many processes have counted."""
    return len(list(root.glob("counter_*.db")))


def test_figures_are_those_of_all_processes_dead_ones_too(web: TwoWebs, tmp_path: Path) -> None:
    root, asked = tmp_path / "counters", 0
    while counting(root) < 2:
        ask(web, 20)
        asked += 20
        assert asked < 2_000
    before = figures(httpx.get(f"{web.url}/metrics").text)
    assert before["requests_total", "api", "GET", "4xx"] == asked
    assert before["request_seconds_count", "api"] == asked
    assert before["request_seconds_bucket", "api", "+Inf"] == asked
    assert 0 < before["request_seconds_sum", "api"] < 60

    victim = web.children()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: web.said().count(web.ready_when) == 3, "another is there")
    ask(web, 40)
    after = figures(httpx.get(f"{web.url}/metrics").text)
    assert after["requests_total", "api", "GET", "4xx"] == asked + 40
    assert after["requests_total", "probe", "GET", "2xx"] >= 1
    assert counting(root) == 2, "the dead one's place was taken"


@pytest.mark.django_db
def test_a_request_counts_at_its_door(cast: Cast, detector: RegisteredModel, settings: Any) -> None:  # noqa: F811
    before = here()
    cast.carol.get("models/detector")
    cast.nobody.get("models/detector")
    Client().get("/login/x")
    Client().get("/static/nothing.css")
    Client().generic("BREW", "/help/")
    after = here()

    def more(*labels: str) -> float:
        return after.get(("requests_total", *labels), 0) - before.get(("requests_total", *labels), 0)

    assert more("api", "GET", "2xx") == 1
    assert more("api", "GET", "4xx") == 1
    assert more("page", "GET", "4xx") == 1
    assert more("static", "GET", "4xx") == 1
    assert more("page", "other", "4xx") == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_stored_counts_once(cast: Cast, detector: RegisteredModel) -> None:  # noqa: F811
    before = here().get(("inferences_stored_total",), 0)
    assert cast.bob.post("models/detector/inferences", request_of("i-1")).status_code == 201
    assert cast.bob.post("models/detector/inferences", request_of("i-1")).status_code == 200
    many = [request_of(f"i-{number}") for number in range(5)]
    assert cast.bob.post("models/detector/bulk-create", many).status_code == 201
    assert here()["inferences_stored_total",] - before == 5


@pytest.mark.django_db
def test_what_the_blob_store_fails_counts(settings: Any, tmp_path: Path) -> None:
    before = here().get(("blob_errors_total", "away"), 0)
    settings.BLOB_STORE = "s3://nowhere"
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    settings.S3_ACCESS_KEY_ID = settings.S3_SECRET_ACCESS_KEY = "k"
    with pytest.raises(blobs.UnavailableError):
        blobs.size("1/" + "a" * 32)
    assert here()["blob_errors_total", "away"] > before  # /readyz's part of it tries it too


@pytest.mark.django_db
def test_what_waits_in_the_queue_counts() -> None:
    app.control.purge()
    assert here()["queue_messages",] == 0
    try:
        for _ in range(3):
            app.send_task("inference_store.heartbeat")
        assert here()["queue_messages",] == 3
    finally:
        app.control.purge()


COUNT = """
import os, sys
from inference_store import counters
counters.stored(2)
if not os.fork():
    counters.stored(3)
    os._exit(0)
os.wait()
counters.stored(1)
assert counters.counts().are_shared is (sys.argv[1] == "shared")
"""


def counted_by_processes(root: Path, said: str = "shared") -> None:
    environment = os.environ | {"COUNTERS_ROOT": str(root)}
    subprocess.run([sys.executable, "-c", COUNT, said], env=environment, check=True)


def total(root: Path) -> float:
    return counters.gathered(root).get_sample_value("inference_store_inferences_stored_total") or 0


def test_forked_processes_and_later_ones_count_on(tmp_path: Path) -> None:
    counted_by_processes(tmp_path)
    assert total(tmp_path) == 6
    counted_by_processes(tmp_path)
    assert total(tmp_path) == 12
    assert counting(tmp_path) == 2


def test_a_torn_file_begins_anew(tmp_path: Path) -> None:
    counted_by_processes(tmp_path)
    torn = tmp_path / "counter_0.db"
    torn.write_bytes(b"\xff\xff\x00\x00" + b"\xfe" * 100)
    counted_by_processes(tmp_path)
    assert total(tmp_path) == 3 + 6


def test_where_nothing_can_be_written_each_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    counted_by_processes(tmp_path / "file", "alone")
