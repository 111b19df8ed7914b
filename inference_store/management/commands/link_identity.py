"""Let somebody whom an OpenID provider knows sign in as a user of ours."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from inference_store.models import User
from inference_store.services import identities


class Command(BaseCommand):
    help = "Let the provider's subject sign in as that user, an administrator for example."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("subject", nargs="?", help="The claim `sub` there; not the e-mail.")
        parser.add_argument("--issuer", default="", help="The provider's address; OIDC_ISSUER, unless given.")
        parser.add_argument("--remove", action="store_true", help="Take it back: by password alone again.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        issuer = options["issuer"] or settings.OIDC_ISSUER
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        if not issuer:
            raise CommandError("Set OIDC_ISSUER, or name the provider with --issuer.")
        if options["remove"]:
            self.stdout.write(f"{identities.unlink(user, issuer)} removed.")
            return
        if not options["subject"]:
            raise CommandError("Name the subject: what the provider's claim `sub` holds.")
        try:
            identity = identities.link(user, issuer, options["subject"])
        except IntegrityError:
            raise CommandError("That subject is somebody's already.") from None
        self.stdout.write(f"{identity} signs in as {user.get_username()}.")
