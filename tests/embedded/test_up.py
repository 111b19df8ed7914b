"""`manage.py up` for real, as a person starts it."""

import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.embedded.running import Up, command_of
from tests.embedded.waiting import wait_until
from tests.servers import HOME


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """One state directory for all: what the first start makes, the later ones take up."""
    directory = Path(tempfile.mkdtemp(dir=HOME))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def up(state: Path, port: int) -> Iterator[Callable[[], Up]]:
    """Starts it; whatever a test leaves running is ended."""
    started: list[Up] = []

    def start() -> Up:
        started.append(Up(state, port))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.ended()


def all_gone(pids: dict[int, str]) -> bool:
    return not any(command_of(pid) == command for pid, command in pids.items() if command)


def test_it_serves_refuses_a_second_and_stops_on_ctrl_c(up: Callable[[], Up]) -> None:
    first = up()
    first.until("Ready: ")
    assert re.search(r"login +admin\n +password +\S+\n +API token +\S+", first.output)
    assert first.healthy()
    commands = " ".join(first.descendants().values())
    for program in ("gunicorn", "celery.* worker", "celery.* beat", "redis-server", "bin/postgres -D"):
        assert re.search(program, commands), program

    second = up()
    assert second.ended() == 1
    assert f"{first.url} (process {first.process.pid})" in second.output

    running = first.descendants()
    first.process.send_signal(signal.SIGINT)
    assert first.ended() == 0
    assert first.output.endswith("Stopped\n")
    assert all_gone(running)


def test_killed_outright_it_leaves_nothing_and_comes_back_with_its_data(up: Callable[[], Up]) -> None:
    first = up()
    first.until("Ready: ")
    running = first.descendants()
    first.process.kill()
    wait_until(lambda: all_gone(running))

    second = up()
    second.until("Ready: ")
    assert "API token" not in second.output  # the administrator of the first start is still there
    assert second.healthy()
    second.process.send_signal(signal.SIGTERM)
    assert second.ended() == 0


def test_servers_that_are_killed_come_back(up: Callable[[], Up]) -> None:
    running = up()
    running.until("Ready: ")
    servers = {"PostgreSQL": "bin/postgres -D", "Redis": "redis-server", "web": "-m gunicorn"}
    for name, program in servers.items():
        os.kill(
            min(pid for pid, command in running.descendants().items() if program in command), signal.SIGKILL
        )
        running.until(f"{name} started again")
    wait_until(running.healthy)


def test_a_port_in_use_is_said_before_anything_starts(up: Callable[[], Up], port: int, state: Path) -> None:
    with socket.create_server(("127.0.0.1", port)):
        refused = up()
        assert refused.ended() == 1
    assert f"Port {port} on 127.0.0.1 is in use" in refused.output
    assert "started" not in refused.output
