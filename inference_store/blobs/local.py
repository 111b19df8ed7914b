"""Blobs in a directory that all processes share: BLOB_ROOT."""

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings

from inference_store import counters
from inference_store.blobs import keys
from inference_store.blobs.keys import (
    Description,
    DraftBusyError,
    DraftLostError,
    UnavailableError,
    checked,
    describe,
    too_large,
)
from inference_store.contract.errors import Refusal

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
DISK = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENODEV, errno.ENOTDIR)


@contextmanager
def noted() -> Iterator[None]:
    """Count what the disk refuses; a client that goes away is an OSError too, but not the disk's."""
    try:
        yield
    except OSError as error:
        if error.errno in (*FULL, *DISK):
            counters.blob_failed("full" if error.errno in FULL else "disk")
        raise


def _path(key: str) -> Path:
    """Where a key's bytes lie."""
    model, name = checked(key).split("/")
    return _within(Path(settings.BLOB_ROOT, model, name[:2], name))


def _within(path: Path) -> Path:
    """The path; UnavailableError where a symbolic link below the root would lead somewhere else."""
    root = Path(settings.BLOB_ROOT)
    if os.path.realpath(path) != os.path.join(os.path.realpath(root), path.relative_to(root)):
        log.error("There is a symbolic link in the blob store, which has none of its own: %s", path)
        raise UnavailableError("A symbolic link leads out of the blob store.")
    return path


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that arrived whole and durably, under no key yet."""

    path: Path
    description: Description

    def keep(self, key: str) -> None:
        """Put them in their place, in one step."""
        path = _path(key)
        with noted():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path.replace(path)


@contextmanager
def receive(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[Received]:
    """Take bytes in; Refusal 413 beyond the limit. What is not kept is removed."""
    incoming = _within(Path(settings.BLOB_ROOT) / "incoming")
    path = incoming / uuid4().hex
    try:
        with ExitStack() as held:
            with noted():
                incoming.mkdir(parents=True, exist_ok=True)
                file = held.enter_context(path.open("xb"))
                # Held as long as it is ours, so that whoever sweeps can tell whatever the clocks say.
                fcntl.flock(file, fcntl.LOCK_EX)
                size = 0
                for chunk in chunks:
                    size += len(chunk)
                    if size > limit_bytes:
                        raise too_large(limit_bytes)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            yield Received(path, describe(path, size))
    finally:
        path.unlink(missing_ok=True)


def open_blob(key: str) -> BufferedReader:
    """The bytes, to be closed by the caller; Refusal 404 where there are none."""
    try:
        with noted():
            return _path(key).open("rb")
    except (FileNotFoundError, UnavailableError):
        raise Refusal.not_found("The bytes of this blob are gone.") from None


def internal_location(key: str) -> str | None:
    """Where a proxy in front finds the bytes; None where it sends none. Refusal 404 where none are."""
    if not settings.BLOB_INTERNAL_LOCATION:
        return None
    if size(key) is None:
        raise Refusal.not_found("The bytes of this blob are gone.")
    return f"{settings.BLOB_INTERNAL_LOCATION.rstrip('/')}/{_path(key).relative_to(settings.BLOB_ROOT)}"


def size(key: str) -> int | None:
    """The size of the bytes, None where there are none."""
    try:
        return _path(key).stat().st_size
    except (FileNotFoundError, UnavailableError):
        return None


def remove(key: str) -> None:
    """Remove the bytes; what is gone already is gone."""
    with suppress(UnavailableError):  # what lies elsewhere is not ours to remove
        _path(key).unlink(missing_ok=True)


# --- Drafts -------------------------------------------------------------------------------------------------


class Draft:
    """An archive in the making: named streams of bytes that only grow.

    `lengths` says how much of each is durable, as `commit` told it; what a crash left beyond is cut off.
    Only one process can hold a draft, and a killed one holds it no more.
    """

    def __init__(self, name: str, lengths: dict[str, int]) -> None:
        self._directory = _draft(name)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = _within(self._directory / "lock").open("ab")
        self._files: dict[str, BufferedRandom] = {}
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for stream, length in lengths.items():
                self._open(stream, length)
        except BlockingIOError:
            self.close()
            raise DraftBusyError from None
        except BaseException:
            self.close()
            raise
        for path in self._directory.iterdir():
            if path.name not in (*lengths, "lock"):
                path.unlink()

    def _open(self, stream: str, length: int) -> BufferedRandom:
        path = _within(self._directory / stream)
        if length and (not path.exists() or path.stat().st_size < length):
            raise DraftLostError
        path.touch()
        file = self._files[stream] = path.open("r+b")
        file.truncate(length)
        file.seek(length)
        return file

    def append(self, stream: str, content: bytes) -> None:
        (self._files.get(stream) or self._open(stream, 0)).write(content)

    def size(self, stream: str) -> int:
        return self._files[stream].tell() if stream in self._files else 0

    def pieces(self, stream: str) -> Iterator[bytes]:
        """All that was appended to the stream."""
        if stream in self._files:
            self._files[stream].flush()
            with (self._directory / stream).open("rb") as file:
                while piece := file.read(keys.PIECE_BYTES):
                    yield piece

    def commit(self) -> dict[str, int]:
        """Make durable what was appended; how long each stream is now."""
        with noted():
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            _sync_directory(self._directory)
        return {stream: file.tell() for stream, file in self._files.items()}

    def keep(self, stream: str, key: str) -> None:
        """Put a stream in the place of a key, durably. The rest of the draft stays until it is discarded."""
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = self._files.pop(stream)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        (self._directory / stream).replace(path)
        _sync_directory(path.parent)

    def close(self) -> None:
        """Let go of it; another process may go on."""
        for file in self._files.values():
            with suppress(OSError):  # what can't be flushed was not durable either
                file.close()
        self._lock.close()


def _draft(name: str) -> Path:
    return _within(Path(settings.BLOB_ROOT) / "drafts" / str(UUID(name)))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard_draft(name: str) -> None:
    """Remove a draft; what is gone already is gone."""
    with suppress(UnavailableError):
        shutil.rmtree(_draft(name), ignore_errors=True)


def drafts() -> list[str]:
    """The names of the drafts that are there."""
    with suppress(FileNotFoundError, UnavailableError):
        return sorted(path.name for path in _draft(str(UUID(int=0))).parent.iterdir())
    return []


def remove_stale_incoming(older_than_seconds: float) -> int:
    """Remove what uploads that broke off long ago left behind; how many went.

    One that still goes on is never taken for these: this machine's clock may be a day off.
    """
    removed = 0
    with suppress(FileNotFoundError, UnavailableError):
        for path in _within(Path(settings.BLOB_ROOT) / "incoming").iterdir():
            with (
                suppress(FileNotFoundError, UnavailableError, BlockingIOError),
                _within(path).open("rb") as file,
            ):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_mtime < time.time() - older_than_seconds:
                    path.unlink()
                    removed += 1
    return removed
