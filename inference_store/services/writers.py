"""Who builds something of rows waits for those who are writing them."""

import time

from django.db import connection

from inference_store.models import Inference

INFERENCES = Inference._meta.db_table
INFERENCE_IDS = f"{INFERENCES}_id_seq"
"""The sequence, which is held by whoever took an id and may still store it."""
SECONDS = 60.0
POLL_SECONDS = 0.05
HOLDERS = """
    select coalesce(array_agg(virtualtransaction), '{}') from pg_locks
     where locktype = 'relation' and mode = 'RowExclusiveLock' and pid <> pg_backend_pid()
       and database = (select oid from pg_database where datname = current_database())
       and relation = %s::regclass
"""


def wait_for_holders(relation: str) -> bool:
    """Wait until all transactions have ended that hold a writer's lock there now; False if some take long."""
    end, holders = time.monotonic() + SECONDS, None
    while True:
        with connection.cursor() as cursor:
            cursor.execute(HOLDERS, [relation])
            now = set(cursor.fetchone()[0])
        holders = now if holders is None else holders & now
        if not holders or time.monotonic() > end:
            return not holders
        time.sleep(POLL_SECONDS)
