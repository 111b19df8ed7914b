"""Who stores and who deletes lock the counts that both change in one order, though they share a shard."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from inference_store.models import CatalogueCount
from inference_store.services import catalogues, deletion, ingest, soft_deletion
from tests.making import LONG_AGO, make_model, make_request, store
from tests.services.retaining import carried_out, make_policy, make_task
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
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute("select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", [process])
        return cursor.fetchone()[0]


def waiting(seen, what):
    """Once that thread's session waits for a lock."""
    wait_until(lambda: seen and waits(seen[0]), what)


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


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("blob_root")
def test_ingest_and_restoration_of_one_shard_never_wait_in_a_circle(monkeypatch):
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)
    model = make_model()
    fields = {"entries": [{"label": "owl"}], "metadata": [("k", "string", "1")]}
    store(model, make_request(model, "old", created_at=LONG_AGO, **fields))
    call_command("assign_slots", model=model.model_id, key="k", type="string")
    for column in ("s1", "label"):
        assert catalogues.begin(model, column)
    carried_out(make_task(make_policy(model, 2, 2, action="soft")))
    store(model, make_request(model, "stays", **fields))
    shard = process_of(connection) % SHARDS
    restoring, storing = [], []

    def in_a_session_of_that_shard(seen, do):
        with closing(connection):
            take_session_of(shard)
            seen.append(process_of(connection))
            do()

    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            assert list(CatalogueCount.objects.filter(catalogue__column="label").select_for_update())
            restore = partial(soft_deletion.restore_deleted, model=model)
            first = pool.submit(in_a_session_of_that_shard, restoring, restore)
            waiting(restoring, "the restoration waits for the counts of labels")
            add = partial(store, model, make_request(model, "new", **fields))
            second = pool.submit(in_a_session_of_that_shard, storing, add)
            waiting(storing, "the ingest waits for the restoration")
        first.result(), second.result()
    found = dict(model.inferences.values_list("inference_id", "s1"))
    assert found == dict.fromkeys(("new", "old", "stays"), "1")
