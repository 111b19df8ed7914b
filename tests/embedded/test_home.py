"""Where things lie: the same answer in every process, and places that servers and sockets can use."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference_store.embedded import home

NOBODY = home.Account(65534, 65534)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory that isn't there yet."""
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_secret_key_is_made_once_by_many_processes(state: Path) -> None:
    script = "from inference_store.embedded import home; print(home.secret_key())"

    def key(_: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True, text=True, cwd=home.CHECKOUT
        ).stdout

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(key, range(8)))
    assert len(keys) == 1
    assert len(keys.pop().strip()) >= 50
    assert (state / "secret_key").stat().st_mode & 0o777 == 0o600


def test_socket_paths_fit_however_deep_or_odd_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("deep/" * 40, "a b, c?d=#%20é"):
        monkeypatch.setenv("INFERENCE_STORE_HOME", str(tmp_path / name))
        for socket in (home.postgres_socket_directory() / home.POSTGRES_SOCKET, home.redis_socket()):
            assert re.fullmatch(r"[A-Za-z0-9/._-]{1,107}", str(socket))


def test_two_state_directories_never_share_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = set()
    for number in range(2):
        monkeypatch.setenv("INFERENCE_STORE_HOME", str(tmp_path / ("deep/" * 40) / str(number)))
        sockets |= {home.postgres_socket_directory(), home.redis_socket()}
    assert len(sockets) == 4


def test_only_directories_we_made_get_a_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    made = home.make_directory(tmp_path / "one" / "two", 0o700)
    assert [place.stat().st_mode & 0o777 for place in (made, made.parent, tmp_path)] == [0o700, 0o700, 0o750]


def test_a_private_directory_is_ours_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").symlink_to(tmp_path)
    with pytest.raises(home.UnusableError, match="belongs to somebody else"):
        home.make_private_directory(tmp_path / "theirs")
    assert home.make_private_directory(tmp_path / "ours").stat().st_mode & 0o777 == 0o700


@root_only
def test_a_private_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", *NOBODY)
    with pytest.raises(home.UnusableError, match="belongs to somebody else"):
        home.make_private_directory(tmp_path / "theirs")


def test_reachable_looks_at_every_directory_above(tmp_path: Path) -> None:
    place = tmp_path / "open" / "closed" / "open"
    place.mkdir(parents=True)
    for directory in (place, place.parent, place.parent.parent):
        directory.chmod(0o755)
    stranger = home.Account(12345, 12345)
    top = home.reachable(tmp_path, stranger)  # pytest's own directories may be closed to others
    assert home.reachable(place, stranger) is top
    place.parent.chmod(0o700)
    assert not home.reachable(place, stranger)
    assert home.reachable(place, home.Account(os.geteuid(), os.getegid()))


@root_only
def test_root_finds_the_cluster_where_it_was_made(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode changed later must not make data vanish behind a new, empty cluster."""
    state.parent.chmod(0o700)
    outside = home.postgres_directory()
    assert outside.is_relative_to(home.SYSTEM)
    (state / "postgres" / "data").mkdir(parents=True)
    assert home.postgres_directory() == state / "postgres"
