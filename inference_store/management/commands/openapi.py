# mypy: allow-untyped-calls
"""Write docs/openapi.json, the OpenAPI document as the server gives it."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.validation import validate_schema

from inference_store.api.document import document


class Command(BaseCommand):
    help = "Write docs/openapi.json; with --check only say whether it is current."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="Write nothing; fail if it is not current.")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = settings.BASE_DIR / "docs" / "openapi.json"
        text = document()
        validate_schema(json.loads(text))
        if options["check"]:
            if not path.exists() or path.read_text() != text:
                raise CommandError(f"{path.name} is not current: run `manage.py openapi`.")
            return
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.stdout.write(f"Wrote {path.relative_to(settings.BASE_DIR)}.")
