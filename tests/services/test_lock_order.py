"""Who stores and who deletes lock the counts that both change in one order, though they share a shard."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.db import connection, connections, transaction

from inference_store.services import catalogues, deletion, ingest
from tests.making import make_model, make_request, store
from tests.workers import wait_until

SHARDS = 16


def process_of(held):
    with held.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


def take_session_of(shard):
    """Give this thread a session of its own, none of the pool's, that adds to that shard."""
    while process_of(connection) % SHARDS != shard:
        connection.close()
        own = connections.create_connection("default")
        own.settings_dict = own.settings_dict | {"OPTIONS": own.settings_dict["OPTIONS"] | {"pool": False}}
        connections["default"] = own


def waits(process):
    with connection.cursor() as cursor:
        cursor.execute("select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", [process])
        return cursor.fetchone()[0]


def of_retention(model, inference):
    deletion.delete_rows([inference.pk])


def of_a_user(model, inference):
    deletion.delete_inference(model=model, inference_id=inference.inference_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("delete", [of_retention, of_a_user])
def test_ingest_and_deletion_of_one_shard_never_wait_in_a_circle(monkeypatch, delete):
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)
    model = make_model()
    store(model, *(make_request(model, source="x", entries=[{"label": "owl"}]) for _ in range(2)))
    for column in ("data_source", "label"):
        catalogues.begin(model, column)
    doomed = model.inferences.first()
    deleting = process_of(connection)
    begun = threading.Event()
    copy_entries = ingest.copy_entries

    def between(*given, **named):
        """The inference is stored, its entries are not: its counts are locked, theirs are free."""
        begun.set()
        wait_until(lambda: waits(deleting), "the deletion waits for the counts of the ingest")
        copy_entries(*given, **named)

    monkeypatch.setattr(ingest, "copy_entries", between)

    def storing():
        with closing(connection):
            take_session_of(deleting % SHARDS)
            store(model, make_request(model, source="x", entries=[{"label": "owl"}]))

    with ThreadPoolExecutor(1) as pool:
        stored = pool.submit(storing)
        assert begun.wait(30)
        with transaction.atomic():
            delete(model, doomed)
        stored.result()
    assert model.inferences.count() == 2
