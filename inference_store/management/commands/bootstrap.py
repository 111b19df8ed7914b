"""On an empty store: the first administrator, the first project, the first token."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from inference_store.contract.enums import AuditAction
from inference_store.embedded import home
from inference_store.models import Membership, Project, Role, Token, User
from inference_store.services import audit, tokens

USERNAME = "admin"
PROJECT = "demo"
LOCK = 7_305_441_602
"""Of two first starts at once, one makes them."""


class Command(BaseCommand):
    help = "Where there is no user yet: make an administrator, a project and a token, and print them once."

    def handle(self, *args: Any, **options: Any) -> None:
        password = secrets.token_urlsafe(12)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("select pg_advisory_xact_lock(%s)", [LOCK])
            if User.objects.exists():
                return
            user = User.objects.create_superuser(USERNAME, password=password)
            project, _ = Project.objects.get_or_create(project_id=PROJECT, defaults={"name": "Demo"})
            Membership.objects.create(user=user, project=project, role=Role.ADMIN)
            _, secret = Token.objects.issue(user, "first token", tokens.expiry(tokens.default_days()))
            audit.record(
                AuditAction.USER_CREATE,
                project_id=PROJECT,
                details={"user": USERNAME, "token": secret[:8], "first": True},
            )
            path = write_private(home.make_directory(home.directory()) / "first_token", secret)
        self.stdout.write(
            "This store is new. Keep these; they are shown this once:\n"
            f"  login      {USERNAME}\n"
            f"  password   {password}\n"
            f"  API token  {secret}\n"
            f"Until demo data are in, the token is also in {path}, for its owner to read."
        )


def write_private(path: Path, text: str) -> Path:
    """Write a file that its owner alone reads, whatever was there before."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text + "\n")
    return path
