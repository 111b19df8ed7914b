from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference_store.services.backups import BackupError, check, restore


class Command(BaseCommand):
    help = "Fill an empty database and the blob store from a backup, which is checked first."
    requires_system_checks = []  # there are no tables yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("--check", action="store_true", help="Only say whether the backup is whole.")

    def handle(self, *args: Any, **options: Any) -> None:
        act = check if options["check"] else restore
        try:
            found = act(options["source"], self.stdout.write)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        if not options["check"]:
            self.stdout.write(f"Restored: the database of {found.created_at} and {found.blob_count} blobs.")
