"""Segments are built in the background, while everybody reads and writes (docs/decisions/0023-segments.md).

First the segment is committed as one that is being built: from then on triggers write down what changes in
it. When those have ended that were writing before, one transaction reads the rows, and takes away the changes
that it sees in them already.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from inference_store.models import (
    Catalogue,
    Inference,
    RegisteredModel,
    SearchSlot,
    Segment,
    SegmentChange,
    SegmentColumn,
)
from inference_store.models.inference import NUMBER_SLOTS
from inference_store.models.job import hence
from inference_store.models.segment import KEY, PLACE, TIME
from inference_store.services import jobs
from inference_store.services.background import Background
from inference_store.services.writers import INFERENCE_IDS, INFERENCES, wait_for_holders

logger = logging.getLogger(__name__)
State = Segment.State

FEWEST_ROWS = 50_000
"""Of a model; fewer are counted as quickly."""
FEWEST_NEW = 10_000
NEW_SHARE = 1 / 32
"""Of a model's rows, so many that are new are worth a segment."""
MOST_PASSED_BY = 100_000
"""Ids of other models beyond the last watermark, which every count passes by."""
MOST_ROWS = 2_000_000
"""In one segment: PostgreSQL puts its columns together in memory."""
MOST_CHANGES = 1_000
"""In one segment, until it is built again."""
REST = 20
"""Times as long as it took, it is not built again for changes alone."""
LOCK_KEY = 7_305_804_402
"""Of the advisory lock of the one who builds."""

NEXT_ROWS = f"""
    select count(*), max(id) from (
        select id from {INFERENCES} where registered_model_id = %s and id > %s order by id limit %s) next
"""  # noqa: S608 # nosec B608
WRITE = f"""
    insert into {SegmentColumn._meta.db_table} (segment_id, name, content, sample)
    select %(segment)s, name, content, coalesce(sample, '') from (
        select {{sent}} from (
            select id, {TIME}, {{numbers}}, row_number() over in_order %% %(step)s = 0 as is_sampled
              from {INFERENCES}
             where registered_model_id = %(model)s and id > %(after)s and id <= %(watermark)s
            window in_order as (order by {TIME}, id) order by {TIME}, id offset 0) held
    ) sent, lateral (values {{columns}}) each(name, content, sample) where content is not null
"""  # noqa: S608 # nosec B608
LENGTH = f"""
    select octet_length(content) / 8 from {SegmentColumn._meta.db_table}
     where segment_id = %s and name = '{TIME}'
"""  # noqa: S608 # nosec B608
SENT = {KEY: "int8send(id)", TIME: f"timestamptz_send({TIME})"}
NUMBER_SENT = "float8send(coalesce({0}, 'NaN'))"
SAMPLED = 1_000
"""Rows of a segment."""


_building = Background("Building segments")


@dataclass(frozen=True, slots=True)
class Plan:
    """A segment to build over the ids from `after` on; it takes the place of `replaced`."""

    model: RegisteredModel
    after: int
    watermark: int
    rows: int
    replaced: list[Segment]


def build_in_background() -> bool:
    """Build what is due, so that a long build holds up no job; False where this process is at it already."""
    return _building.begin(lambda: build_due())


def build_due(only: RegisteredModel | None = None) -> int:
    """Build every segment that is due; how many were built. 0 where somebody is at it."""
    built = 0
    with _alone() as alone:
        if alone:
            _clear_up()
            for model in RegisteredModel.objects.order_by("pk") if only is None else [only]:
                while (plan := _plan(model)) is not None and _build(plan):
                    built += 1
    return built


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether nobody else builds. The lock goes with its connection."""
    alone = bool(_value("select pg_try_advisory_lock(%s)", [LOCK_KEY]))
    try:
        yield alone
    finally:
        if alone and connection.connection is not None and not connection.connection.closed:
            _value("select pg_advisory_unlock(%s)", [LOCK_KEY])


def _clear_up() -> None:
    """What a builder left that died, and changes in what is no more."""
    Segment.objects.filter(state=State.BUILDING).delete()
    known = Segment.objects.all()
    SegmentChange.objects.exclude(registered_model_id__in=known.values("registered_model_id")).delete()
    SegmentChange.objects.filter(segment_id__isnull=False).exclude(segment_id__in=known.values("pk")).delete()


# --- What is due --------------------------------------------------------------------------------------------
def _plan(model: RegisteredModel) -> Plan | None:
    """The segment that is due, if any."""
    chain = Segment.objects.chain(model)
    total = Catalogue.objects.total(model, TIME) or 0
    if not chain and total < FEWEST_ROWS:
        return None
    for segment in chain:
        if _is_stale(segment):
            return Plan(model, segment.after, segment.watermark, segment.row_count, [segment])
    after = chain[-1].watermark if chain else 0
    with connection.cursor() as cursor:
        cursor.execute(NEXT_ROWS, [model.pk, after, MOST_ROWS])
        rows, watermark = cursor.fetchone()
    last = Inference.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    if rows < max(FEWEST_NEW, total * NEW_SHARE) and (not chain or last - after < MOST_PASSED_BY):
        return None
    if rows < MOST_ROWS:
        watermark = last  # there are no more up to there
    replaced: list[Segment] = []
    while chain and chain[-1].row_count <= rows and chain[-1].row_count + rows <= MOST_ROWS:
        replaced.append(chain.pop())
        rows += replaced[-1].row_count
    return Plan(model, replaced[-1].after if replaced else after, watermark, rows, replaced)


def _is_stale(segment: Segment) -> bool:
    """Whether too much of it has changed, or a column is missing; not too soon after the last time."""
    if not Segment.objects.filter(pk=segment.pk, built_at__lt=hence(-REST * segment.seconds)).exists():
        return False
    slots = SearchSlot.objects.filter(registered_model=segment.registered_model_id, slot__in=NUMBER_SLOTS)
    if slots.filter(state=SearchSlot.State.FILLING).exists():
        return False  # all that is built now is soon void again
    if not set(slots.values_list("slot", flat=True)) <= set(segment.columns):
        return True
    changes = SegmentChange.objects.filter(registered_model_id=segment.registered_model_id)
    if changes.filter(segment_id=segment.pk).exists():
        return True
    within = changes.filter(inference_id__gt=segment.after, inference_id__lte=segment.watermark)
    return within.count() > MOST_CHANGES


# --- One segment --------------------------------------------------------------------------------------------
def _build(plan: Plan) -> bool:
    """Build it and put it in place; False where others take too long to end."""
    began = time.monotonic()
    segment = Segment.objects.create(
        registered_model=plan.model, after=plan.after, watermark=plan.watermark, state=State.BUILDING
    )
    # Who may still store an id up to the watermark; and who was too early to see that rows are in a segment.
    if not (wait_for_holders(INFERENCE_IDS) and wait_for_holders(INFERENCES)):
        segment.delete()
        logger.warning("Segment %s is tried again: others have been writing for too long.", segment)
        return False
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read")
        jobs.unlimited()
        segment.columns = _write(segment, plan.rows)
        _forget_changes(segment, plan.replaced)
        Segment.objects.filter(pk__in=[each.pk for each in plan.replaced]).delete()
        segment.state, segment.built_at, segment.seconds = State.READY, Now(), time.monotonic() - began
        segment.save()
    return True


def _write(segment: Segment, rows: int) -> list[str]:
    """Write its columns, and set how many rows they have, about so many; the numbers that it has."""
    slots = SearchSlot.objects.filter(registered_model=segment.registered_model_id, slot__in=NUMBER_SLOTS)
    numbers = [*PLACE, *sorted(str(slot) for slot in slots.values_list("slot", flat=True))]
    sent = {**SENT, **{each: NUMBER_SENT.format(each) for each in numbers}}
    statement = WRITE.format(
        sent=", ".join(
            f"case when count({name}) > 0 then string_agg({each}, '') end as {name}, "
            f"string_agg({each}, '') filter (where is_sampled) as sampled_{name}"
            for name, each in sent.items()
        ),
        numbers=", ".join(numbers),
        columns=", ".join(f"('{name}', {name}, sampled_{name})" for name in sent),
    )
    given: dict[str, Any] = {
        "segment": segment.pk,
        "model": segment.registered_model_id,
        "after": segment.after,
        "watermark": segment.watermark,
        "step": max(1, rows // SAMPLED),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
    segment.row_count = _value(LENGTH, [segment.pk]) or 0
    return numbers


def _value(statement: str, parameters: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _forget_changes(segment: Segment, replaced: list[Segment]) -> None:
    """Those that this transaction sees: the rows that it read are after them."""
    changes = SegmentChange.objects.filter(registered_model_id=segment.registered_model_id)
    changes.filter(inference_id__gt=segment.after, inference_id__lte=segment.watermark).delete()
    changes.filter(segment_id__in=[each.pk for each in [segment, *replaced]]).delete()
