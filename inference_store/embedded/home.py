"""Where an installation without DATABASE_URL and REDIS_URL keeps its things.

Every place follows from the state directory alone, so that each process finds the servers without being told.
"""

import fcntl
import hashlib
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
# What root keeps for servers that run as somebody else: everyone may pass through /var/lib.
SYSTEM = Path("/var/lib/inference-store")
DATABASE = "inference_store"
ROLE = "app"
POSTGRES_SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
# Other characters mean something in one of the addresses that the path becomes part of.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class UnusableError(RuntimeError):
    """The machine or the state directory doesn't allow it; the message says what to do."""


class Account(NamedTuple):
    """Whom a server runs as."""

    uid: int
    gid: int


def directory() -> Path:
    """The state directory: INFERENCE_STORE_HOME, else `var/` in the checkout."""
    return Path(os.environ.get("INFERENCE_STORE_HOME") or CHECKOUT / "var").resolve()


def logs() -> Path:
    return directory() / "logs"


def first_token() -> Path:
    """Where the first administrator's token waits until the demo has used it."""
    return directory() / "first_token"


def postgres_directory() -> Path:
    """What holds the cluster. As root it may have to lie outside: PostgreSQL then runs as somebody else.

    A place that already holds a cluster wins, so that data never vanish because a mode was changed.
    """
    inside = directory() / "postgres"
    if os.geteuid() != 0:
        return inside
    outside = _elsewhere() / "postgres"
    for place in (inside, outside):
        if (place / "data").exists():
            return place
    return inside if reachable(directory(), _unprivileged()) else outside


def postgres_account() -> Account | None:
    """Whom PostgreSQL runs as: ourselves (None), or for root the cluster's owner or somebody unprivileged."""
    if os.geteuid() != 0:
        return None
    data = postgres_directory() / "data"
    owner = data.stat() if data.exists() else None
    return Account(owner.st_uid, owner.st_gid) if owner and owner.st_uid else _unprivileged()


def postgres_socket_directory() -> Path:
    return _for_socket(postgres_directory(), POSTGRES_SOCKET)


def redis_directory() -> Path:
    return directory() / "redis"


def redis_socket() -> Path:
    return _for_socket(redis_directory(), "redis.sock") / "redis.sock"


def database_url() -> str:
    return f"postgres://{ROLE}@/{DATABASE}?host={postgres_socket_directory()}"


def redis_broker_url() -> str:
    return f"redis+socket://{redis_socket()}"


def redis_cache_url() -> str:
    return f"unix://{redis_socket()}?db=1"


def secret_key() -> str:
    """This installation's key for sessions and signatures."""
    return kept_key("secret_key")


def kept_key(name: str) -> str:
    """A key of this installation, made on first use, readable by its owner alone."""
    path = make_directory(directory()) / name
    if path.exists() and (key := path.read_text()):
        return key
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+") as file:
        # Another process may be at the same point: the first to hold the lock writes, the rest read.
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (key := file.read()):
            key = secrets.token_urlsafe(50)
            file.write(key)
        return key


def make_directory(path: Path, mode: int | None = None) -> Path:
    """Make it and what is missing above it, private; modes of what exists already are left alone.

    Root's can be passed through, because PostgreSQL runs as somebody else below.
    """
    mode = mode or (0o711 if os.geteuid() == 0 else 0o700)
    missing = [place for place in (path, *path.parents) if not place.exists()]
    for place in reversed(missing):
        try:
            place.mkdir()
        except FileExistsError:  # another process was first, and sets the mode
            continue
        place.chmod(mode)  # whatever the umask is
    return path


def make_private_directory(path: Path, account: Account | None = None) -> Path:
    """Make a directory that its owner alone enters; refuse one that somebody else has put there."""
    if os.geteuid() != 0 and path.is_relative_to(elsewhere := _elsewhere()):
        for place in (elsewhere.parent, elsewhere):  # anyone may write beside these
            _claim(place, Account(os.geteuid(), os.getegid()))
    make_directory(path.parent)
    return _claim(path, account or Account(os.geteuid(), os.getegid()))


def reachable(path: Path, account: Account) -> bool:
    """Whether the account may pass through every directory down to this one; what isn't there yet will be."""
    return all(_passable(place, account) for place in (path, *path.parents) if place.exists())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock, which ends with the process that holds it."""
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _claim(path: Path, account: Account) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    if path.lstat().st_uid == os.geteuid() != account.uid:
        os.chown(path, *account)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
        raise UnusableError(
            f"{path} belongs to somebody else: remove it, or set INFERENCE_STORE_HOME elsewhere."
        )
    path.chmod(0o700)
    return path


def _passable(place: Path, account: Account) -> bool:
    found = place.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _unprivileged() -> Account:
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise UnusableError(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as: "
        "start as an ordinary user, or set DATABASE_URL."
    )


def _for_socket(preferred: Path, name: str) -> Path:
    """The directory itself, unless the path to a socket in it would be too long or too odd."""
    path = str(preferred / name)
    if PLAIN_PATH.fullmatch(path) and len(path) <= LONGEST_SOCKET_PATH:
        return preferred
    return _elsewhere() / preferred.name


def _elsewhere() -> Path:
    """A short place for what can't lie in the state directory."""
    digest = hashlib.sha256(os.fsencode(directory())).hexdigest()[:12]
    if os.geteuid() == 0:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", directory().parent.name)[:24]
        return SYSTEM / f"{name}-{digest}"
    # Not TMPDIR or XDG_RUNTIME_DIR: they differ between a person's sessions, and all must meet here.
    return Path(f"/tmp/inference-store-{os.geteuid()}/{digest}")  # noqa: S108 # nosec B108
