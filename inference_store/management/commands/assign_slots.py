"""Give the metadata keys that a model is searched by their search slots, now."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inference_store.contract.errors import Refusal
from inference_store.models import RegisteredModel, SearchSlot
from inference_store.models.search_slot import slot_type
from inference_store.services import slot_assignment


class Command(BaseCommand):
    help = (
        "Give the metadata keys that are searched most their search slots, as the scheduler does; or one key "
        "of one model, however much it is searched. Returns when they are filled."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", help="The model's id.")
        parser.add_argument("--key", help="A metadata key; x.y for y inside the JSON value of x.")
        types = dict.fromkeys(
            slot_type(type_) for type_, _ in SearchSlot._meta.get_field("type").choices or ()
        )
        parser.add_argument("--type", choices=list(types), help="Its type, as filters name it.")

    def handle(self, *args: Any, **options: Any) -> None:
        given = [options[name] for name in ("model", "key", "type")]
        if not any(given):
            self.stdout.write(f"{slot_assignment.assign_slots(seconds=float('inf'))} slots became ready.")
            return
        if not all(given):
            raise CommandError("Give --model, --key and --type together, or none of them.")
        model = RegisteredModel.objects.filter(model_id=options["model"]).first()
        if model is None:
            raise CommandError(f"There is no model {options['model']!r}.")
        try:
            slot = slot_assignment.assign(model=model, type_=options["type"], key=options["key"])
        except Refusal as refusal:
            raise CommandError(refusal.message) from None
        self.stdout.write(f"{slot}: {slot.get_state_display()}")
        if slot.state != SearchSlot.State.READY:
            raise CommandError("The key has no slot.")
