"""`manage.py up`: the whole store on this machine, in the foreground."""

import hashlib
import time
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connections
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from inference_store.checks import refuse_unsafe_settings
from inference_store.embedded import home
from inference_store.embedded.process import DiedError
from inference_store.embedded.store import Store


class Command(BaseCommand):
    help = "Run the whole store in the foreground: database, broker, web server, worker and scheduler."
    requires_system_checks = []  # refuse_unsafe_settings says what must hold, in fewer words

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
        parser.add_argument("--no-demo", action="store_true", help="leave a new store empty")

    def handle(self, *args: Any, host: str, port: int, no_demo: bool, **options: Any) -> None:
        try:
            refuse_unsafe_settings()
            Store(
                host=host,
                port=port,
                public_url=settings.PUBLIC_URL,
                host_header=settings.ALLOWED_HOSTS[0],
                prepare=self.prepare,
                demo=not no_demo,
                say=self.say,
            ).run()
        except (home.UnusableError, DiedError, ImproperlyConfigured) as error:
            self.refuse(str(error))
        except OperationalError as error:
            self.refuse(f"The database does not answer (DATABASE_URL): {error}")
        except RedisError as error:
            self.refuse(f"Redis does not answer (REDIS_URL): {error}")

    def refuse(self, message: str) -> NoReturn:
        self.stderr.write(message)
        raise SystemExit(1) from None

    def say(self, line: str) -> None:
        self.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}")
        self.stdout.flush()

    def prepare(self) -> None:
        """Bring the database, the static files and the first administrator up to date."""
        try:
            cache.get("")  # refuses now rather than at the first job, if there is no Redis
            self.migrate()
            self.collect_static()
            call_command("bootstrap")
        finally:
            # The pool has threads of its own, and none should be left when children are forked.
            for connection in connections.all(initialized_only=True):
                connection.close()
                connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has it

    def migrate(self) -> None:
        connection = connections["default"]
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
        began = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # an index on a long table takes as long as it takes
        call_command("migrate", verbosity=0, interactive=False)
        self.say(f"Database migrated ({time.monotonic() - began:.1f} s)")

    def collect_static(self) -> None:
        """Collect, hash and compress the static files if any has changed since the last time."""
        stamp = home.directory() / "static.stamp"
        now = _static_fingerprint()
        manifest = Path(settings.STATIC_ROOT, "staticfiles.json")
        if manifest.exists() and stamp.exists() and stamp.read_text() == now:
            return
        began = time.monotonic()
        call_command("collectstatic", verbosity=0, interactive=False)
        stamp.write_text(now)
        self.say(f"Static files collected ({time.monotonic() - began:.1f} s)")


def _static_fingerprint() -> str:
    """Changes when any static file, or where they are collected, does."""
    digest = hashlib.sha256(str(settings.STATIC_ROOT).encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            found = Path(storage.path(path)).stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
