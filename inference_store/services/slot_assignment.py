"""Search slots go to the keys that are used most, are filled from what is stored, and are taken back.

A key without a slot is only slower. So a slot is no answer to one odd filter, and nobody can make the store
work for keys that hold nothing: a key must have been used a few times, and be held by some recent inferences.
"""

import logging
import time
from datetime import datetime

from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected, LockNotAvailable

from inference_store.contract.errors import Refusal
from inference_store.models import Inference, RegisteredModel, SearchSlot
from inference_store.models.job import hence
from inference_store.models.search_slot import Unfit
from inference_store.query.uses import add_uses, noted, take_noted
from inference_store.services import catalogues, jobs
from inference_store.services.slots import FilledSlots, wait_for_writers

logger = logging.getLogger(__name__)
State = SearchSlot.State

FEWEST_USES = 3
MOST_WANTED = 100
"""Keys of a model remembered without a slot."""
UNUSED_SECONDS = 7 * 86_400
GRACE_SECONDS = 600
"""Until a column is another key's: longer than a read can take from looking up its slots to its end."""
SAMPLE = 1_000
FILLED_AT_ONCE = 2_000
WRITERS_SECONDS = 60
LOCK_MILLISECONDS = 500
"""Of a batch that fills: less than until PostgreSQL looks for a deadlock, so that it is we who let go."""
TURN_SECONDS = 20
WRITTEN_DOWN_EVERY_SECONDS = 10


# --- Uses ---------------------------------------------------------------------------------------------------
class _Pace:
    """When this process wrote uses down last."""

    last = 0.0


def write_down_uses(*, at_once: bool = False) -> None:
    """Add what reads noted to the keys' rows, now and then, after a request; what fails, the next time."""
    now = time.monotonic()
    if (
        connection.in_atomic_block
        or not noted()
        or (now - _Pace.last < WRITTEN_DOWN_EVERY_SECONDS and not at_once)
    ):
        return
    _Pace.last = now
    uses = take_noted()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("select set_config('statement_timeout', '1s', true)")
            for (model, type_, key), count in sorted(uses.items()):
                cursor.execute(ADD_USES, [type_, key, count, model])
    except DatabaseError as error:
        add_uses(uses)
        logger.warning("%d uses of metadata keys are written down later: %s", len(uses), error)


ADD_USES = """
    insert into inference_store_searchslot as held (type, key, uses, registered_model_id, state, after_key)
    select %s, %s, %s, id, 'wanted', 0 from inference_store_registeredmodel where id = %s
    on conflict (registered_model_id, type, key)
      do update set uses = held.uses + excluded.uses, last_used_at = now()
"""


# --- Who gets one -------------------------------------------------------------------------------------------
def assign_slots(seconds: float = TURN_SECONDS) -> int:
    """Hand out, fill and take back; how many slots became ready. Ends early: the next run goes on."""
    _forget()
    _take_back()
    for model in RegisteredModel.objects.filter(search_slots__state=State.WANTED).distinct():
        _hand_out(model)
    end, ready = time.monotonic() + seconds, 0
    for model in RegisteredModel.objects.filter(search_slots__state=State.FILLING).distinct():
        ready += fill(model, end)
    catalogues.keep_catalogues()
    return ready


def assign(*, model: RegisteredModel, type_: str, key: str) -> SearchSlot:
    """Give a key a slot now, whatever its use, and fill it."""
    slot, _ = SearchSlot.objects.get_or_create(registered_model=model, type=type_, key=key)
    if slot.state == State.LEAVING or (slot.state == State.UNFIT and slot.slot is not None):
        raise Refusal.conflict(f"The slot of {key!r} is being taken back; try again in ten minutes.")
    if slot.state in (State.WANTED, State.UNFIT) and not _give(slot):
        raise Refusal.conflict(f"All slots of {model.model_id!r} for this type are taken.")
    fill(model, float("inf"))
    slot.refresh_from_db()
    return slot


def _forget() -> None:
    """Keys that nobody uses, and those beyond the most used ones."""
    without = SearchSlot.objects.filter(slot=None)
    without.filter(last_used_at__lt=hence(-UNUSED_SECONDS)).delete()
    without.filter(state=State.UNFIT, changed_at__lt=hence(-UNUSED_SECONDS)).delete()
    for model in RegisteredModel.objects.filter(search_slots__state=State.WANTED).distinct():
        wanted = SearchSlot.objects.filter(registered_model=model, state=State.WANTED)
        kept = wanted.order_by("-uses", "-last_used_at")[:MOST_WANTED].values_list("pk", flat=True)
        wanted.exclude(pk__in=list(kept)).delete()


def _take_back() -> None:
    """Free the columns that no read may still be looking at."""
    gone = SearchSlot.objects.filter(changed_at__lt=hence(-GRACE_SECONDS), slot__isnull=False)
    gone.filter(state=State.LEAVING).update(slot=None, state=State.WANTED, uses=0, changed_at=Now())
    gone.filter(state=State.UNFIT).update(slot=None, changed_at=Now())


def _hand_out(model: RegisteredModel) -> None:
    wanted = SearchSlot.objects.filter(registered_model=model, state=State.WANTED, uses__gte=FEWEST_USES)
    full: list[tuple[str, ...]] = []
    for slot in wanted.order_by("-uses", "pk"):
        if slot.columns in full or not _is_worth_it(slot) or _give(slot):
            continue
        # One column a turn; a less used key of the other kind may still have a free one.
        full.append(slot.columns)
        unused = SearchSlot.objects.filter(
            registered_model=model, state=State.READY, slot__in=slot.columns
        ).filter(last_used_at__lt=hence(-UNUSED_SECONDS))
        if oldest := unused.order_by("last_used_at").first():
            SearchSlot.objects.filter(pk=oldest.pk).update(state=State.LEAVING, changed_at=Now())


def _is_worth_it(slot: SearchSlot) -> bool:
    """Whether recent inferences hold the key, and a slot can hold their values."""
    newest = Inference.objects.filter(registered_model=slot.registered_model).order_by("-created_at", "-id")
    reader, held = slot.reader, False
    for metadata in newest.values_list("metadata", flat=True)[:SAMPLE]:
        try:
            held = reader.value(metadata) is not None or held
        except Unfit:
            SearchSlot.objects.filter(pk=slot.pk).update(state=State.UNFIT, changed_at=Now())
            return False
    return held


def _give(slot: SearchSlot) -> bool:
    """Give it a free column; False if there is none."""
    taken = SearchSlot.objects.filter(registered_model=slot.registered_model, slot__isnull=False)
    free = [each for each in slot.columns if each not in set(taken.values_list("slot", flat=True))]
    if not free:
        return False
    catalogues.drop(slot.registered_model, free[0])  # its range is another key's
    slot.slot, slot.state, slot.after_time, slot.after_key = free[0], State.FILLING, None, 0
    slot.changed_at = Now()
    slot.save()
    return True


# --- Filling ------------------------------------------------------------------------------------------------
def fill(model: RegisteredModel, end: float) -> int:
    """Fill the model's new slots from the stored metadata, until that time; how many became ready.

    Writers fill them already. First those must be gone that began before they knew: what they store, a batch
    might pass by unseen.
    """
    slots = SearchSlot.objects.filter(registered_model=model, state=State.FILLING)
    waited_for = list(slots.values_list("pk", flat=True))
    if not wait_for_writers(model, WRITERS_SECONDS):
        return 0
    ready = 0
    while time.monotonic() < end:
        try:
            done = _fill_some(model, waited_for)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            logger.info("A batch of slots of model %s is tried again: %s", model.pk, error)
            continue
        if done is None:
            break
        ready += done
    return ready


@transaction.atomic
def _fill_some(model: RegisteredModel, waited_for: list[int]) -> int | None:
    """Fill a batch; how many slots are ready with it, None where there is nothing to do (for us)."""
    jobs.unlimited()
    with connection.cursor() as cursor:
        cursor.execute(f"set local lock_timeout = '{LOCK_MILLISECONDS}ms'")
    # Locked: somebody else's fill passes them by.
    filling = SearchSlot.objects.filter(pk__in=waited_for, state=State.FILLING)
    slots = list(filling.select_for_update(skip_locked=True).order_by("pk"))
    if not slots:
        return None
    # From where the one is that is least far: every slot is filled with each row.
    page = _next_rows(model, _least_far(slots))
    keys = sorted(key for _, key in page)
    list(
        Inference.objects.filter(pk__in=keys).select_for_update(no_key=True).order_by("pk").values_list("pk")
    )
    FilledSlots(model).write(keys)
    if len(page) < FILLED_AT_ONCE:
        return filling.update(state=State.READY, changed_at=Now())
    last_time, last_key = page[-1]
    passed = Q(after_time=None) | TupleLessThan((F("after_time"), F("after_key")), (last_time, last_key))
    filling.filter(passed).update(after_time=last_time, after_key=last_key)
    return 0


def _least_far(slots: list[SearchSlot]) -> tuple[datetime, int] | None:
    """Where the slot is that is least far filled, None at the beginning."""
    places = [(slot.after_time, slot.after_key) for slot in slots if slot.after_time is not None]
    return min(places) if len(places) == len(slots) else None


def _next_rows(model: RegisteredModel, after: tuple[datetime, int] | None) -> list[tuple[datetime, int]]:
    found = Inference.objects.filter(registered_model=model)
    if after is not None:
        found = found.filter(TupleGreaterThan((F("created_at"), F("id")), after))
    return list(found.order_by("created_at", "id").values_list("created_at", "id")[:FILLED_AT_ONCE])
