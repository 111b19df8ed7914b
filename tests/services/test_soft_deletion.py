"""Softly deleted inferences are out of every read, come back as they were, and are purged in time."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from threading import Barrier

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Entry, Inference, SoftDeletedInference
from inference_store.query import pages
from inference_store.query.statistics import key_type_counts
from inference_store.services import deletion, soft_deletion
from inference_store.services.soft_deletion import purge_deleted, restore_deleted
from inference_store.tasks import purge_deleted as purge_task
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query.random_data import random_request
from tests.services.retaining import carried_out, make_policy, make_task, put, soft_keys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("blob_root")]


def run_softly(model, **policy):
    return carried_out(make_task(make_policy(model, 2, 2, action="soft", **policy)))


def store_old(model, *ids, **fields):
    return store(model, *(make_request(model, each, created_at=LONG_AGO, **fields) for each in ids))


def as_stored(model):
    """All rows of the model, in PostgreSQL's own words."""
    told = {}
    with connection.cursor() as cursor:
        for table in ("inference", "entry", "embedding"):
            name = f"inference_store_{table}"
            statement = f"select row::text from {name} row where registered_model_id = %s order by 1"
            cursor.execute(statement, [model.pk])
            told[table] = cursor.fetchall()
    return told


def on_the_wire(model):
    ids = model.inferences.order_by("inference_id").values_list("inference_id", flat=True)
    return [pages.one_inference(model, each).model_dump_json() for each in ids]


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_back_is_what_went(seed):
    rng = random.Random(seed)
    model = make_model(embedding_size=3)
    requests = [random_request(rng, model, number) for number in range(40)]
    for request in requests:
        if rng.random() < 0.6:
            request.data.embedding = [rng.choice([0.1, -0.0, 1e-40, 3.4e38, 1.0]) for _ in range(3)]
    store(model, *requests)
    rows, wire, counts = as_stored(model), on_the_wire(model), key_type_counts(model).counts
    assert all(rows.values())
    run_softly(model)
    assert (as_stored(model), key_type_counts(model).counts) == ({table: [] for table in rows}, {})
    told = restore_deleted(model=model)
    assert (sorted(told.restored), told.refused) == (sorted(each.inference_id for each in requests), [])
    assert as_stored(model) == rows
    assert on_the_wire(model) == wire
    assert key_type_counts(model).counts == counts
    assert not soft_keys(model)
    # And the same content again is the stored inference.
    assert store(model, requests[0]) == [requests[0].inference_id]
    assert model.inferences.count() == 40


def test_its_input_is_gone_for_good():
    model = make_model()
    store_old(model, "1", key=put(model, 5))
    stored = pages.one_inference(model, "1")
    run_softly(model)
    restore_deleted(model=model)
    restored = pages.one_inference(model, "1")
    assert stored.data_storage_key is not None
    assert restored == stored.model_copy(update={"data_storage_key": None})


def test_a_column_that_came_later_has_its_default():
    model = make_model()
    store_old(model, "1", entries=[{"label": "a"}])
    run_softly(model)
    kept = SoftDeletedInference.objects.get()
    for column in ("has_list", "is_protected", "data_source"):
        del kept.row[column]
    kept.row["no_longer"] = 7
    del kept.entries[0]["geometry"]
    kept.save()
    restore_deleted(model=model)
    row = Inference.objects.get()
    assert (row.has_list, row.is_protected, row.data_source) == (False, False, None)
    assert Entry.objects.get().geometry is None


def test_it_is_hidden_from_every_read_and_its_id_is_free():
    model = make_model()
    store_old(model, "1", metadata=[("k", "int", "1")])
    run_softly(model)
    assert pages.one_inference(model, "1") is None
    assert key_type_counts(model).counts == {}
    store(model, make_request(model, "1", source="other"))
    assert restore_deleted(model=model) == soft_deletion.Restored([], ["1"])
    assert pages.one_inference(model, "1").data_source == "other"
    assert len(soft_keys(model)) == 1


def test_of_two_the_last_comes_back():
    model = make_model()
    policy = make_policy(model, 2, 2, action="soft")
    store_old(model, "1", source="first")
    first = carried_out(make_task(policy))
    store_old(model, "1", source="second")
    carried_out(make_task(policy))
    assert restore_deleted(model=model) == soft_deletion.Restored(["1"], [])
    assert pages.one_inference(model, "1").data_source == "second"
    assert restore_deleted(model=model) == soft_deletion.Restored([], ["1"])
    deletion.delete_matching(model=model, filters=BaseInferenceFilter())
    assert not soft_keys(model), "the user's own word removes all of that id"
    assert restore_deleted(model=model, task_id=first.pk) == soft_deletion.Restored([], [])


def test_it_is_chosen_by_id_and_by_task():
    model, other = make_model(), make_model()
    policy = make_policy(model, 2, 2, action="soft")
    for each in (model, other):
        store_old(each, "1", "2", "3")
    carried_out(make_task(policy))
    store_old(model, "4")
    second = carried_out(make_task(policy))
    run_softly(other)
    assert restore_deleted(model=model, inference_ids=["2", "no"]).restored == ["2"]
    assert restore_deleted(model=model, task_id=second.pk).restored == ["4"]
    assert restore_deleted(model=model, inference_ids=[]).restored == []
    assert restore_deleted(model=model).restored == ["1", "3"]
    assert len(soft_keys(other)) == 3


def test_more_than_one_batch(monkeypatch):
    monkeypatch.setattr(soft_deletion, "RESTORED_AT_ONCE", 2)
    monkeypatch.setattr(soft_deletion, "PURGED_AT_ONCE", 2)
    model = make_model()
    store_old(model, *"abcde")
    run_softly(model)
    store(model, make_request(model, "b"))
    assert restore_deleted(model=model) == soft_deletion.Restored(["a", "c", "d", "e"], ["b"])
    deletion.delete_inference(model=model, inference_id="b")
    carried_out(make_task(model.retention_policy))
    SoftDeletedInference.objects.update(deleted_at=LONG_AGO)
    assert purge_deleted() == 4


# --- The user's own word ------------------------------------------------------------------------------------
def test_a_deletion_takes_the_soft_rows_of_its_ids_too():
    model, other = make_model(), make_model()
    for each in (model, other):
        store_old(each, "1", "2", "3")
        run_softly(each)
    store(model, make_request(model, "1"), make_request(model, "2"))
    assert deletion.delete_inference(model=model, inference_id="1") == "1"
    assert deletion.delete_matching(model=model, filters=BaseInferenceFilter()) == ["2"]
    assert [each.inference_id for each in SoftDeletedInference.objects.filter(registered_model=model)] == [
        "3"
    ]
    assert len(soft_keys(other)) == 3


def test_an_id_that_has_only_soft_rows_is_deleted_and_still_not_there():
    model = make_model()
    store_old(model, "1", "2")
    run_softly(model)
    with pytest.raises(Refusal) as refused:
        deletion.delete_inference(model=model, inference_id="1")
    assert refused.value.status == 404
    assert restore_deleted(model=model).restored == ["2"]


@pytest.mark.django_db(transaction=True)
def test_a_deletion_races_a_restoration(monkeypatch):
    """Whichever comes first, in the end there is nothing: no row comes back behind the deletion."""
    monkeypatch.setattr(soft_deletion, "RESTORED_AT_ONCE", 3)
    for backwards in (False, True) * 2:
        race_a_restoration(make_model(), backwards)


def race_a_restoration(model, backwards):
    ids = store_old(model, *(f"{number:02}" for number in range(24)))
    run_softly(model)
    barrier = Barrier(2)

    def thread(act):
        try:
            barrier.wait()
            return act()
        finally:
            connection.close()

    def delete():
        for inference_id in ids[::-1] if backwards else ids:
            with suppress(Refusal):  # it may be put away as yet
                deletion.delete_inference(model=model, inference_id=inference_id)

    with ThreadPoolExecutor(2) as pool:
        works = [delete, lambda: restore_deleted(model=model)]
        for done in [pool.submit(thread, work) for work in works]:
            done.result(60)
    assert (model.inferences.count(), soft_keys(model)) == (0, set())


# --- Purging ------------------------------------------------------------------------------------------------
def test_it_is_purged_in_time_by_the_database_s_clock(settings, monkeypatch):
    model = make_model()
    store_old(model, "young", "old")
    run_softly(model)
    settings.SOFT_DELETED_KEPT_DAYS = 30
    now = timezone.now()
    for inference_id, days in (("young", 29.9), ("old", 30.1)):
        rows = SoftDeletedInference.objects.filter(inference_id=inference_id)
        rows.update(deleted_at=now - timedelta(days=days))
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(days=1))
    assert purge_task() == 1
    assert [each.inference_id for each in SoftDeletedInference.objects.all()] == ["young"]
    assert purge_task() == 0


# --- Commands -----------------------------------------------------------------------------------------------
def said(*arguments):
    out, error = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=error)
    return out.getvalue(), error.getvalue()


def test_commands_say_what_they_did():
    model = make_model("birds of prey")
    store_old(model, "1", "2", "3")
    task = run_softly(model)
    store(model, make_request(model, "2"))
    out, error = said("restore_deleted", "--model", "birds of prey", "--inference-id", "1")
    assert (out, error) == ("1 inferences restored, 0 not.\n", "")
    out, error = said("restore_deleted", "--model", "birds of prey", "--task", str(task.pk))
    assert out == "1 inferences restored, 1 not.\n"
    assert "2: not restored" in error
    with pytest.raises(CommandError, match="Not softly deleted: 9"):
        said("restore_deleted", "--model", "birds of prey", "--inference-id", "9")
    with pytest.raises(CommandError, match="no model"):
        said("restore_deleted", "--model", "fish")
    SoftDeletedInference.objects.update(deleted_at=LONG_AGO)
    out, _ = said("purge_deleted")
    assert out.splitlines() == [
        "1 softly deleted inferences purged.",
        "0 items of dry runs' lists purged.",
    ]
