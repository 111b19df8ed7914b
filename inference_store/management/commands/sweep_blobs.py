from typing import Any

from django.core.management.base import BaseCommand

from inference_store.services.sweeping import sweep_blobs


class Command(BaseCommand):
    help = "Remove blobs that a crash left behind and uploads that nobody claimed."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{sweep_blobs()} blobs removed.")
