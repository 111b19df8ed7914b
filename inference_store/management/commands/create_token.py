"""Issue an API token to a user and print it."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from inference_store.contract.enums import AuditAction
from inference_store.models import Token, User
from inference_store.services import audit

LONGEST_DAYS = 36_500


class Command(BaseCommand):
    help = "Issue an API token to a user. It is printed this once and kept nowhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line", help="What uses it, to know it by.")
        parser.add_argument("--days", type=int, help="How long it is good for; without it, for ever.")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and not 1 <= days <= LONGEST_DAYS:
            raise CommandError(f"--days must be 1 to {LONGEST_DAYS}.")
        if len(options["name"]) > (longest := Token._meta.get_field("name").max_length or 0):
            raise CommandError(f"--name must be at most {longest} characters.")
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['username']!r}.")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        with transaction.atomic():
            token, secret = Token.objects.issue(user, options["name"], expires_at)
            details = {"user": user.get_username(), "token": token.hint, "name": token.name}
            audit.record(AuditAction.TOKEN_CREATE, details=details)
        self.stdout.write(secret)
