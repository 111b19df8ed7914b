"""A real Celery worker on the tests' database, that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from inference_store.celery import app

LEASE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


def environment(**changes: str) -> dict[str, str]:
    """What a process needs to work on the tests' database and blobs."""
    database = connection.settings_dict
    host = database["OPTIONS"].get("host") or database["HOST"]
    user = f"{database['USER']}:{database['PASSWORD']}" if database["PASSWORD"] else database["USER"]
    return os.environ | {
        "DATABASE_URL": f"postgres://{user}@/{database['NAME']}?host={host}",
        "BLOB_ROOT": str(settings.BLOB_ROOT),
        "JOB_LEASE_SECONDS": str(LEASE_SECONDS),
        **changes,
    }


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: it did not happen"
        time.sleep(0.01)


class Worker:
    """One worker process with one child, as `make up` starts it."""

    def __init__(self, log: Path, **changes: str) -> None:
        self.log, self.changes = log, changes
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "inference_store.celery", "worker", "-l", "info"]
        alone = ["--concurrency", "1", "--without-mingle", "--without-gossip", "--without-heartbeat"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *alone],
                env=environment(**self.changes),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until it takes jobs."""
        started = self.process

        def is_ready() -> bool:
            text = self.log.read_text()
            assert started is not None
            assert started.poll() is None, text
            return " ready." in text

        wait_until(is_ready, "the worker is ready")

    def kill(self) -> None:
        """As the kernel does it when memory is short: parent and child at once, no goodbye."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def memory(self) -> int:
        """Bytes resident in the worker's child, which does the work."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        status = Path(f"/proc/{children[0]}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.fixture
def worker(transactional_db: None, tmp_path: Path) -> Iterator[Worker]:
    """A running worker; what earlier tests left in the queue is gone."""
    app.control.purge()
    running = Worker(tmp_path / "worker.log")
    running.start()
    running.ready()
    yield running
    running.stop()
