from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.services.sealing import SealingError, seal_records


class Command(BaseCommand):
    help = "Seal the audit records that are committed, as the scheduler does every few seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(f"{seal_records()} records sealed.")
        except SealingError as error:
            raise CommandError(str(error)) from None
