"""`manage.py demo`: real inferences of real models, sent to a running store through its SDK."""

import logging
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.client import connection
from inference_store.client.errors import UNREACHABLE, InferenceStoreError

EXTRA = "the demo needs scikit-learn, scikit-image and OpenCV: pip install 'inference-store[demo]'"
FIRST_PROJECT = "demo"


class Command(BaseCommand):
    help = (
        "Runs models on pictures and texts that come inside Python packages and stores what they inferred, "
        "over HTTP. What is there already is not sent again."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="the store's address, else INFERENCE_STORE_URL")
        parser.add_argument("--token", help="an API token of an editor, else INFERENCE_STORE_TOKEN")
        parser.add_argument("--project", default=FIRST_PROJECT, help="the project to register models in")
        parser.add_argument("--scale", type=float, default=1.0, help="how much of it; 0.1 is a tenth")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["scale"] <= 1:
            raise CommandError("--scale must be above 0 and at most 1")
        try:
            # Not at the top: manage.py lists its commands where the extra is not installed, too.
            from inference_store.demo.catalogue import MODELS
        except ImportError as error:
            raise CommandError(f"{EXTRA} ({error})") from error
        # A line a request would bury a line a model.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            connection.connect(options["url"], options["token"])
            self._run(MODELS, options["project"], options["scale"])
        except InferenceStoreError as error:
            raise CommandError(_advice(error, options["project"])) from error
        finally:
            connection.disconnect()

    def _run(self, models: Any, project: str, scale: float) -> None:
        from inference_store.demo import sending

        began = time.monotonic()
        known = [sending.stored(model) for model in models]
        start = sending.first_day(known, datetime.now(UTC))
        for model, there in zip(models, known, strict=True):
            self.stdout.write(f"{model.model_id:<20} {model.task_type.value:<28}", ending="")
            self.stdout.flush()
            at = time.monotonic()
            sent = sending.send(model, project, there, start, scale)
            self.stdout.write(
                f"{sent.count:>5} inferences, {sent.new:>4} new  {time.monotonic() - at:5.1f} s"
            )
        totals = {model.model_id: sending.total(model) for model in models}
        self.stdout.write(
            f"There now: {sum(totals.values())} inferences of {len(totals)} models in the project {project}, "
            f"from {start - sending.SPAN:%Y-%m-%d} on. {time.monotonic() - began:.1f} s"
        )


def _advice(error: InferenceStoreError, project: str) -> str:
    if error.code == UNREACHABLE:
        return f"{error.message}. Is it running? `make up` starts one; --url names another."
    if error.status == 401:
        return f"{error}. Give a token with --token or INFERENCE_STORE_TOKEN."
    if error.status in (403, 404):
        return f"{error}. The token's user must be an editor of the project {project!r} (or give --project)."
    return str(error)
