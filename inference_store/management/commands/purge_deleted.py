from typing import Any

from django.core.management.base import BaseCommand

from inference_store.services.retention import purge_previews
from inference_store.services.soft_deletion import purge_deleted


class Command(BaseCommand):
    help = "Remove for good what was softly deleted long enough ago, and old lists of dry runs."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{purge_deleted()} softly deleted inferences purged.")
        self.stdout.write(f"{purge_previews()} items of dry runs' lists purged.")
