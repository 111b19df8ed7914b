"""Search slots: columns beside the metadata that hold the values of the keys a model is searched by.

The jsonb stays the record; a slot says the same in a form that an index answers alone (docs/decisions/0008).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store import statements
from inference_store.contract.enums import MetadataFilterType
from inference_store.contract.filters import split_path
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from inference_store.models.registered_model import RegisteredModel

LONGEST_SLOT_BYTES = 1_024
"""Of a string: an index row holds 2,700 bytes."""
LARGEST_CERTAIN_INTEGER = 2**53


class Unfit(Exception):  # noqa: N818  (a verdict on a value, no fault)
    """A value that a slot can't hold just as the metadata does."""


def double_of(number: float | Decimal) -> float:
    """The double whose shortest spelling is that number; Unfit where none is.

    Between such doubles every comparison comes out as between the numbers themselves.
    """
    try:
        double = float(number) + 0.0  # jsonb knows no -0.0
    except OverflowError:
        raise Unfit from None
    if isinstance(number, int) and abs(number) <= LARGEST_CERTAIN_INTEGER:
        return double
    if not isinstance(number, float) and (not math.isfinite(double) or Decimal(repr(double)) != number):
        raise Unfit
    return double


def text_of(text: str) -> str:
    """The text itself; Unfit where an index row could not hold it."""
    if len(text) * 4 > LONGEST_SLOT_BYTES and len(text.encode()) > LONGEST_SLOT_BYTES:
        raise Unfit
    return text


def slot_type(filter_type: str) -> str:
    """The type under which a slot is kept: one for all numbers at a JSON path."""
    return "json.float" if filter_type == "json.int" else filter_type


SEARCHED = """
    select type, key, slot from inference_store_searchslot where registered_model_id = %s and state = 'ready'
"""
"""Asked before every search by metadata."""


class SearchSlotQuerySet(models.QuerySet["SearchSlot"]):
    def written(self, model: RegisteredModel) -> "SearchSlotQuerySet":
        """What writers fill, in a fixed order."""
        states = (SearchSlot.State.FILLING, SearchSlot.State.READY)
        return self.filter(registered_model=model, state__in=states).order_by("pk")

    def searched(self, model: RegisteredModel) -> dict[tuple[str, str], str]:
        """The column by (type, key), of the slots that say all that the metadata say."""
        rows = statements.rows(SEARCHED, [model.pk])
        return {(type_, key): slot for type_, key, slot in rows}


class SearchSlot(models.Model):
    """A key that a model is searched by, and the column that holds its values once it has one."""

    class State(models.TextChoices):
        WANTED = "wanted", "wanted: is searched by, without a slot"
        FILLING = "filling", "filling: writers fill it, older rows are being filled"
        READY = "ready", "ready: searched"
        LEAVING = "leaving", "leaving: neither filled nor searched; the column is soon another's"
        UNFIT = "unfit", "unfit: there is a value that a slot can't hold exactly"

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, db_index=False, related_name="search_slots"
    )
    # As filters name it; json.float stands for json.int too.
    type = models.CharField(
        max_length=11,
        db_collation="C",
        choices=[(each.value, each.value) for each in MetadataFilterType if each.value != "json.int"],
    )
    key = models.TextField(db_collation="C")
    slot = models.CharField(  # noqa: DJ001  (null: none)
        max_length=2, null=True, choices=[(each, each) for each in (*NUMBER_SLOTS, *STRING_SLOTS)]
    )
    state = models.CharField(max_length=7, choices=State.choices, default=State.WANTED)
    changed_at = models.DateTimeField(db_default=Now(), help_text="When the state changed last.")
    uses = models.BigIntegerField(default=0)
    last_used_at = models.DateTimeField(db_default=Now())
    # How far filling got.
    after_time = models.DateTimeField(null=True)
    after_key = models.BigIntegerField(default=0)

    objects = SearchSlotQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "type", "key", name="search_slot_key"),
            models.UniqueConstraint("registered_model", "slot", name="search_slot_column"),
            models.CheckConstraint(
                condition=~Q(state__in=("filling", "ready", "leaving")) | Q(slot__isnull=False),
                name="search_slot_has_column",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.type})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that could hold it."""
        return STRING_SLOTS if self.type in ("string", "json.string") else NUMBER_SLOTS

    @property
    def reader(self) -> "SlotReader":
        in_json = self.type.startswith("json.")
        path = split_path(self.key) if in_json else [self.key]
        return SlotReader("json" if in_json else self.type, tuple(path), self.columns is STRING_SLOTS)


@dataclass(frozen=True, slots=True)
class SlotReader:
    """Reads from an inference's metadata what a slot holds."""

    held_under: str
    path: tuple[str, ...]
    is_text: bool

    def value(self, metadata: Mapping[str, Mapping[str, Any]]) -> float | str | None:
        """None where there is none of that type; Unfit where a slot can't hold it."""
        found: Any = metadata.get(self.held_under)
        for position, segment in enumerate(self.path):
            if isinstance(found, Mapping):
                found = found.get(segment)
            elif isinstance(found, list) and position and segment.isascii() and segment.isdigit():
                found = found[int(segment)] if int(segment) < len(found) else None
            else:
                return None
        if self.is_text:
            return text_of(found) if isinstance(found, str) else None
        if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
            return None
        return double_of(found)
