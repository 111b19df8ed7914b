"""Two hundred slow clients hold connections to the store as it is deployed: the others notice nothing."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inference_store import blobs
from inference_store.embedded import process
from inference_store.models import Blob, RegisteredModel
from inference_store.services import uploads
from tests.cast import BASE, Cast, ndjson, request_of
from tests.deploy.conftest import deployed, world  # noqa: F401  (fixtures)
from tests.deploy.deployed import ROOT, Deployed
from tests.making import make_upload
from tests.workers import wait_until

SLOW_CLIENTS = 200
MOST_TIMES_SLOWER = 2.0
ROUNDS = 5
LARGE_BYTES = 32 * 2**20


class Others:
    """Well-behaved clients: each asks for pages of results, one after the other, on a connection it keeps."""

    def __init__(self, store: Deployed, token: str) -> None:
        self.store, self.token = store, token

    def milliseconds(self, requests: int, clients: int = 1) -> list[float]:
        taken: list[float] = []
        threads = [threading.Thread(target=self._ask, args=(requests, taken)) for _ in range(clients)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(taken) == requests * clients, "a request failed"
        return taken

    def _ask(self, requests: int, taken: list[float]) -> None:
        with self.store.client(self.token, timeout=30) as client:
            client.get("/healthz")
            for number in range(requests):
                path = f"{BASE}/models/detector/inferences?limit=20" if number % 4 else "/help/"
                began = time.perf_counter()
                answer = client.get(path)
                taken.append((time.perf_counter() - began) * 1_000)
                assert answer.status_code == 200


def p95(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=20)[-1]


@contextmanager
def slow_clients(store: Deployed, model: RegisteredModel, log: Any) -> Iterator[Any]:
    """They are all there, and stay; gives what was said of them last."""
    large = make_upload(model, bytes(LARGE_BYTES))
    upload = uploads.new_upload(model=model, kind=Blob.Kind.DATA)
    words = ["--host", "127.0.0.1", "--port", str(store.port), "--trust", str(store.certificate)]
    words += ["--count", str(SLOW_CLIENTS)]
    words += ["--upload", blobs.presigned_url(upload, "PUT"), "--large", blobs.presigned_url(large, "GET")]
    with log.open("wb") as file:
        crowd = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.slow_clients", *words],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            preexec_fn=process.follow_parent(signal.SIGKILL),
        )

    def last() -> str:
        assert crowd.poll() is None, log.read_text()
        return (log.read_text().splitlines() or ["0 "])[-1]

    try:
        wait_until(lambda: last().startswith(f"{SLOW_CLIENTS} "), "the slow clients are there")
        yield last
    finally:
        crowd.kill()
        crowd.wait()


@pytest.fixture
def others(
    deployed: Deployed,  # noqa: F811
    world: Cast,  # noqa: F811
    detector: RegisteredModel,
) -> Others:
    lines = ndjson([request_of(f"i-{number}") for number in range(200)])
    with deployed.client(world.bob.token, timeout=60) as client:
        stored = client.post(
            f"{BASE}/models/detector/bulk-create",
            content=lines,
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert stored.status_code in (200, 201), stored.text
    measured = Others(deployed, world.bob.token)
    measured.milliseconds(20)
    return measured


def test_others_are_served_as_before(
    others: Others,
    deployed: Deployed,  # noqa: F811
    detector: RegisteredModel,
    tmp_path: Any,
) -> None:
    """Quiet and not, in turn: other work on this machine slows both, or one of them once."""
    seen = []
    for number in range(ROUNDS):
        quiet = p95(others.milliseconds(60))
        with slow_clients(deployed, detector, tmp_path / f"slow-{number}.log"):
            amid = p95(others.milliseconds(60))
        seen.append((round(quiet, 1), round(amid, 1)))
        print(f"p95 in ms, quiet and amid {SLOW_CLIENTS} slow clients: {seen[-1]}")
        if amid < MOST_TIMES_SLOWER * quiet:
            return
    pytest.fail(f"slower in each round: {seen}")


@pytest.mark.soak
def test_others_are_served_as_before_for_long(
    others: Others,
    deployed: Deployed,  # noqa: F811
    detector: RegisteredModel,
    tmp_path: Any,
) -> None:
    requests = int(os.environ.get("SOAK_REQUESTS", "1000"))
    quiet = others.milliseconds(requests, clients=2)
    with slow_clients(deployed, detector, tmp_path / "slow.log") as said:
        time.sleep(15)  # the slow headers have been thrown out once, and are there again
        amid = others.milliseconds(requests, clients=2)
        told = said()
        assert "'headers'" in told.rpartition("{")[2], f"nobody was thrown out: {told}"
    again = others.milliseconds(requests, clients=2)
    before = p95(quiet + again)
    print(
        f"\n{len(amid)} requests by 2 clients: median {statistics.median(quiet + again):.1f} ms and p95 "
        f"{before:.1f} ms when quiet, {statistics.median(amid):.1f} and {p95(amid):.1f} amid {told}"
    )
    assert p95(amid) < MOST_TIMES_SLOWER * before
