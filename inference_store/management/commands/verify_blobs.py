from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.services.verification import verify_blobs


class Command(BaseCommand):
    help = "Report stored inputs whose bytes don't match the hash and size their sender gave."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        for found in verify_blobs():
            count += 1
            self.stdout.write(f"{found.model_id}/{found.inference_id}: {found.key} {found.what}")
        if count:
            raise CommandError(f"{count} inputs don't match.")
        self.stdout.write("Every stored input matches its hash and size.")
