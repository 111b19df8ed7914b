"""A streaming replica of the tests' PostgreSQL: a second real server, fed by the first."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from inference_store.embedded import home, postgres, process
from tests.workers import database, wait_until


class Standby:
    """Made from a base backup; started, killed, its replay paused."""

    def __init__(self) -> None:
        if os.environ.get("DATABASE_URL"):
            pytest.skip("the tests' own PostgreSQL is needed")
        self.account = home.postgres_account()
        self.software = postgres._software(self.account)
        self.directory = Path(tempfile.mkdtemp(prefix="standby-", dir=home.directory()))
        home.make_private_directory(self.directory, self.account)
        self.data, self.log = self.directory / "data", home.logs() / "standby.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen: list[int] = []
        primary = str(home.postgres_socket_directory())
        copy = ["--pgdata", self.data, "-h", primary, "-U", "postgres", "--wal-method=stream", "--no-sync"]
        subprocess.run(
            [self.software / "pg_basebackup", *copy, "--checkpoint=fast", "--write-recovery-conf"],
            check=True,
            cwd="/",
            **process.as_account(self.account),
        )

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "unix_socket_permissions": "0700",
            "max_standby_streaming_delay": "0",  # what stands in the way of the replay is cancelled at once
            "wal_receiver_status_interval": "1",
            "wal_retrieve_retry_interval": "100ms",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "fsync": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = process.spawn(
            [self.software / "postgres", "-D", self.data, *options],
            log=self.log,
            on_parent_death=signal.SIGQUIT,
            account=self.account,
        )
        wait_until(self.answers, "the standby serves")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, process.last_lines(self.log)
        try:
            return bool(self.ask("select pg_is_in_recovery()"))
        except psycopg.OperationalError:
            return False

    def kill(self) -> None:
        """At once, with every connection."""
        if self.process is not None:
            self.thaw()
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It takes connections and says nothing, as when its machine hangs."""
        assert self.process is not None
        main = self.process.pid
        os.kill(main, signal.SIGSTOP)
        wait_until(lambda: ") T " in Path(f"/proc/{main}/stat").read_text(), "the postmaster stands still")
        # who stands still neither begins children nor buries them, so that none of these is missing or gone
        children = [int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        self.frozen = [*children, main]

    def thaw(self) -> None:
        while self.frozen:
            os.kill(self.frozen.pop(0), signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def place(self) -> dict[str, Any]:
        return database() | {"host": str(self.directory)}

    @property
    def url(self) -> str:
        at = self.place
        return f"postgres://{at['user']}@/{at['dbname']}?host={at['host']}"

    def ask(self, statement: str) -> Any:
        """The statement's only value, by the superuser."""
        with psycopg.connect(**self.place | {"user": "postgres"}, autocommit=True) as asking:
            return asking.execute(statement).fetchone()[0]  # type: ignore[index]

    def pause(self) -> None:
        self.catch_up()
        self.ask("select pg_wal_replay_pause()::text")
        wait_until(lambda: self.ask("select pg_get_wal_replay_pause_state()") == "paused", "replay is paused")

    def resume(self) -> None:
        self.ask("select pg_wal_replay_resume()::text")

    def catch_up(self) -> None:
        """Wait until it has all that is committed."""
        with connection.cursor() as cursor:
            cursor.execute("select pg_current_wal_insert_lsn()")
            now = cursor.fetchone()[0]
        replayed = f"select pg_last_wal_replay_lsn() >= '{now}'"
        wait_until(lambda: self.ask(replayed), f"the standby has replayed {now}")
