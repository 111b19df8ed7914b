"""Bring back what retention deleted softly."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from inference_store.models import RegisteredModel
from inference_store.services.soft_deletion import restore_deleted


class Command(BaseCommand):
    help = (
        "Bring back inferences that retention deleted softly, with metadata and entries; their inputs are "
        "gone. They are as old as they were: protect them, or the next run takes them again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", required=True, help="The model's id.")
        parser.add_argument("--inference-id", action="append", help="Only this id; may be repeated.")
        parser.add_argument("--task", type=UUID, help="Only what this retention task deleted.")

    def handle(self, *args: Any, **options: Any) -> None:
        model = RegisteredModel.objects.filter(model_id=options["model"]).first()
        if model is None:
            raise CommandError(f"There is no model {options['model']!r}.")
        ids = options["inference_id"]
        told = restore_deleted(model=model, inference_ids=ids, task_id=options["task"])
        for inference_id in told.refused:
            self.stderr.write(f"{inference_id}: not restored, as an inference of that id is stored.")
        self.stdout.write(f"{len(told.restored)} inferences restored, {len(told.refused)} not.")
        if missing := sorted(set(ids or ()) - {*told.restored, *told.refused}):
            raise CommandError(f"Not softly deleted: {', '.join(missing)}")
