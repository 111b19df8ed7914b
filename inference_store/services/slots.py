"""Whoever writes metadata fills the model's search slots with it, in the same transaction."""

import json
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from inference_store.models import RegisteredModel, SearchSlot
from inference_store.models.inference import NUMBER_SLOTS
from inference_store.models.search_slot import Unfit

LOCK_CLASS = 1_936_487_540
"""Of the advisory locks, by model, that writers share from before they read the slots until they commit."""

POLL_SECONDS = 0.02
TURN = """
    select distinct virtualtransaction from pg_locks
     where locktype = 'advisory' and classid = %s and objid = %s and objsubid = 2
       and database = (select oid from pg_database where datname = current_database())
       and pid <> pg_backend_pid()
"""


class FilledSlots:
    """The slots of a model as its writers fill them, until the caller's transaction ends."""

    def __init__(self, model: RegisteredModel) -> None:
        with connection.cursor() as cursor:
            # A statement of its own: what the next one reads is then what any assignment waits for.
            cursor.execute("select pg_advisory_xact_lock_shared(%s, %s)", [LOCK_CLASS, model.pk])
        self._slots = list(SearchSlot.objects.written(model))
        self._readers = [slot.reader for slot in self._slots]
        self._unfit: set[int] = set()
        self.columns: tuple[str, ...] = tuple(str(slot.slot) for slot in self._slots)

    def values(self, metadata: Mapping[str, Mapping[str, Any]]) -> tuple[float | str | None, ...]:
        """What the metadata put in each column; None where a slot can't hold it."""
        found: list[float | str | None] = []
        for position, reader in enumerate(self._readers):
            try:
                found.append(reader.value(metadata))
            except Unfit:
                self._unfit.add(self._slots[position].pk)
                found.append(None)
        return tuple(found)

    def finish(self) -> None:
        """After the last row: slots that could not hold a value are searched no more."""
        for key in sorted(self._unfit):
            slots = SearchSlot.objects.filter(pk=key).exclude(state=SearchSlot.State.UNFIT)
            slots.update(state=SearchSlot.State.UNFIT, changed_at=Now())

    def write(self, keys: Iterable[int]) -> int:
        """Fill these rows, which the caller has locked, from their metadata; how many differed."""
        if not self.columns:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(
                "select id, metadata::text from inference_store_inference where id = any(%s)", [list(keys)]
            )
            rows = [(key, *self.values(parsed(text))) for key, text in cursor.fetchall()]
            self.finish()
            if not rows:
                return 0
            cursor.execute(self._update(), [list(values) for values in zip(*rows, strict=True)])
            return int(cursor.rowcount)

    def _update(self) -> str:
        types = ["bigint", *("float8" if each in NUMBER_SLOTS else "text" for each in self.columns)]
        columns = ", ".join(self.columns)
        return (
            f"update inference_store_inference held set ({columns}) = row(new.{', new.'.join(self.columns)}) "  # noqa: S608
            f"from unnest({', '.join(f'%s::{each}[]' for each in types)}) new(id, {columns}) "
            f"where held.id = new.id and ({', '.join(f'held.{each}' for each in self.columns)}) "
            f"is distinct from ({', '.join(f'new.{each}' for each in self.columns)})"  # nosec B608
        )


def parsed(text: str) -> dict[str, dict[str, Any]]:
    """Metadata as the database holds them; numbers with a fraction as they are spelled."""
    found: dict[str, dict[str, Any]] = json.loads(text, parse_float=Decimal)
    return found


def wait_for_writers(model: RegisteredModel, seconds: float) -> bool:
    """Wait until all have ended that may have read the slots as they were; False if some take longer.

    Nobody waits for us meanwhile: whoever begins now reads the slots as they are.
    """
    end = time.monotonic() + seconds
    before = _writers(model)
    while before and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        before &= _writers(model)
    return not before


def _writers(model: RegisteredModel) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(TURN, [LOCK_CLASS, model.pk])
        return {name for (name,) in cursor.fetchall()}
