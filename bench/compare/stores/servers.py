"""Servers that an adapter starts for itself: on loopback alone, and gone with the adapter's process."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PARENT_DEATH_SIGNAL = 1
PATIENCE_SECONDS = 60


def start(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server whose output goes to the log, and which ends when this process does."""
    library = ctypes.CDLL(None)
    return subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=2,
        preexec_fn=lambda: library.prctl(PARENT_DEATH_SIGNAL, int(signal.SIGTERM)),
    )


def stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, is_alive: Callable[[], bool]) -> None:
    """Until something listens there."""

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, is_alive)


def wait_until(is_there: Callable[[], bool], is_alive: Callable[[], bool]) -> None:
    """Until it is there, as long as the server lives."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        if not is_alive() or time.monotonic() > end:
            raise RuntimeError("the server did not start; the log says why")
        time.sleep(0.1)
