"""What is asked of the PostgreSQL under this store, and not of the store."""

import os
from pathlib import Path

SLOTS = {
    "s1": ("string", "sensor"),
    "n1": ("float", "altitude"),
    "n2": ("int", "frame"),
    "n3": ("json.float", "weather.wind.speed"),
}
"""The keys that the operations search by."""
SIZES = r"""
    select substr(relname, 17), pg_table_size(oid), pg_indexes_size(oid) from pg_class
     where relkind = 'r' and relname like 'inference\_store\_%'
       and pg_total_relation_size(oid) > pg_database_size(current_database()) / 1000
     order by pg_total_relation_size(oid) desc
"""
"""Of the tables that a thousandth of the database is in, so of all that grow with inferences."""


def use(home: Path) -> None:
    """Have Django use the servers of that state directory, once they are there."""
    os.environ["INFERENCE_STORE_HOME"] = str(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "inference_store.settings"
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    import django

    django.setup()


def expect_searches(model_id: str) -> None:
    """The slots that the scheduler gives to searched keys: before the load, as in a store in use."""
    from inference_store.models import RegisteredModel
    from inference_store.services import slot_assignment

    model = RegisteredModel.objects.get(model_id=model_id)
    for type_, key in SLOTS.values():
        slot_assignment.assign(model=model, type_=type_, key=key)


def settle() -> None:
    """What the store's background and autovacuum do soon after a large load."""
    from django.db import connection

    from inference_store.services import catalogues, segments, vector_indexes

    catalogues.keep_catalogues()
    vector_indexes.build_due()
    segments.build_due()
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
        cursor.execute("vacuum analyze")
        cursor.execute("reset statement_timeout")


def bytes_held() -> dict[str, int]:
    """Of each table, its rows and its indexes."""
    from django.db import connection

    held = {}
    with connection.cursor() as cursor:
        cursor.execute(SIZES)
        for table, rows, indexes in cursor.fetchall():
            held[f"{table} rows"], held[f"{table} indexes"] = rows, indexes
    return held


def disconnect() -> None:
    """A server that is to stop does not wait for us."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has it
