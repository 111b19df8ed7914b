"""Real processes on the tests' database, that can be killed: a Celery worker, a scheduler, a web server."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg.sql import SQL, Identifier

from inference_store.celery import app
from inference_store.embedded import process

LEASE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
CELERY = ("celery", "-A", "inference_store.celery")


def environment(**changes: str) -> dict[str, str]:
    """What a process needs to work on the tests' database and blobs."""
    database = connection.settings_dict
    host = database["OPTIONS"].get("host") or database["HOST"]
    user = f"{database['USER']}:{database['PASSWORD']}" if database["PASSWORD"] else database["USER"]
    return os.environ | {
        "DATABASE_URL": f"postgres://{user}@/{database['NAME']}?host={host}",
        "BLOB_ROOT": str(settings.BLOB_ROOT),
        "JOB_LEASE_SECONDS": str(LEASE_SECONDS),
        "SECRET_KEY": settings.SECRET_KEY,
        **changes,
    }


def database(name: str | None = None) -> dict[str, Any]:
    """Where psycopg finds the tests' database, or another one on its server."""
    connection.ensure_connection()
    info = connection.connection.info
    return {"host": info.host, "port": info.port, "user": info.user, "dbname": name or info.dbname}


def drop_database(server: psycopg.Connection[Any], name: str) -> None:
    """Once our sessions are ended. `with (force)` is refused while autovacuum, a superuser's, is there."""
    ours = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = user"
    server.execute(ours, [name])
    server.execute(SQL("drop database if exists {}").format(Identifier(name)))


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: it did not happen"
        time.sleep(0.01)


class Program:
    """A process in a group of its own, with a log that tells when it is ready."""

    command: list[str] = []
    ready_when = ""
    on_parent_death = signal.SIGQUIT

    def __init__(self, log: Path, **changes: str) -> None:
        self.log, self.changes = log, changes
        self.process: subprocess.Popen[bytes] | None = None
        self._begins = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._begins = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                env=environment(**self.changes),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=process.follow_parent(self.on_parent_death),
            )

    def said(self) -> str:
        """What it has written since it was started last."""
        return self.log.read_bytes()[self._begins :].decode()

    def ready(self) -> None:
        """Wait until it does its work."""
        started = self.process

        def is_ready() -> bool:
            assert started is not None
            assert started.poll() is None, self.said()
            return self.ready_when in self.said()

        wait_until(is_ready, f"{self.command[-1]} is ready")

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
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.kill()


class Worker(Program):
    """One worker process with one child, as `make up` starts it."""

    command = [
        *(*CELERY, "worker", "-l", "info", "--concurrency", "1"),
        *("--without-mingle", "--without-gossip", "--without-heartbeat"),
    ]
    ready_when = " ready."

    def child(self) -> int:
        """The process that does the work."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait_until(lambda: children.read_text(), "the worker has a child")
        return int(children.read_text().split()[0])

    def memory(self) -> int:
        """The most bytes that the worker's child has ever had resident."""
        status = Path(f"/proc/{self.child()}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


class Beat(Program):
    """A scheduler; the state of its schedule lies beside its log."""

    ready_when = "beat: Starting"
    on_parent_death = signal.SIGKILL

    def __init__(self, log: Path, **changes: str) -> None:
        super().__init__(log, **changes)
        schedule = str(log.with_suffix(".schedule"))
        self.command = [*CELERY, "beat", "-l", "info", "--pidfile=", "--schedule", schedule]


class Web(Program):
    """A web server with one process."""

    command = [
        *("gunicorn", "inference_store.wsgi", "--bind", "127.0.0.1:0"),
        *("--threads", "4", "--no-control-socket"),
    ]
    ready_when = "Booting worker with pid"

    @property
    def url(self) -> str:
        found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", self.said())
        assert found
        return found[1]


@pytest.fixture
def worker(transactional_db: None, tmp_path: Path) -> Iterator[Worker]:
    """A running worker; what earlier tests left in the queue is gone."""
    app.control.purge()
    running = Worker(tmp_path / "worker.log")
    running.start()
    running.ready()
    yield running
    running.kill()
