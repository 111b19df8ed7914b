"""Issue an API token to a user and print it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.models import Project, Role, User
from inference_store.services import tokens
from inference_store.services.access import project_for

SCOPES = [scope.value for scope in TokenScope]


class Command(BaseCommand):
    help = "Issue an API token to a user. It is printed this once and kept nowhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", help="What uses it, to know it by; the time, unless given.")
        parser.add_argument("--description", default="", help="More about that.")
        parser.add_argument(
            "--scope",
            action="append",
            choices=SCOPES,
            help="What it may do, each; all, unless given.",
        )
        parser.add_argument("--project", help="The one project that it is good for; all, unless given.")
        ends = parser.add_mutually_exclusive_group()
        ends.add_argument("--days", type=int, help="How long it is good for; TOKEN_DAYS, unless given.")
        ends.add_argument("--never-expires", action="store_true", help="Where TOKEN_MAXIMUM_DAYS allows it.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['username']!r}.")
        days = options["days"]
        if days is None and not options["never_expires"]:
            days = tokens.default_days()
        try:
            _, secret = tokens.create_token(
                user=user,
                name=options["name"] or f"command line {timezone.now():%Y-%m-%d %H:%M:%S.%f}",
                days=days,
                scopes=[TokenScope(each) for each in options["scope"] or SCOPES],
                project=_project(user, options["project"]),
                description=options["description"],
            )
        except Refusal as refusal:
            raise CommandError(refusal.message) from None
        self.stdout.write(secret)


def _project(user: User, project_id: str | None) -> Project | None:
    return project_for(user, project_id, Role.VIEWER) if project_id else None
