from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.models import RegisteredModel, VectorIndex
from inference_store.services.vector_indexes import build_due


class Command(BaseCommand):
    help = (
        "Build the vector indexes that nearest-neighbour search uses, over all that is stored by now, as the "
        "scheduler does in time. Returns when they are built."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", help="Only those of the model of this id.")

    def handle(self, *args: Any, **options: Any) -> None:
        model = None
        if options["model"]:
            model = RegisteredModel.objects.filter(model_id=options["model"]).first()
            if model is None:
                raise CommandError(f"There is no model {options['model']!r}.")
        built = build_due(model, at_once=True)
        self.stdout.write(f"{built} vector indexes built.")
        shown = VectorIndex.objects.filter(state__in=["ready", "building", "failed"])
        for index in shown.filter(registered_model=model) if model else shown:
            found = "" if index.recall is None else f", recall {index.recall:.4f}"
            self.stdout.write(
                f"{index.registered_model} {index.metric}: {index.row_count:,} embeddings, "
                f"{index.get_state_display()}{found} {index.error}".rstrip()
            )
