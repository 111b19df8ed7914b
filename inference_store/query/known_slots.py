"""The search slots of a model as this process saw them last, so that a search need not ask for them first.

The statement that searches says by which slots it should have been: if by others, it is asked again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from inference_store import statements
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import RegisteredModel, SearchSlot
from inference_store.query.recent import Recent

SPELLED = f"""array(
    select type || ' ' || slot || ' ' || key from {SearchSlot._meta.db_table}
     where registered_model_id = %s and state = 'ready' order by slot)"""  # noqa: S608 # nosec B608
"""What a statement selects to say which slots there are at its moment; its value is the model's key."""
Answer = TypeVar("Answer")


class SlotsChangedError(LookupError):
    """The slots are not those that were known."""


@dataclass(frozen=True, slots=True)
class KnownSlots:
    """The column by (type, key), and the same as `SPELLED` has it."""

    by_key: Mapping[tuple[str, str], str]
    spelled: list[str] | None

    def check(self, spelled: list[str]) -> None:
        if self.spelled is not None and spelled != self.spelled:
            raise SlotsChangedError


NOT_ASKED = KnownSlots({}, None)


_known: Recent[int, KnownSlots] = Recent()
"""Who finds no slot for a key in it asks no statement that could say otherwise, until it is read again."""


def by_known_slots(
    model: RegisteredModel, filters: BaseInferenceFilter | None, ask: Callable[[KnownSlots], Answer]
) -> Answer:
    """The answer by the slots that are known, or by those there are: `ask` checks what its statement says."""
    if not (filters and filters.metadata_filter):
        return ask(NOT_ASKED)
    return by_slots_of_any(model, ask)


def by_slots_of_any(model: RegisteredModel, ask: Callable[[KnownSlots], Answer]) -> Answer:
    """The same where it asks for more keys than a filter's."""
    while True:
        try:
            return ask(_known.get(model.pk, lambda: _read(model)))
        except SlotsChangedError:
            _known.forget(model.pk)


def _read(model: RegisteredModel) -> KnownSlots:
    rows: list[tuple[Any, ...]] = statements.rows(f"select {SPELLED}", [model.pk])
    spelled: list[str] = rows[0][0]
    parts = [each.split(" ", 2) for each in spelled]
    return KnownSlots({(type_, key): slot for type_, slot, key in parts}, spelled)
