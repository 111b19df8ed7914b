from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference_store.services.backups import BackupError, back_up


class Command(BaseCommand):
    help = "Write the database as of now and every blob that it names into a new directory."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", type=Path)
        parser.add_argument(
            "--since",
            type=Path,
            metavar="BACKUP",
            help="An earlier one on this disk, whose blobs are linked.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = back_up(options["target"], options["since"], self.stdout.write)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        for key in made.missing:
            self.stderr.write(f"The bytes of {key} were gone before.")
        self.stdout.write(f"{options['target']} holds {made.blob_count} blobs of {made.blob_bytes:,} bytes.")
