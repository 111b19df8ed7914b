"""Tell whether the audit log is as it was sealed."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.services import sealing
from inference_store.services.audit_verification import verify
from inference_store.services.sealing import Head


class Command(BaseCommand):
    help = (
        "Go through the audit log and tell what was changed, removed, inserted or put in another order since "
        "it was sealed. A cut end is found by a head that was kept elsewhere: --head, or AUDIT_HEAD_FILE."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head",
            action="append",
            default=[],
            help="number:seal, or a file that holds some, such as a log; may be repeated.",
        )
        parser.add_argument("--project", help="Check the lists of inferences of this project's records only.")

    def handle(self, *args: Any, **options: Any) -> None:
        heads = [head for text in options["head"] for head in _heads(text)]
        if (kept := sealing.kept_head()) is not None:
            heads.append(kept)
        found = verify(heads, options["project"])
        for line in found.wrong:
            self.stdout.write(line)
        if found.wrong:
            raise CommandError(f"The audit log is not as it was sealed: {len(found.wrong)} findings.")
        pruned = f" Up to number {found.pruned.sequence:,} it was pruned." if found.pruned.sequence else ""
        if found.not_compared:
            pruned += f" {found.not_compared:,} heads from before that can't be compared any more."
        compared = ""
        if len(heads) <= found.not_compared:
            compared = " No head from elsewhere was compared: a cut end would not show."
        self.stdout.write(
            f"{found.sealed:,} sealed records are as they were; {found.waiting:,} wait for their seal. "
            f"Head {found.head}.{pruned}{compared}"
        )


def _heads(text: str) -> list[Head]:
    if found := list(sealing.heads_in(text)):
        return found
    if not Path(text).is_file():
        raise CommandError(f"{text!r} is neither number:seal nor a file.")
    with open(text) as file:
        found = [head for line in file for head in sealing.heads_in(line)]
    if not found:
        raise CommandError(f"{text} holds no number:seal.")
    return found
