"""Remove the oldest end of the audit log."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.services.audit_pruning import prune
from inference_store.services.sealing import SealingError


class Command(BaseCommand):
    help = "Remove audit records that were sealed longer ago than AUDIT_DAYS, as the scheduler does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="In the place of AUDIT_DAYS.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(f"{prune(options['days']):,} audit records pruned.")
        except SealingError as error:
            raise CommandError(str(error)) from None
