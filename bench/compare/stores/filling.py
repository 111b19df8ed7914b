"""Fills this store with what its ingest would have written, by COPY and with indexes made afterwards.

For stores of ten million without embeddings, which ingest takes the better part of an hour for.
tests/bench/test_filling.py compares the rows with those that ingest writes.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bench.compare.stores.contract_objects import INPUT_BYTES
from bench.compare.workload import Record, Workload

AT_ONCE = 50_000
TABLES = ("inference_store_inference", "inference_store_entry")
INFERENCES = (
    "id, created_at, updated_at, latitude, longitude, data_size, registered_model_id, version, has_list, "
    "is_protected, inference_id, action, data_source, data_hash, content_digest, metadata, data, "
    "s1, n1, n2, n3"
)
ENTRIES = "inference_id, score, registered_model_id, position, label"
LAST_KEY = f"select setval(pg_get_serial_sequence('{TABLES[0]}', 'id'), max(id)) from {TABLES[0]}"
INDEXES = """
    select indexname, indexdef from pg_indexes
     where tablename = any(%s) and not indexdef like 'CREATE UNIQUE%%'
"""


def fill(model: Any, workload: Workload) -> None:
    """Store the whole workload as that model's inferences; it has its slots already."""
    from django.db import connection

    with connection.cursor() as cursor, _indexes_afterwards(cursor):
        cursor.execute("select coalesce(max(id), 0) from inference_store_inference")
        last = cursor.fetchone()[0]
        for first in range(0, workload.size, AT_ONCE):
            records = workload.records(first, first + AT_ONCE)
            keys = range(last + first + 1, last + first + len(records) + 1)
            with cursor.copy(f"copy {TABLES[0]} ({INFERENCES}) from stdin") as copy:
                for number, record in zip(keys, records, strict=True):
                    copy.write_row(_row(model.pk, number, record))
            with cursor.copy(f"copy {TABLES[1]} ({ENTRIES}) from stdin") as copy:
                for number, record in zip(keys, records, strict=True):
                    for position, entry in enumerate(record["entries"]):
                        copy.write_row((number, entry["score"], model.pk, position, entry["label"]))
        cursor.execute(
            f"select setval(pg_get_serial_sequence('{TABLES[0]}', 'id'), max(id)) from {TABLES[0]}"
        )


def _row(model: int, key: int, record: Record) -> tuple[Any, ...]:
    held, created = record["metadata"], datetime.fromtimestamp(record["created_at"], UTC)
    metadata = {
        "string": {"sensor": held["sensor"]},
        "float": {"altitude": held["altitude"]},
        "int": {"frame": held["frame"]},
        "json": {"weather": held["weather"]},
    }
    return (
        *(key, created, created, record["latitude"], record["longitude"], INPUT_BYTES, model, 2, True, False),
        *(record["id"], "detect", record["data_source"], bytes.fromhex(record["data_hash"])),
        hashlib.sha256(record["id"].encode()).digest(),
        json.dumps(metadata),
        json.dumps(record["entries"], separators=(",", ":")),
        *(held["sensor"], held["altitude"], held["frame"], held["weather"]["wind"]["speed"]),
    )


@contextmanager
def _indexes_afterwards(cursor: Any) -> Iterator[None]:
    """Without the indexes that only serve reads; they are made again at the end."""
    cursor.execute("set statement_timeout = 0")
    cursor.execute(INDEXES, [list(TABLES)])
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"drop index {name}")
    try:
        yield
    finally:
        cursor.execute("set maintenance_work_mem = '1GB'")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("reset maintenance_work_mem; reset statement_timeout")
