"""Make a release's data for the upgrade test: docs/releases.md.

    python -m tools.upgrade_data 0.1.0 [COMMIT]

fills an empty store by the code of the commit (HEAD unless given) and writes tests/upgrades/0.1.0.sql.gz, a
plain dump, and 0.1.0.json.gz, what it holds.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference_store.embedded import home, postgres
from inference_store.embedded.redis import Redis

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests/upgrades"
AUDIT_KEY = "the key of the upgrade test's audit logs"
LARGEST = 200_000


def make(name: str, commit: str) -> None:
    with tempfile.TemporaryDirectory(prefix="upgrade-") as place:
        state = Path(place)
        state.chmod(0o711)
        os.environ["INFERENCE_STORE_HOME"] = str(state)
        with _tree(state / "tree", commit) as tree, _servers():
            _python(tree, "manage.py", "migrate", "--verbosity=0")
            _python(tree, str(ROOT / "tools/upgrade_filling.py"), str(state / "told.json"))
            dump = _dump()
        for suffix, content in (("sql", dump), ("json", (state / "told.json").read_bytes())):
            packed = gzip.compress(content, mtime=0)
            if len(packed) > LARGEST:
                raise SystemExit(f"{suffix}: {len(packed):,} bytes are too many to keep")
            (TARGET / f"{name}.{suffix}.gz").write_bytes(packed)


@contextmanager
def _tree(path: Path, commit: str) -> Iterator[Path]:
    """The commit's files."""
    git = shutil.which("git") or "git"
    subprocess.run([git, "worktree", "add", "--quiet", "--detach", path, commit], cwd=ROOT, check=True)  # noqa: S603
    try:
        yield path
    finally:
        subprocess.run([git, "worktree", "remove", "--force", path], cwd=ROOT, check=True)  # noqa: S603


@contextmanager
def _servers() -> Iterator[None]:
    database, redis = postgres.Postgres(durable=False), Redis()
    database.start()
    redis.start()
    try:
        yield
    finally:
        redis.stop()
        database.stop()


def _python(tree: Path, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    environment |= {"PYTHONPATH": str(tree), "AUDIT_KEY": AUDIT_KEY, "VECTOR_INDEX_ROWS": "20"}
    subprocess.run([sys.executable, *words], cwd=tree, env=environment, check=True)  # noqa: S603


def _dump() -> bytes:
    """Of no owner and no rights: it is loaded by whoever tests."""
    program = postgres._software(home.postgres_account()) / "pg_dump"
    at = ["--host", home.postgres_socket_directory(), "--username", home.ROLE, "--dbname", home.DATABASE]
    options = ["--no-owner", "--no-privileges", "--no-comments", "--exclude-table-data=django_session"]
    return subprocess.run([program, *at, *options], capture_output=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "HEAD")
