"""Entries and embeddings of inferences that went many at once are removed after the answer.

What belongs to the rows of a large deletion lies on most pages of those tables, and each of these is written
to the log whole: several times the work of the inferences themselves (docs/decisions/0010).
"""

import time

from django.db import connection, transaction

from inference_store.models import Embedding, Entry, Leftover, RegisteredModel, UnitEmbedding
from inference_store.services import jobs

LEFT_AT_ONCE = 1_000
"""Inferences in one row, which is removed in one transaction."""
TURN_SECONDS = 20.0

LEAVE = """
    insert into inference_store_leftover (registered_model_id, keys)
    select %s, array_agg(key order by number) from unnest(%s::bigint[]) with ordinality given(key, number)
     group by (number - 1) / %s
"""

REMOVE = f"""
    with gone as (delete from {Entry._meta.db_table} where inference_id = any(%s::bigint[]))
    delete from {Embedding._meta.db_table} where inference_id = any(%s::bigint[])
"""  # noqa: S608 # nosec B608
REMOVE_UNITS = f"delete from {UnitEmbedding._meta.db_table} where inference_id = any(%s::bigint[])"  # noqa: S608 # nosec B608


def leave(model: RegisteredModel, keys: list[int]) -> None:
    """Within the transaction that deletes these inferences: the rest of them is removed later."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVE, [model.pk, array_of(keys), LEFT_AT_ONCE])


def remove(keys: list[int]) -> None:
    """Delete the entries and embeddings of these inferences, which are locked or gone."""
    array = array_of(keys)
    with connection.cursor() as cursor:
        cursor.execute(REMOVE, [array, array])
        # Units last: who makes them waits for those who are at the embeddings (services/vector_indexes.py).
        cursor.execute(REMOVE_UNITS, [array])


def array_of(keys: list[int]) -> str:
    """As PostgreSQL spells an array: a list would be looked at key by key."""
    return "{" + ",".join(map(str, keys)) + "}"


def remove_leftovers(seconds: float = TURN_SECONDS) -> int:
    """Remove what deletions left; how many inferences' worth. Ends early: the next run goes on."""
    end, removed = time.monotonic() + seconds, 0
    while (count := _remove_some()) and time.monotonic() < end:
        removed += count
    return removed + count


@transaction.atomic
def _remove_some() -> int:
    jobs.unlimited()
    left = Leftover.objects.select_for_update(skip_locked=True).order_by("pk").first()
    if left is None:
        return 0
    remove(left.keys)
    left.delete()
    return len(left.keys)
