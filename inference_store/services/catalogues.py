"""Catalogues are begun for what large models are counted by; triggers keep them.

First the catalogue is committed: from then on triggers count what changes. When those have ended that were
writing before, one statement adds what its snapshot holds less what was counted until then. Then the sums are
exact.
"""

import math
import time

from django.db import connection, transaction
from django.db.models import Count, Max, Min
from django.db.models.functions import Now

from inference_store.models import Catalogue, CatalogueCount, Entry, Inference, RegisteredModel, SearchSlot
from inference_store.models.catalogue import BUCKETS
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from inference_store.models.job import hence
from inference_store.services import jobs

FEWEST_ROWS = 10_000
"""Of a model; fewer are counted as quickly."""
MOST_VALUES = 1_000
SAMPLE = 20_000
WRITERS_SECONDS = 60
POLL_SECONDS = 0.02
TRIED_AGAIN_SECONDS = 7 * 86_400
ALWAYS = ("created_at", "data_source", "label")
State = Catalogue.State

BEGUN_BEFORE = """
    insert into inference_store_cataloguecount (catalogue_id, bucket, value, shard, count)
    select %(catalogue)s, bucket, value, -1, sum(n)
      from (select {bucket} as bucket, {value} as value, count(*) as n from {table}
             where registered_model_id = %(model)s and {column} is not null group by 1, 2
             union all
            select bucket, value, -count from inference_store_cataloguecount
             where catalogue_id = %(catalogue)s) counted
     group by 2, 3 having sum(n) <> 0
"""


def keep_catalogues() -> int:
    """Drop those that serve nobody, begin those that are missing; how many became exact."""
    _drop_idle()
    _give_up()
    ready = 0
    for model in RegisteredModel.objects.all():
        if missing := _missing(model):
            ready += sum(begin(model, column) for column in missing)
    return ready


def _missing(model: RegisteredModel) -> list[str]:
    columns = [*ALWAYS, *_columns_of(model)]
    states = dict(Catalogue.objects.filter(registered_model=model).values_list("column", "state"))
    missing = [each for each in columns if states.get(each, State.COUNTING) == State.COUNTING]
    if not missing or (not states and not _is_large(model)):
        return []
    return missing


def _columns_of(model: RegisteredModel) -> list[str]:
    ready = SearchSlot.objects.filter(registered_model=model, state=SearchSlot.State.READY)
    return [str(slot) for slot in ready.values_list("slot", flat=True)]


def _is_large(model: RegisteredModel) -> bool:
    rows = Inference.objects.filter(registered_model=model).order_by("created_at", "id")
    return rows[FEWEST_ROWS - 1 : FEWEST_ROWS].exists()


def begin(model: RegisteredModel, column: str) -> bool:
    """Begin a catalogue, or finish one that was begun; whether it is exact."""
    catalogue = Catalogue.objects.filter(registered_model=model, column=column).first()
    if catalogue is None:
        catalogue = Catalogue(registered_model=model, column=column)
        if column in NUMBER_SLOTS and not _set_range(catalogue):
            return False
        if column in (*STRING_SLOTS, "data_source") and _has_many_values(model, column):
            catalogue.state = State.TOO_MANY
        Catalogue.objects.bulk_create([catalogue], ignore_conflicts=True)
        catalogue = Catalogue.objects.get(registered_model=model, column=column)
    if catalogue.state != State.COUNTING or not _wait_for_transactions(WRITERS_SECONDS):
        return False
    return _add_what_was_there(catalogue)


@transaction.atomic
def _add_what_was_there(catalogue: Catalogue) -> bool:
    jobs.unlimited()
    counting = Catalogue.objects.filter(pk=catalogue.pk, state=State.COUNTING)
    if not counting.select_for_update(skip_locked=True).exists():
        return False
    table, column = Entry if catalogue.column == "label" else Inference, catalogue.column
    bucket, value = "0", column
    if catalogue.low is not None:
        bucket, value = f"search_bucket({column}, %(low)s, %(high)s)", "''"
    elif column == "created_at":
        bucket, value = "floor(extract(epoch from created_at) / 3600)::int", "''"
    statement = BEGUN_BEFORE.format(table=table._meta.db_table, column=column, bucket=bucket, value=value)
    given = {
        "catalogue": catalogue.pk,
        "model": catalogue.registered_model_id,
        "low": catalogue.low,
        "high": catalogue.high,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
    counting.update(state=State.EXACT, changed_at=Now())
    return True


def _set_range(catalogue: Catalogue) -> bool:
    """From the least value to the greatest; False where that can't be divided."""
    rows = Inference.objects.filter(registered_model=catalogue.registered_model)
    rows = rows.filter(**{f"{catalogue.column}__isnull": False})
    found = rows.aggregate(low=Min(catalogue.column), high=Max(catalogue.column))
    low, high = found["low"], found["high"]
    if low is None or not math.isfinite(high - low) or low + (high - low) / BUCKETS == low:
        return False
    catalogue.low, catalogue.high = low, high
    return True


def _has_many_values(model: RegisteredModel, column: str) -> bool:
    """Among the newest; where the older ones have many, that is found out later."""
    rows = Inference.objects.filter(registered_model=model).order_by("-created_at", "-id")
    return len(set(rows.values_list(column, flat=True)[:SAMPLE])) > MOST_VALUES


def _wait_for_transactions(seconds: float) -> bool:
    """Wait until all have ended that are writing now; False if some take longer."""
    with connection.cursor() as cursor:
        # A snapshot names no writer beyond the newest that has ended: let one end that is newer than all.
        cursor.execute("select pg_current_xact_id()")
        cursor.execute("select array(select pg_snapshot_xip(pg_current_snapshot())::text)")
        writing = cursor.fetchone()[0]
        end = time.monotonic() + seconds
        while writing and time.monotonic() < end:
            cursor.execute(
                "select array(select xid from unnest(%s::text[]) xid "
                "where pg_xact_status(xid::xid8) = 'in progress')",
                [writing],
            )
            writing = cursor.fetchone()[0]
            if writing:
                time.sleep(POLL_SECONDS)
    return not writing


# --- Away ---------------------------------------------------------------------------------------------------
def drop(model: RegisteredModel, column: str) -> None:
    Catalogue.objects.filter(registered_model=model, column=column).delete()


def _drop_idle() -> None:
    """Those of columns that hold no key, and counts that a writer left behind after their catalogue went."""
    for catalogue in Catalogue.objects.exclude(column__in=ALWAYS):
        held = SearchSlot.objects.filter(
            registered_model=catalogue.registered_model_id,
            slot=catalogue.column,
            state=SearchSlot.State.READY,
        )
        if not held.exists():
            catalogue.delete()
    Catalogue.objects.filter(state=State.TOO_MANY, changed_at__lt=hence(-TRIED_AGAIN_SECONDS)).delete()
    known = Catalogue.objects.exclude(state=State.TOO_MANY).values("pk")
    CatalogueCount.objects.exclude(catalogue_id__in=known).delete()


def _give_up() -> None:
    """Count no more what has too many values."""
    texts = Catalogue.objects.filter(low=None).exclude(state=State.TOO_MANY).exclude(column="created_at")
    many = texts.annotate(n=Count("counts__value", distinct=True)).filter(n__gt=MOST_VALUES)
    for pk in list(many.values_list("pk", flat=True)):
        Catalogue.objects.filter(pk=pk).update(state=State.TOO_MANY, changed_at=Now())
