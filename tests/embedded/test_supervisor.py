"""The supervisor by itself, with small programs to look after."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_store.embedded import address, home, process, supervisor
from inference_store.embedded.supervisor import Program, Supervisor, only_one

STAYS = "import signal; signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); {STAYS}"


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(tmp_path))
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watching(said: list[str]) -> Iterator[Supervisor]:
    watching = Supervisor(said.append)
    with watching.signals():
        yield watching
        watching.stop([])


def program(name: str, code: str, stop_seconds: float = 10) -> Program:
    return Program(name, [sys.executable, "-c", code], dict(os.environ), stop_seconds, signal.SIGKILL)


def test_what_dies_is_started_again(watching: Supervisor, said: list[str]) -> None:
    server = program("server", STAYS)
    watching.start(server)
    assert server.process
    first = server.process.pid
    server.process.kill()
    while "server started again" not in said:
        watching.turn(5)
    assert server.process.pid != first
    assert server.poll() is None
    assert said[1].startswith("server was ended by SIGKILL; starting it again in 0.0 s")


def test_what_keeps_dying_ends_all_and_says_why(watching: Supervisor, said: list[str]) -> None:
    watching.start(program("server", "raise SystemExit('no such table')"))

    def turn_until_hopeless() -> None:
        while True:
            watching.turn(5)

    with pytest.raises(process.DiedError, match=r"5 times within a minute(.|\n)*no such table"):
        turn_until_hopeless()
    assert said.count("server started again") == 4


def test_it_stops_in_order_and_by_force_in_the_end(watching: Supervisor, tmp_path: Path) -> None:
    first, second = program("first", STUBBORN, stop_seconds=0.1), program("second", STAYS)
    stopped: list[str] = []
    for each in (second, first):
        watching.start(each)
        each.stop = lambda each=each, stop=each.stop: (stopped.append(each.name), stop())  # type: ignore[method-assign, misc]
    while "on" not in process.last_lines(first.log):  # it ignores the gentle signal from here on
        watching.turn(0.02)
    processes = [first.process, second.process]
    watching.stop(["first", "second"])
    assert stopped == ["first", "second"]
    assert [each.returncode for each in processes if each] == [-signal.SIGKILL, -signal.SIGTERM]


def test_a_signal_ends_the_wait_at_once(watching: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    watching.turn(60)
    assert watching.stopping


def test_a_signal_breaks_off_what_may_be_broken_off(watching: Supervisor) -> None:
    with pytest.raises(KeyboardInterrupt), watching.interruptible():
        signal.raise_signal(signal.SIGINT)


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path) -> None:
    with only_one("http://127.0.0.1:8000"):
        second = only_one("http://127.0.0.1:8001")
        with pytest.raises(home.UnusableError, match=rf"http://127\.0\.0\.1:8000 \(process {os.getpid()}\)"):
            second.__enter__()
    with only_one("http://127.0.0.1:8001"):
        pass


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(home.UnusableError, match=rf"Port {port} .* in use .*--port 8001"):
            address.refuse_in_use("127.0.0.1", port)
    address.refuse_in_use("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(home.UnusableError, match="Can't listen on"):
        address.refuse_in_use(host, 8000)


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(home.UnusableError, match="There is no port 70000"):
        address.refuse_in_use("127.0.0.1", 70_000)


def test_urls_are_what_a_person_on_this_machine_types() -> None:
    hosts = ("127.0.0.1", "0.0.0.0", "::", "::1")
    assert [address.url(host, 8000) for host in hosts] == [
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://[::1]:8000",
    ]
