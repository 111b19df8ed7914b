"""A backup is one moment of the database with all its blobs; restored, it is the same store."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections

from inference_store import blobs
from inference_store.blobs import local
from inference_store.models import Blob, Inference, RegisteredModel
from inference_store.services import backups, deletion, sweeping
from inference_store.services.backups import BackupError
from tests.cast import Cast, cast, detector, request_of  # noqa: F401
from tests.workers import database as database_at
from tests.workers import drop_database, environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = "select format('%I', tablename) from pg_tables where schemaname = 'public' order by 1"


@pytest.fixture(autouse=True)
def blob_root(settings: Any, tmp_path: Path) -> Path:
    settings.BLOB_ROOT = tmp_path / "blobs"
    return settings.BLOB_ROOT


def keep(model: RegisteredModel, content: bytes) -> str:
    """An uploaded input that nobody has claimed yet."""
    key = blobs.new_key(model.pk)
    with blobs.receive([content], 2**20) as received:
        received.keep(key)
    blob = Blob(key=key, registered_model=model, kind=Blob.Kind.DATA, size=len(content))
    blob.uploaded_at = "2026-01-01T00:00:00Z"
    blob.save()
    return key


def store(cast: Cast, model: RegisteredModel, name: str) -> str:  # noqa: F811
    """An inference with an input; the input's key."""
    content = name.encode() * 100
    key = keep(model, content)
    standard = {"data_hash": hashlib.sha256(content).hexdigest(), "data_size": len(content)}
    body = request_of(name, standard=standard, data_storage_key=key)
    assert cast.bob.post("models/detector/inferences", body).status_code == 201
    return key


@pytest.fixture
def elsewhere(transactional_db: None) -> Iterator[str]:
    """An empty database on the same server."""
    name = f"restored_{uuid4().hex[:8]}"
    with psycopg.connect(**database_at(), autocommit=True) as server:
        server.execute(f"create database {name}")
        yield name
        drop_database(server, name)


def contents(database: str | None = None) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with psycopg.connect(**database_at(database)) as server:
        tables = [name for (name,) in server.execute(TABLES)]
        return {
            table: sorted(text for (text,) in server.execute(f"select t::text from {table} t"))
            for table in tables
        }


def restored(source: Path, database: str, root: Path) -> subprocess.CompletedProcess[str]:
    changes = environment(BLOB_ROOT=str(root))
    old = connection.settings_dict["NAME"]
    changes["DATABASE_URL"] = changes["DATABASE_URL"].replace(f"/{old}?", f"/{database}?")
    command = [sys.executable, "manage.py", "restore", str(source)]
    return subprocess.run(command, env=changes, capture_output=True, text=True, check=False)


def test_what_is_restored_is_the_same_store(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    elsewhere: str,
    tmp_path: Path,
) -> None:
    keys = [store(cast, detector, f"i-{number}") for number in range(5)]
    cast.bob.delete("models/detector/inferences/i-4")
    backups.back_up(tmp_path / "first")
    before = contents()
    told = restored(tmp_path / "first", elsewhere, tmp_path / "root")
    assert told.returncode == 0, told.stderr
    assert contents(elsewhere) == before
    for key in keys[:4]:
        restored_bytes = (tmp_path / "root").joinpath(*local._path(key).parts[-3:]).read_bytes()
        assert restored_bytes == local._path(key).read_bytes()
    assert "4 blobs" in told.stdout
    again = restored(tmp_path / "first", elsewhere, tmp_path / "root")
    assert again.returncode == 1
    assert "create an empty one" in again.stderr


def test_what_goes_meanwhile_is_in_it_whole(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Between the dump and the copies, an inference and its input are deleted, and the sweep runs."""
    key = store(cast, detector, "i-1")
    copy = backups._copy_blobs

    def meanwhile(*arguments: Any) -> Any:
        def act() -> None:
            try:
                deletion.delete_inference(model=detector, inference_id="i-1")
                sweeping.sweep_blobs()
            finally:
                connections.close_all()

        thread = threading.Thread(target=act)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        return copy(*arguments)

    monkeypatch.setattr(backups, "_copy_blobs", meanwhile)
    made = backups.back_up(tmp_path / "backup")
    assert (made.blob_count, made.missing) == (1, [])
    assert (tmp_path / "backup/blobs" / key).read_bytes() == b"i-1" * 100
    assert not Inference.objects.exists()
    assert sweeping.sweep_blobs() == 1  # and then it goes
    assert blobs.size(key) is None


def test_an_earlier_backup_is_linked_to(cast: Cast, detector: RegisteredModel, tmp_path: Path) -> None:  # noqa: F811
    first, second = tmp_path / "first", tmp_path / "second"
    key = store(cast, detector, "i-1")
    backups.back_up(first)
    store(cast, detector, "i-2")
    made = backups.back_up(second, first)
    assert made.blob_count == 2
    assert (second / "blobs" / key).samefile(first / "blobs" / key)
    backups.check(second)


@pytest.mark.parametrize("name", ["database.dump", "blobs.txt", "manifest.json", "blobs"])
def test_a_changed_backup_is_refused(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    key = store(cast, detector, "i-1")
    backup = tmp_path / "backup"
    backups.back_up(backup)
    path = backup / name / key if name == "blobs" else backup / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BackupError, match=r"has changed|can't be read|is no key"):
        backups.check(backup)
    path.unlink()
    with pytest.raises(BackupError, match=r"is missing|is no whole backup"):
        backups.check(backup)


def test_a_killed_backup_is_none_and_holds_nothing_up(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    tmp_path: Path,
) -> None:
    key = store(cast, detector, "i-1")
    fifo = local._path(key)
    fifo.unlink()
    os.mkfifo(fifo)  # the copy waits here for ever
    target = tmp_path / "backup"
    command = [sys.executable, "manage.py", "backup", str(target)]
    running = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: (tmp_path / "backup.unfinished/blobs" / key).parent.exists(), "it copies")
        wait_until(backups.removal_held, "removals are held off")
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not target.exists()
    wait_until(lambda: not backups.removal_held(), "they go on")
    fifo.unlink()
    made = backups.back_up(target)
    assert (made.blob_count, made.missing) == (0, [key])
    assert not (tmp_path / "backup.unfinished").exists()


def test_commands_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", tmp_path / "there")
    with pytest.raises(CommandError, match="no whole backup"):
        call_command("restore", tmp_path / "there", check=True)
